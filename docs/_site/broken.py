"""Links and anchors of the finished site that lead nowhere, and what a page would fetch elsewhere.

Sphinx checks what it resolves itself. This reads the finished pages, so it also sees to the switch
of languages, to templates, and to anchors within files that Sphinx copied or generated.
"""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from _site.pages import CODE_OR_LINK

#: What is fetched when a page is shown.
_FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class _Page(HTMLParser):
    """The anchors and links of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors = {"", "top"}
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given.get("id", ""), given.get("name", "") if tag == "a" else ""}
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        if given.get(_FETCHED.get(tag, "")):
            self.fetched.add(given[_FETCHED[tag]])


def broken(site: Path) -> list[str]:
    """A sentence for each link that leads nowhere."""
    pages = {path.resolve(): _Page(path.read_text("utf-8")) for path in site.rglob("*.html")}
    found = [(path, words) for path, page in pages.items() for words in _of_page(path, page, pages)]
    for twin in [*site.resolve().rglob("*.md"), *site.resolve().rglob("llms*.txt")]:
        found += [(twin, words) for words in _of_twin(twin)]
    return sorted(f"{path.relative_to(site.resolve())}: {words}" for path, words in found)


def _of_twin(path: Path) -> Iterator[str]:
    """Files that plain Markdown links to or shows; its anchors are those of whoever renders it."""
    targets = {match["target"] for match in CODE_OR_LINK.finditer(path.read_text("utf-8"))}
    for link in targets - {None}:
        url = urlsplit(link)
        there = path.parent / unquote(url.path)
        if not (url.scheme or url.netloc) and url.path and not there.is_file():
            yield f"{link} is not there"


def _of_page(path: Path, page: _Page, pages: dict[Path, _Page]) -> Iterator[str]:
    for link in page.links | page.fetched:
        url = urlsplit(link)
        if url.scheme or url.netloc:
            if link in page.fetched and url.scheme != "data":
                yield f"fetches {link}, and the site has to work without a network"
            elif url.scheme not in {"http", "https", "mailto", "data"}:
                yield f"the link {link} is of no known kind"
            continue
        there = (path.parent / unquote(url.path)).resolve() if url.path else path
        if not there.is_file():
            yield f"{link} is not there"
        elif there in pages and unquote(url.fragment) not in pages[there].anchors:
            yield f"{link} has no such anchor"
