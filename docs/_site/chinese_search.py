"""What the search finds in Chinese: each pair of neighbouring characters is a word.

Chinese has no blanks between words. A dictionary (Sphinx knows jieba) cuts a page and a question in
different places, so that a longer question finds nothing. Pairs are cut in the same places wherever
they stand: who asks for 支付结果通知 finds the pages that have all its pairs.
"""

from __future__ import annotations

import re
from itertools import pairwise

from sphinx.application import Sphinx
from sphinx.search import SearchLanguage

_RUNS = re.compile(r"([\u3400-\u9fff]+)|[A-Za-z0-9_\u00c0-\u024f]+")


class ChinesePairs(SearchLanguage):
    """Cuts pages here, and questions in the browser, in the same way."""

    lang = "zh"
    language_name = "Chinese"
    js_splitter_code = r"""
var splitQuery = function (query) {
  const words = [];
  for (const [run, han] of query.matchAll(/([\u3400-\u9fff]+)|[A-Za-z0-9_\u00c0-\u024f]+/g)) {
    if (!han || run.length === 1) words.push(run);
    else for (let i = 0; i + 1 < run.length; i++) words.push(run.slice(i, i + 2));
  }
  return words;
};
"""

    def split(self, input: str) -> list[str]:  # noqa: A002 - Sphinx's name
        """The words of a text, small as the browser asks for them; single characters too."""
        words: list[str] = []
        for match in _RUNS.finditer(input.lower()):
            words += [*match[0], *map("".join, pairwise(match[0]))] if match[1] else [match[0]]
        return words


def setup(app: Sphinx) -> dict[str, bool]:
    """Take the place of Sphinx's own."""
    app.add_search_language(ChinesePairs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
