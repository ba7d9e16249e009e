"""The files of the repository that pages link to, as pages with colours.

A page links to ``source:examples/till.py`` (``pages.py`` makes that of its links). Folders are
lists of their files. Beside the page of an example lies the file itself, to be downloaded. They are
plain pages, one for both languages: with the theme's navigation on each of them the site would take
a minute longer.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from html import escape
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound

from _site.pages import ROOT

_LINK = re.compile(r"\]\(source:([^)#]+)")
_SHOWN = {
    ".py",
    ".json",
    ".toml",
    ".md",
    ".yaml",
    ".yml",
    ".service",
    ".html",
    ".js",
    ".sql",
    ".sh",
    ".mjs",
}
_SHOWN_NAMES = {"Dockerfile", ".dockerignore"}
#: In these folders each file is shown, not only named.
_WHOLE = "examples/"
_PAGE = """\
<!doctype html>
<html>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{up}en/_static/pygments.css">
<link rel="stylesheet" href="{up}en/_static/source.css">
</head>
<body>
<script>document.body.dataset.theme = localStorage.getItem("theme") || "auto"</script>
<p><a href="{up}index.html">chaoying_async</a></p>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def page_of(path: str) -> str:
    """Where the page of a file or a folder is, seen from the site's own folder."""
    return f"source/{path.rstrip('/')}.html"


def linked(folder: Path) -> Mapping[str, Path]:
    """Every file and folder that the pages link to, and the files of examples in folders."""
    texts = (page.read_text("utf-8") for page in folder.rglob("*.md"))
    found = {path.rstrip("/"): ROOT / path for text in texts for path in _LINK.findall(text)}
    inside = {
        each.relative_to(ROOT).as_posix(): each
        for name, place in found.items()
        if place.is_dir() and f"{name}/".startswith(_WHOLE)
        for each in files(place)
    }
    return dict(sorted((found | inside).items()))


def files(folder: Path) -> list[Path]:
    """The files of a folder that can be read."""
    return sorted(
        each
        for each in folder.rglob("*")
        if each.is_file() and (each.suffix in _SHOWN or each.name in _SHOWN_NAMES)
    )


def is_example(name: str) -> bool:
    """Whether a file is one to copy from."""
    return name.startswith(_WHOLE) and not name.endswith(".md")


def write(site: Path, pages: Path) -> None:
    """A page for each of them."""
    for name, path in linked(pages).items():
        file = site / page_of(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        body = _listing(name, path) if path.is_dir() else _code(path)
        up = "../" * (len(file.relative_to(site).parts) - 1)
        if path.is_file() and is_example(name):
            shutil.copyfile(path, file.parent / path.name)
            body = f"<p>↓ {_download(path.name)}</p>{body}"
        file.write_text(_PAGE.format(title=escape(name), body=body, up=up), "utf-8")


def _download(path: str) -> str:
    name = path.rpartition("/")[2]
    return f'<a href="{path}" download aria-label="download 下载 {name}">{name}</a>'


def _listing(name: str, folder: Path) -> str:
    whole = f"{name}/".startswith(_WHOLE)
    names = [each.relative_to(folder).as_posix() for each in files(folder)]
    if not whole:
        return f"<ul>{''.join(f'<li>{each}</li>' for each in names)}</ul>"
    rows = (
        f'<li><a href="{folder.name}/{each}.html">{each}</a>'
        + (f" ↓ {_download(f'{folder.name}/{each}')}" if is_example(f"{name}/{each}") else "")
        + "</li>"
        for each in names
    )
    return f"<ul>{''.join(rows)}</ul>"


def _code(path: Path) -> str:
    try:
        lexer = get_lexer_for_filename(path.name)
    except ClassNotFound:
        lexer = TextLexer()
    return str(highlight(path.read_text("utf-8"), lexer, HtmlFormatter()))
