"""The documentation site: every public name is in its reference, and links lead somewhere."""

from __future__ import annotations

import gettext
import importlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import Environment

import chaoying_async
from _site.broken import broken
from _site.chinese_search import ChinesePairs
from _site.chinese_words import LABELS, WORDS, translate_labels, write_catalogue
from _site.docstrings import shown
from _site.llms import about, plain
from _site.llms import write as write_llms
from _site.pages import LANGUAGES, ROOT, BrokenLinkError, pages, staged
from _site.reference import PAGES, contents, public_names, reference
from _site.sources import write as write_sources
from chaoying_async import SortOrder
from tests.servers import Servers, find_program
from tests.table import table

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_IMPORT = re.compile(
    r"^ *from (chaoying_async[\w.]*) import (?:\(([^)]*)\)|([^(\n]*))", re.MULTILINE
)
#: Not for users: what the command line and the demo are made of.
_INSIDE = ("chaoying_async.cli", "chaoying_async.sandbox.demo")


def imported() -> Iterator[tuple[str, str, str]]:
    """Every name that a page or an example imports: where, module, name."""
    texts = {page: "\n".join(_BLOCK.findall(page.read_text("utf-8"))) for page in _pages()}
    texts |= {program: program.read_text("utf-8") for program in ROOT.glob("examples/**/*.py")}
    for where, text in texts.items():
        for module, many, few in _IMPORT.findall(text):
            for name in re.findall(r"(\w+)(?: as \w+)?", re.sub(r"#.*", "", many or few)):
                yield where.name, module, name


def _pages() -> list[Path]:
    return [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")]


def test_every_name_of_the_front_page_is_in_the_reference_once() -> None:
    """A name that no page has a place for stops the build with a LookupError."""
    front = [
        name
        for names in contents().values()
        for module, name in names
        if module == "chaoying_async"
    ]
    assert sorted(front) == sorted(chaoying_async.__all__)


def test_every_name_of_the_public_modules_is_in_the_reference() -> None:
    """As their ``__all__`` has them."""
    found = {pair for names in contents().values() for pair in names}
    for page in PAGES.values():
        for path in page.modules:
            module = importlib.import_module(f"chaoying_async.{path}")
            assert public_names(module)
            assert {(module.__name__, name) for name in public_names(module)} <= found


def test_whatever_pages_and_examples_import_is_in_the_reference() -> None:
    """What a user is told to import is public, whichever of its import paths the page takes."""
    known = {
        id(getattr(importlib.import_module(module), name))
        for names in contents().values()
        for module, name in names
    }
    missing = {
        (where, module, name)
        for where, module, name in imported()
        if not module.startswith(_INSIDE)
        and id(getattr(importlib.import_module(module), name)) not in known
    }
    assert missing == set()


@table("language", LANGUAGES)
def test_the_reference_is_the_same_in_both_languages(language: str) -> None:
    """So that the switch of languages leads from page to page."""
    assert set(reference(language)) == set(reference("en"))
    assert (
        ".. autoclass:: chaoying_async.GatewaySession"
        in reference(language)["reference/session.rst"]
    )


def test_both_languages_have_the_same_pages() -> None:
    """A page without a twin would leave the reader of the other language outside."""
    assert set(pages("en").values()) == set(pages("zh-CN").values())


@table("language", LANGUAGES)
def test_every_page_leads_into_its_own_language(language: str) -> None:
    """Links to pages name the page of the site; links to files of the repository its source."""
    for path in pages(language):
        text = staged(language, path)
        assert ".zh-CN.md)" not in text, path
        assert "](../" not in text, path


def test_links_become_those_of_the_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code stays as it is, anchors are known to Sphinx, and a missing file has a name."""
    (tmp_path / "docs").mkdir()
    for name in ("a.md", "b.md", "a.zh-CN.md", "b.zh-CN.md"):
        (tmp_path / "docs" / name).write_text('# B\n\n<a id="m-01"></a>\n', "utf-8")
    (tmp_path / "x.py").write_text("", "utf-8")
    page = tmp_path / "docs" / "a.zh-CN.md"
    page.write_text(
        "# A\n\n[English](a.md) · [回到 README](../README.zh-CN.md)\n\n"
        "[b](b.zh-CN.md#标题) [m](b.md#m-01)"
        " [`x`](../x.py) [r](../README.zh-CN.md) `](b.md)` [o](https://a.test)\n\n```\n](b.md)\n```\n",
        "utf-8",
    )
    monkeypatch.setattr("_site.pages.ROOT", tmp_path)
    assert staged("zh-CN", "docs/a.zh-CN.md") == (
        "# A\n\n[b](b.md#标题) [m](#m-01) [`x`](source:x.py) [r](index.md) `](b.md)` [o](https://a.test)"
        "\n\n```\n](b.md)\n```\n"
    )
    page.write_text("[gone](../gone.py)", "utf-8")
    with pytest.raises(BrokenLinkError, match=r"docs/a\.zh-CN\.md links to \.\./gone\.py"):
        staged("zh-CN", "docs/a.zh-CN.md")


def test_what_leads_nowhere_in_the_finished_site_is_named(tmp_path: Path) -> None:
    """Pages, anchors, and what a page would fetch from somewhere else."""
    (tmp_path / "a.html").write_text(
        '<h1 id="one"></h1><a href="b.html#two"></a><a href="b.html#three"></a>'
        '<a href="c.html"></a>'
        '<a href="#one"></a><a href="https://a.test"></a><script src="https://cdn.test/x.js"></script>',
        "utf-8",
    )
    (tmp_path / "b.html").write_text('<p id="two">', "utf-8")
    assert broken(tmp_path) == [
        "a.html: b.html#three has no such anchor",
        "a.html: c.html is not there",
        "a.html: fetches https://cdn.test/x.js, and the site has to work without a network",
    ]


def test_markdown_twins_are_looked_at_too(tmp_path: Path) -> None:
    """Pictures and pages that a program would follow; code is no link, anchors are not theirs."""
    (tmp_path / "a.md").write_text(
        "![x](screenshots/x.png) [b](b.md#no-such) [c](c.md) [o](https://a.test) [here](#one)"
        " `](d.md)`\n\n```\n](e.md)\n```\n",
        "utf-8",
    )
    (tmp_path / "b.md").write_text("# B\n", "utf-8")
    (tmp_path / "llms.txt").write_text("- [f](f.md): F.\n", "utf-8")
    assert broken(tmp_path) == [
        "a.md: c.md is not there",
        "a.md: screenshots/x.png is not there",
        "llms.txt: f.md is not there",
    ]


def test_the_first_page_leads_to_the_reference_and_says_what_is_in_english() -> None:
    """Where no site is, the same page says how to get one."""
    for language, end in LANGUAGES.items():
        assert "](#reference)" in (text := staged(language, f"docs/index{end}"))
        assert "make docs" not in text
        for name in ("changelog", "contributing"):
            assert bool(re.search(f"^.*（英文） <{name}>$", text, re.MULTILINE)) == (
                language == "zh-CN"
            )


def _templates(theme: str, *folders: str) -> Iterator[str]:
    root = Path(importlib.import_module(theme).__file__ or "").parent
    for folder in folders:
        for path in sorted((root / folder).glob("*.html")):
            if not path.name.startswith(("rtd", "variant")):  # another host's
                yield path.read_text("utf-8")


def test_the_theme_speaks_chinese() -> None:
    """Each word that its templates would translate has a translation: Sphinx's, or one of ours."""
    folder = Path(importlib.import_module("sphinx").__file__ or "").parent / "locale"
    known = gettext.translation("sphinx", folder, ["zh_CN"])
    i18n: Any = Environment(extensions=["jinja2.ext.i18n"], autoescape=True)
    inside = "theme/furo"
    texts = [*_templates("furo", inside, f"{inside}/components", f"{inside}/sidebar")]
    said = {
        words
        for text in texts
        for _line, _function, words in i18n.extract_translations(
            re.sub(r"{% elif READTHEDOCS.*?{% endif", "{% endif", text)
        )
        if isinstance(words, str)
        and "pradyunsg/furo" not in words
        and re.search(r"[A-Za-z]{3}", re.sub(r"<[^>]*>|%\(.*?\)s|&#?\w+;", "", words))
    }
    assert {words for words in said if known.gettext(words) == words} - WORDS.keys() == set()
    assert WORDS.keys() <= said, "take what the theme no longer says off the table"
    fixed = {label for text in texts for label in re.findall(r'aria-label="([A-Z][^"{]*)"', text)}
    assert fixed - {"On Read the Docs", "On GitHub"} == LABELS.keys()


def test_what_the_theme_never_translates_is_put_into_chinese(tmp_path: Path) -> None:
    """Sphinx reads our catalogue; labels are replaced in the finished pages."""
    write_catalogue(tmp_path)
    text = (tmp_path / "zh_CN" / "LC_MESSAGES" / "sphinx.po").read_text("utf-8")
    assert 'msgid "On this page"\nmsgstr "本页内容"' in text
    page = tmp_path / "a.html"
    label = next(iter(LABELS))
    page.write_text(f'<button aria-label="{label}">{label}</button>', "utf-8")
    translate_labels(tmp_path)
    assert page.read_text("utf-8") == f'<button aria-label="{LABELS[label]}">{label}</button>'


def test_an_example_can_be_downloaded_from_its_page(tmp_path: Path) -> None:
    """The file as it is lies beside the page that shows it, alone or in a folder."""
    (pages_of := tmp_path / "pages").mkdir()
    links = (
        "[a](source:examples/till.py) [b](source:examples/sandbox_container/) [c](source:Makefile)"
    )
    (pages_of / "a.md").write_text(links, "utf-8")
    write_sources(site := tmp_path / "site", pages_of)
    for name in ("till.py", "sandbox_container/Dockerfile"):
        file = site / "source" / "examples" / name
        assert file.read_bytes() == (ROOT / "examples" / name).read_bytes()
        shown = file.with_name(f"{file.name}.html").read_text("utf-8")
        assert f'<a href="{file.name}" download' in shown
    listing = (site / "source" / "examples" / "sandbox_container.html").read_text("utf-8")
    assert '<a href="sandbox_container/Dockerfile" download' in listing
    assert not (site / "source" / "Makefile").exists()


def test_guides_come_before_the_reference_in_the_search(servers: Servers) -> None:
    """Whatever a name's score is on a page of the reference."""
    node = servers.found(lambda: find_program("node", "nodejs"))
    scorer = (ROOT / "docs" / "_site" / "static" / "scorer.js").read_text("utf-8")
    results = [["reference/polling", "P", "#p", "", 45], ["polling", "Polling", "", "", 2]]
    code = f"{scorer}\nconsole.log(JSON.stringify({json.dumps(results)}.map(Scorer.score)))"
    done = subprocess.run([node, "-e", code], capture_output=True, check=True, timeout=100)
    reference_page, guide = json.loads(done.stdout)
    assert guide == 2
    assert reference_page < 0


def test_chinese_is_cut_into_pairs() -> None:
    """A question of several words has no word that a page with the same text lacks."""
    cut = ChinesePairs({}).split
    assert set(cut("支付结果")) == {"支", "付", "结", "果", "支付", "付结", "结果"}
    assert cut("用 Fleet 退") == ["用", "fleet", "退"]
    assert set(cut("结果通知")) - set("结果通知") <= set(cut("支付结果通知"))


def test_a_default_is_shown_as_somebody_would_write_it() -> None:
    """And not by the name that attrs has for it."""
    assert shown(SortOrder.ASCII) == "SortOrder.ASCII"
    assert shown(5.0) == "5.0"
    assert shown(object()) == "..."


def test_llms_txt_has_a_sentence_for_each_page() -> None:
    """The first of the page, without its links."""
    text = "# A till\n\n(m-01)=\nA [cashier](x.md) scans. Then more.\n\n"
    text += "```{toctree}\na\n```\nend [s](source:a/)\n"
    assert about(plain(text)) == ("A till", "A cashier scans.")
    assert "toctree" not in plain(text)
    assert "[s](../source/a.html)" in plain(text)
    assert plain("![x](screenshots/x.png)") == "![x](_images/x.png)\n"
    assert plain("[r](#reference)") == "[r](reference/index.html)\n"


def test_llms_txt_names_each_page_of_the_contents(tmp_path: Path) -> None:
    """The first page too, and those that the contents give another title."""
    (folder := tmp_path / "pages").mkdir()
    (site := tmp_path / "site").mkdir()
    contents = "```{toctree}\n:caption: Read\n\na\nB（英文） <b>\n```\n"
    (folder / "index.md").write_text(f"# I\n\nFirst. More.\n\n{contents}", "utf-8")
    for name in ("a", "b"):
        (folder / f"{name}.md").write_text(f"# {name}\n\nIt is {name}.\n", "utf-8")
    app: Any = SimpleNamespace(srcdir=folder, outdir=site)
    write_llms(app, None)
    listed = (site / "llms.txt").read_text("utf-8")
    assert re.findall(r"\((\w+\.md)\)", listed) == ["index.md", "a.md", "b.md"]
    assert broken(site) == []
