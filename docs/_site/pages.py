"""Which pages the site has, and how a page of the repository becomes one of the site.

The pages are written for two readers: a web page that shows the repository, and this site. So links
lead from file to file there, and each language has files of its own. Here each language becomes a
folder in which a page has the same name in both.
"""

from __future__ import annotations

import posixpath
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: A language, and how the names of its pages end in the repository.
LANGUAGES: Mapping[str, str] = {"en": ".md", "zh-CN": ".zh-CN.md"}

#: Pages that are not in ``docs/``, without the ending.
ELSEWHERE: Mapping[str, str] = {"SECURITY": "security", "examples/README": "examples"}
#: Pages of which there is one for both languages, in English.
SHARED: Mapping[str, str] = {"CHANGELOG.md": "changelog", "CONTRIBUTING.md": "contributing"}
#: What the Chinese contents call them.
_IN_ENGLISH: Mapping[str, str] = {
    "changelog": "变更记录（英文）",
    "contributing": "参与贡献（英文）",
}
_README = {"README.md", "README.zh-CN.md"}

_NAVIGATION = re.compile(
    r"^\[(?:简体中文|中文|English)\]\([^)]*\)(?: · \[[^]]*\]\([^)]*\))?\n+", re.MULTILINE
)
_ANCHOR = re.compile(r'^<a id="([\w-]+)"></a>$', re.MULTILINE)
#: `<!-- site: here -->elsewhere<!-- /site -->`: what a page says here, and where no site is.
_HERE = re.compile(r"<!-- site: (.*?) -->.*?<!-- /site -->", re.DOTALL)
_CONTENTS_LINE = re.compile(rf"^({'|'.join(_IN_ENGLISH)})$", re.MULTILINE)
#: Code, which stays as it is, or the target of a link.
CODE_OR_LINK = re.compile(
    r"^ *(?P<fence>`{3,})[^\n]*\n.*?^ *(?P=fence)[ \t]*$|(?P<ticks>`+)[^`].*?(?P=ticks)"
    r"|\]\((?P<target>[^)\s]+)\)",
    re.MULTILINE | re.DOTALL,
)


class BrokenLinkError(Exception):
    """A page links to a file that is not in the repository."""


def pages(language: str) -> dict[str, str]:
    """The pages of a language: path in the repository to name in the site."""
    end = LANGUAGES[language]
    own = {
        f"docs/{path.name}": path.name.removesuffix(end)
        for path in sorted((ROOT / "docs").glob(f"*{end}"))
        if end != ".md" or not path.name.endswith(".zh-CN.md")
    }
    elsewhere = {f"{stem}{end}": name for stem, name in ELSEWHERE.items()}
    return own | elsewhere | dict(SHARED)


def staged(language: str, path: str) -> str:
    """The page as Sphinx reads it: links lead to pages of this language, or to ``source:``."""
    text = (ROOT / path).read_text("utf-8")
    text = _ANCHOR.sub(r"(\1)=", _NAVIGATION.sub("", text, count=1))
    text = _HERE.sub(r"\1", text)
    if path == "docs/index.zh-CN.md":
        text = _CONTENTS_LINE.sub(lambda line: f"{_IN_ENGLISH[line[1]]} <{line[1]}>", text)
    known = pages(language)

    def link(match: re.Match[str]) -> str:
        target = match["target"]
        if target is None or "://" in target or target.startswith(("#", "mailto:")):
            return match[0]
        return f"]({_target(language, known, path, target)})"

    return CODE_OR_LINK.sub(link, text)


def _target(language: str, known: Mapping[str, str], page: str, target: str) -> str:
    file, _, fragment = target.partition("#")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), file))
    if path in _README:
        return "index.md"
    here = _in_this_language(language, path)
    if here in known:
        if fragment in _ANCHOR.findall((ROOT / here).read_text("utf-8")):
            return f"#{fragment}"  # known to Sphinx wherever it is
        same = fragment if here == path else ""  # headings are named in the page's own language
        return f"{known[here]}.md{'#' if same else ''}{same}"
    if not (ROOT / path).exists():
        raise BrokenLinkError(f"{page} links to {target}, which is not there")
    if path.startswith("docs/") and path.endswith((".png", ".svg")):
        return path.removeprefix("docs/")
    return f"source:{path}{'#' if fragment else ''}{fragment}"


def _in_this_language(language: str, path: str) -> str:
    """The same page in the language that is built."""
    stem = path.removesuffix(".md").removesuffix(".zh-CN")
    has_twin = path.endswith(".md") and (path.startswith("docs/") or stem in ELSEWHERE)
    return stem + LANGUAGES[language] if has_twin else path


def stage(language: str, folder: Path, more: Mapping[str, str]) -> None:
    """Write all pages of a language, and ``more`` of them, for Sphinx; the folder has no others."""
    texts = {f"{name}.md": staged(language, path) for path, name in pages(language).items()}
    texts.update(more)
    for name, text in texts.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        # What is as it was keeps its time, so that Sphinx need not read it again.
        if not file.exists() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")
    for file in [*folder.rglob("*.md"), *folder.rglob("*.rst")]:
        if file.relative_to(folder).as_posix() not in texts:
            file.unlink()
    shutil.copytree(ROOT / "docs" / "screenshots", folder / "screenshots", dirs_exist_ok=True)
