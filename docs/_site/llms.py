"""The pages as plain Markdown beside the HTML, ``llms.txt``, which lists them, and all in one file.

For programs that read documentation (https://llmstxt.org).
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_CONTENTS = re.compile(r"^```\{toctree\}\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_CAPTION = re.compile(r"^:caption: (.+)$", re.MULTILINE)
_TARGET = re.compile(r"^\([\w-]+\)=\n", re.MULTILINE)
_CODE = re.compile(r"^(`{3,}).*?^\1$", re.MULTILINE | re.DOTALL)
_SOURCE = re.compile(r"\(source:([^)#]+?)/?(#[^)]*)?\)")
_PICTURE = re.compile(r"\]\(screenshots/([^)]+)\)")
#: A line of the contents: ``till``, or ``A till <till>``.
_ENTRY = re.compile(r"^(?:.* <)?([\w-]+)>?$", re.MULTILINE)


def plain(text: str) -> str:
    """The page without what only Sphinx understands."""
    text = _TARGET.sub("", _CONTENTS.sub("", text))
    text = _PICTURE.sub(r"](_images/\1)", text).replace("](#reference)", "](reference/index.html)")
    return _SOURCE.sub(r"(../source/\1.html)", text).rstrip() + "\n"


def about(text: str) -> tuple[str, str]:
    """The title of a page, and its first sentence."""
    title = _TITLE.search(text)
    rest = _CODE.sub("", text[title.end() :] if title else text)
    paragraphs = (part.strip() for part in rest.split("\n\n"))
    first = next((part for part in paragraphs if re.match(r"[\w`*\[]", part)), "")
    first = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(first.split()))
    sentence = re.match(r".*?(?:[.!?](?= |$)|[。！？]|$)", first)
    return title[1] if title else "", sentence[0] if sentence else ""


def write(app: Sphinx, error: Exception | None) -> None:
    """All of it, when the pages are done."""
    if error is not None:
        return
    folder, site = Path(app.srcdir), Path(app.outdir)
    texts = {page.stem: page.read_text("utf-8") for page in folder.glob("*.md")}
    title, summary = about(plain(texts["index"]))
    first_page = plain(texts["index"])
    lines = [f"# {title}", "", f"> {summary}", "", f"- [{title}](index.md): {summary}", ""]
    (site / "index.md").write_text(first_page, "utf-8")
    whole = [first_page]
    for contents in _CONTENTS.findall(texts["index"]):
        caption = _CAPTION.search(contents)
        names = [name for name in _ENTRY.findall(contents) if name in texts]
        if not caption or not names:
            continue
        lines += [f"## {caption[1]}", ""]
        for name in names:
            page = plain(texts[name])
            heading, first = about(page)
            lines.append(f"- [{heading}]({name}.md): {first}")
            (site / f"{name}.md").write_text(page, "utf-8")
            whole.append(page)
        lines.append("")
    (site / "llms.txt").write_text("\n".join(lines), "utf-8")
    (site / "llms-full.txt").write_text("\n\n".join(whole), "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Take part in the build."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
