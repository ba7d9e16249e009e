"""Names in the text lead to the reference, numbers of rules to the rules, files to their pages.

In the Markdown a name is plain code, `` `GatewaySession` ``, as it should be where no site is.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from posixpath import dirname, relpath
from typing import Any

from docutils import nodes
from sphinx.addnodes import desc_signature, pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from _site.reference import PACKAGE
from _site.sources import page_of

_SWITCH = {"en": ("zh-CN", "简体中文"), "zh": ("en", "English")}
#: `Pay`, `Pay(...)`, `web.asgi.notification_app(handler)`
_NAME = re.compile(r"@?(?P<name>[A-Za-z_]\w*(?:\.\w+)*)(?:\(.*\))?")
_RULE = re.compile(r"\bM-\d\d\b")
#: Where a name or a number stays as it is.
_NOT_IN = (nodes.reference, nodes.title, nodes.literal_block, desc_signature, pending_xref)

_Places = Mapping[str, tuple[str, str]]


@cache
def places(env: BuildEnvironment) -> _Places:
    """Every way to write a public name, and where it is explained: page and anchor.

    ``Pay`` is the front page's; a name that only one other module has needs no module either. To be
    asked when all pages have been read.
    """
    objects: Mapping[str, Any] = env.domains["py"].objects
    found: dict[str, tuple[str, str]] = {}
    short: dict[str, list[str]] = {}
    for full, entry in objects.items():
        found[full] = entry.docname, entry.node_id
        inside = full.removeprefix(f"{PACKAGE}.")
        found[inside] = found[full]
        # Small names of other modules (`sign`, `verify`) are fields and words of the language too.
        last = re.sub(r"^(?:[a-z_]\w*\.)+(?=[A-Z])", "", inside)
        if last != inside:
            short.setdefault(last, []).append(full)
    for last, names in short.items():
        if len(names) == 1:
            found.setdefault(last, found[names[0]])
    return found


def link_all(app: Sphinx, tree: nodes.document, page: str) -> None:
    """What a page says, with its links."""
    known = places(app.env)
    for reference in tree.findall(nodes.reference):
        uri = str(reference.get("refuri", ""))
        if uri.startswith("source:"):
            path, _, fragment = uri.removeprefix("source:").partition("#")
            there = relpath(page_of(path), dirname(f"here/{page}"))
            reference["refuri"] = there + (f"#{fragment}" if fragment else "")
            reference["internal"] = True
    for code in list(tree.findall(nodes.literal)):
        match = _NAME.fullmatch(code.astext())
        place = known.get(match["name"]) if match else None
        if place and place[0] != page and not _inside(code):
            code.replace_self(_reference(app, page, place, code.deepcopy()))
    if page != "rules":
        for text in list(tree.findall(nodes.Text)):
            if _RULE.search(text) and not _inside(text) and not _within_code(text):
                text.parent.replace(text, list(_with_rules(app, page, text)))


def _inside(node: nodes.Node) -> bool:
    while node := node.parent:
        if isinstance(node, _NOT_IN):
            return True
    return False


def _within_code(node: nodes.Node) -> bool:
    return isinstance(node.parent, nodes.literal | nodes.comment | nodes.raw)


def _reference(
    app: Sphinx, page: str, place: tuple[str, str], shown: nodes.Node
) -> nodes.reference:
    uri = f"{app.builder.get_relative_uri(page, place[0])}#{place[1]}"
    return nodes.reference("", "", shown, refuri=uri, internal=True)


def _with_rules(app: Sphinx, page: str, text: nodes.Text) -> Iterator[nodes.Node]:
    end = 0
    for match in _RULE.finditer(text):
        yield nodes.Text(text[end : match.start()])
        place = "rules", match[0].lower()
        yield _reference(app, page, place, nodes.Text(match[0]))
        end = match.end()
    yield nodes.Text(text[end:])


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.TextElement
) -> nodes.Node | None:
    """What a docstring names by the module that it is defined in; names of others stay plain.

    A name of ours that is nowhere is left to Sphinx, which complains.
    """
    if node.get("refdomain") != "py":
        return None
    target = str(node["reftarget"])
    known = places(env)
    place = known.get(target) or known.get(target.rpartition(".")[2])
    if place:
        return _reference(app, str(node["refdoc"]), place, shown)
    ours = target.startswith(PACKAGE)
    return shown if not ours or _is_there(target) else None


@cache
def _is_there(target: str) -> bool:
    """Whether there is such a name, public or not."""
    first, *names = target.split(".")
    place: Any = importlib.import_module(first)
    for name in names:
        with suppress(ImportError):
            importlib.import_module(f"{getattr(place, '__name__', '')}.{name}")
        if not hasattr(place, name):
            return False
        place = getattr(place, name)
    return True


def switch(
    app: Sphinx, page: str, _template: str, context: dict[str, Any], _tree: nodes.document | None
) -> None:
    """The same page in the other language, above each page."""
    folder, words = _SWITCH[app.config.language[:2]]
    uri = relpath(f"{folder}/{page}.html", dirname(f"here/{page}"))
    if "body" in context:
        link = f'<a class="other-language" lang="{folder}" href="{uri}">{words}</a>'
        context["body"] = link + context["body"]


def setup(app: Sphinx) -> dict[str, bool]:
    """Take part in the build."""
    app.connect("doctree-resolved", link_all)
    app.connect("missing-reference", resolve)
    app.connect("html-page-context", switch)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
