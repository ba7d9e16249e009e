"""Two versions of the library in one simulated world, as while a shop is deployed.

The last version is the real one, word for word, from ``tests/data/versions``. Of the next version
nobody knows more than the rule that it has to keep (``sansio/stored.py``): it may write names that
this one does not know. ``loading`` has another version in this process under another name,
``program`` has it run the world's shop, ``world`` draws which process runs which, and
``python -m tests.hard.versions`` (``make simulate-versions``) goes through seeds.
"""
