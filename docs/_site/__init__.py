"""The documentation site: ``make docs`` makes two of these pages, English and Chinese.

- ``__main__``: builds both languages, then looks for links that lead nowhere.
- ``pages``: which pages there are, and how a page of the repository becomes one of the site.
- ``reference``: the pages of the reference, from a table of public modules.
- ``conf``: what Sphinx is told.
- ``docstrings``: docstrings and signatures as readers want to see them, for Sphinx's autodoc.
- ``links``: names in the text lead to the reference, numbers of rules to the rules.
- ``sources``: the files of the repository that pages link to, as pages.
- ``chinese_search``: what the search finds in Chinese.
- ``llms``: the pages as plain Markdown, and ``llms.txt``, which lists them.
- ``broken``: links and anchors of the finished site that lead nowhere, and what it would fetch.
"""
