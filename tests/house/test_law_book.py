"""The law book: every number that is cited is explained, in both languages, and leads somewhere."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

from tests.house.product import ROOT
from tests.house.test_names import ELSEWHERE, FRONT_PAGE
from tests.table import table

RULES = {"en": ROOT / "docs" / "rules.md", "zh": ROOT / "docs" / "rules.zh-CN.md"}
NOTES = {"en": ROOT / "docs" / "gateway-notes.md", "zh": ROOT / "docs" / "gateway-notes.zh-CN.md"}

_RULE = re.compile(r"\bM-([0-9]{2})\b", re.ASCII)
_CONTRADICTION = re.compile(r"\bC ([0-9]{1,3})\b(?:\s+(?:to|至)\s+C ([0-9]{1,3}))?", re.ASCII)
#: A numbering of another list, which is not in the repository.
_FOREIGN = re.compile(r"\bR-[0-9]{2}\b")
_HEADING = re.compile(r'^<a id="m-([0-9]{2})"></a>\n### M-\1 \S', re.MULTILINE)
_ROW = re.compile(r"^\| ([0-9]{1,3}) \| \S.* \| \S.* \|$", re.MULTILINE)
_LINK = re.compile(r"\[([^\]\n]+)\]\(([^)\s]+)\)")


_FOLDERS = ("chaoying_async", "tests", "docs", "examples", "benchmarks", ".ci")
_SUFFIXES = frozenset({"", ".py", ".md", ".toml", ".html", ".js", ".css", ".json", ".txt"})


@cache
def _texts() -> dict[Path, str]:
    """Every text of the repository."""
    paths = [path for folder in _FOLDERS for path in (ROOT / folder).rglob("*")]
    return {
        path.relative_to(ROOT): path.read_text("utf-8")
        for path in (*paths, *ROOT.iterdir())
        if path.is_file() and path.suffix in _SUFFIXES and not path.name.startswith(".")
    }


def _rules(language: str) -> set[int]:
    return {int(number) for number in _HEADING.findall(RULES[language].read_text("utf-8"))}


def _contradictions(language: str) -> set[int]:
    return {int(number) for number in _ROW.findall(NOTES[language].read_text("utf-8"))}


@table("language", RULES)
def test_every_rule_that_is_cited_is_in_the_law_book(language: str) -> None:
    """In code, tests, docs, examples and messages; and the numbers have no gap."""
    known = _rules(language)
    assert known == set(range(1, max(known) + 1))
    cited = defaultdict[int, set[str]](set)
    for path, text in _texts().items():
        for number in _RULE.findall(text):
            cited[int(number)].add(str(path))
    assert {number: cited[number] for number in cited.keys() - known} == {}


@table("language", NOTES)
def test_every_contradiction_that_is_cited_is_in_the_notes(language: str) -> None:
    """One row for each number, without a gap."""
    known = _contradictions(language)
    assert known == set(range(1, max(known) + 1))
    cited = defaultdict[int, set[str]](set)
    for path, text in _texts().items():
        for first, last in _CONTRADICTION.findall(text):
            for number in range(int(first), int(last or first) + 1):
                cited[number].add(str(path))
    assert {number: cited[number] for number in cited.keys() - known} == {}


def test_every_rule_is_cited_by_a_test() -> None:
    """Tests of the product; this room's own do not count."""
    cited = {
        int(number)
        for path, text in _texts().items()
        if path.parts[0] == "tests" and path.name.startswith("test_") and path.parts[1] != "house"
        for number in _RULE.findall(text)
    }
    assert _rules("en") - cited == set()


def test_no_number_of_another_list_is_left() -> None:
    """A reader of the repository could not look it up."""
    found = {str(path): _FOREIGN.findall(text) for path, text in _texts().items()}
    assert {path: numbers for path, numbers in found.items() if numbers} == {}


def _links(language: str) -> list[tuple[str, str]]:
    return _LINK.findall(RULES[language].read_text("utf-8"))


def _names_in(path: Path) -> set[str]:
    """What a file defines at module level, and the methods and fields of its classes."""
    names = set[str]()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            members = [*node.body, *(getattr(each, "target", None) for each in node.body)]
            parts = (getattr(each, "name", getattr(each, "id", "")) for each in members)
            names.update(f"{node.name}.{part}" for part in parts)
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(each.id for each in targets if isinstance(each, ast.Name))
    return names


@table("language", RULES)
def test_every_link_of_the_law_book_leads_to_what_it_names(language: str) -> None:
    """To a file that is there, a name that the file defines, a rule on the same page."""
    page = RULES[language]
    dead = []
    for shown, target in _links(language):
        place, _, anchor = target.partition("#")
        path = (page.parent / place).resolve() if place else page
        if not path.is_file():
            dead.append(target)
        elif path.suffix == ".py" and shown.startswith("`"):
            if shown.strip("`") not in _names_in(path):
                dead.append(f"{shown} in {target}")
        elif path == page and anchor and f'<a id="{anchor}"></a>' not in page.read_text("utf-8"):
            dead.append(target)
    assert dead == []


def test_every_rule_names_its_code_and_its_tests() -> None:
    """The same ones in both languages; a test that is named cites the rule."""
    by_language = []
    for page in RULES.values():
        _, *parts = _HEADING.split(page.read_text("utf-8"))
        by_language.append(
            {
                number: [target for _, target in _LINK.findall(text) if target.startswith("../")]
                for number, text in zip(parts[::2], parts[1::2], strict=True)
            }
        )
    english, chinese = by_language
    for number, targets in english.items():
        assert [target for target in chinese[number] if target.endswith(".py")] == targets
        tests = [target for target in targets if target.startswith("../tests/")]
        assert tests, number
        assert len(targets) > len(tests), number
        for target in tests:
            text = (RULES["en"].parent / target).read_text("utf-8")
            assert f"M-{number}" in text, (number, target)


_PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")]
_PATH = re.compile(r"`((?:chaoying_async|tests|docs|benchmarks|examples|\.ci)/[\w./-]*)`")


@table("page", _PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    """Relative links, and paths of the repository in CONTRIBUTING.md."""
    text = page.read_text("utf-8")
    named = {target.partition("#")[0] for _, target in _LINK.findall(text) if "://" not in target}
    missing = {target for target in named if target and not (page.parent / target).exists()}
    if page.name == "CONTRIBUTING.md":
        paths = set(_PATH.findall(text)) - {"chaoying_async/web/yours.py"}
        missing |= {path for path in paths if not (ROOT / path).exists()}
    assert missing - {"mailto:"} == set()


@table("page", _PAGES, ids=lambda page: page.name)
def test_a_page_that_cites_a_number_says_where_it_is_explained(page: Path) -> None:
    """By a link to the money rules, to the gateway notes, in the language of the page."""
    text, language = page.read_text("utf-8"), "zh" if "zh-CN" in page.name else "en"
    linked = {
        (page.parent / target.partition("#")[0]).resolve() for _, target in _LINK.findall(text)
    }
    for number, explained in {_RULE: RULES, _CONTRADICTION: NOTES}.items():
        there = explained[language]
        assert page == there or there in linked or not number.search(text), there.name


#: ``{NAME}``: a place that a script should have filled in.
_PLACEHOLDER = re.compile(r"\{[A-Z][A-Z0-9_]*\}")


@table("page", _PAGES, ids=lambda page: page.name)
def test_no_page_has_a_place_that_nobody_filled_in(page: Path) -> None:
    """Outside of code blocks."""
    prose = "".join(page.read_text("utf-8").split("```")[::2])
    assert _PLACEHOLDER.findall(prose) == []


@table("language", ["en", "zh"])
def test_every_public_name_is_in_the_docs(language: str) -> None:
    """In the README or on a page of docs/: fields.md has what a request and its result are."""
    pages = [page for page in _PAGES if ("zh-CN" in page.name) is (language == "zh")]
    text = "\n".join(page.read_text("utf-8") for page in pages if page.name != "CHANGELOG.md")
    words = set(re.findall(r"\w+", text))
    names = [*FRONT_PAGE, *(name for _, name in ELSEWHERE)]
    assert [name for name in names if name not in words] == []
