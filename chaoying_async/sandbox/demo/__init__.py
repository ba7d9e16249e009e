"""``chaoying demo``: a busy shop against a gateway in another process; the books must agree.

Read it as an example: ``till.py`` charges with ``checkout``, ``refunding.py`` gives money back,
``receiver.py`` ships what a ``NotificationHandler`` says is paid, ``shop.py`` runs it all at once,
and ``hostile.py`` posts what none of it may believe.
"""
