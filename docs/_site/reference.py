"""The pages of the reference, from a table of public modules.

A name of the front page, ``chaoying_async.Pay``, is explained on the page of the room that it is
defined in; a module that has its own import path, such as ``chaoying_async.testing``, on its own.
A name without a place here stops the build.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from types import ModuleType
from typing import Any

import attrs

import chaoying_async

PACKAGE = "chaoying_async"


@attrs.frozen
class ReferencePage:
    """One page: where its names come from."""

    english: str
    chinese: str
    rooms: Sequence[str] = ()
    """Names of the front page that are defined in these are here: ``sansio.api`` and below."""
    modules: Sequence[str] = ()
    """All public names of these modules are here, under the module's own name."""
    names: Sequence[str] = ()
    """Single names of modules whose other names are explained elsewhere."""


PAGES: Mapping[str, ReferencePage] = {
    "session": ReferencePage(
        "Session, credentials, replies",
        "会话、凭证、响应",
        rooms=(
            *("session", "environment", "clock", "abc", "sansio.credentials", "sansio.hosts"),
            *("sansio.api.endpoint", "sansio.audit", "sansio.meaning", "sansio.values"),
        ),
    ),
    "requests": ReferencePage("Requests and results", "请求与结果", rooms=("sansio.api",)),
    "code-tables": ReferencePage("Code tables", "编码表", rooms=("sansio.enums",)),
    "exceptions": ReferencePage("Errors", "异常", rooms=("exceptions",)),
    "payments": ReferencePage(
        "Payments and refunds to their end",
        "把支付和退款跟踪到确定的结果",
        rooms=("payments", "sansio.payments", "sansio.paid"),
    ),
    "polling": ReferencePage(
        "Polling and stores",
        "轮询与存储",
        rooms=("polling", "sansio.polling", "pollstore", "terminals"),
        modules=("pollstore.sql",),
    ),
    "notifications": ReferencePage(
        "Notifications and inboxes",
        "通知与收件箱",
        rooms=("notifications", "sansio.notifications", "inbox"),
        modules=("inbox.sql", "inbox.redis"),
    ),
    "web": ReferencePage(
        "Web frameworks",
        "Web 框架",
        modules=(
            *("web.asgi", "web.fastapi", "web.aiohttp", "web.django", "web.flask"),
            "web.background",
        ),
    ),
    "observing": ReferencePage(
        "Metrics and spans",
        "指标与 span",
        rooms=("sansio.observed",),
        modules=("observing.prometheus", "observing.otel", "observing.whole_fleet"),
        names=("sansio.observed.ObservedCall",),
    ),
    "workers": ReferencePage(
        "Workers",
        "多进程",
        modules=("workers",),
        names=("workers.queues.celery.outcome_task", "workers.queues.pgqueuer.outcome_task"),
    ),
    "sandbox": ReferencePage(
        "Sandbox", "沙箱", modules=("sandbox", "sandbox.bank.scenarios", "sandbox.speed")
    ),
    "testing": ReferencePage("Testing", "测试", modules=("testing", "testing.simulation")),
    "pure": ReferencePage(
        "Without a session: signing and messages",
        "不用会话：签名与报文",
        modules=("sansio.signing", "sansio.exchange", "sansio.doctor"),
    ),
}

_SAY = {
    "en": (
        "Reference",
        "Every public name, in the words of its source. All calls: [fields](../fields.md).",
    ),
    "zh-CN": (
        "参考",
        "每个公开名称，说明取自源码：字段的说明是中文，其余是英文。全部接口在一页上：[字段](../fields.md)。",
    ),
}


def public_names(module: ModuleType) -> list[str]:
    """What a module offers: its ``__all__``, or what it defines without an underscore."""
    given = getattr(module, "__all__", None)
    if given is not None:
        return list(given)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isroutine(value))
        and value.__module__ == module.__name__
    ]


def contents() -> dict[str, list[tuple[str, str]]]:
    """The names of each page: module as it is imported from, and name."""
    found: dict[str, list[tuple[str, str]]] = {page: [] for page in PAGES}
    for name in chaoying_async.__all__:
        found[_page_of(name)].append((PACKAGE, name))
    for page, each in PAGES.items():
        for path in each.modules:
            module = importlib.import_module(f"{PACKAGE}.{path}")
            found[page] += [(module.__name__, name) for name in public_names(module)]
        for path in each.names:
            place, _, name = path.rpartition(".")
            found[page].append((f"{PACKAGE}.{place}", name))
    return found


def _page_of(name: str) -> str:
    value = getattr(chaoying_async, name)
    home = (value if hasattr(value, "__module__") else type(value)).__module__
    room = home.removeprefix(f"{PACKAGE}.")
    rooms = {
        there: page
        for page, each in PAGES.items()
        for there in each.rooms
        if room == there or room.startswith(f"{there}.")
    }
    if not rooms:
        raise LookupError(f"no page of docs/_site/reference.py has a place for {home}.{name}")
    return rooms[max(rooms, key=len)]


def reference(language: str) -> dict[str, str]:
    """The pages as files for Sphinx."""
    title, words = _SAY[language]
    tree = "\n".join(PAGES)
    index = f"(reference)=\n\n# {title}\n\n{words}\n\n```{{toctree}}\n:maxdepth: 1\n\n{tree}\n```\n"
    found = {"reference/index.md": index}
    for page, names in contents().items():
        each = PAGES[page]
        heading = each.english if language == "en" else each.chinese
        lines = [heading, "=" * 2 * len(heading), ""]
        lines += [line for pair in _by_module(names) for line in pair]
        found[f"reference/{page}.rst"] = "\n".join(lines) + "\n"
    return found


def _by_module(names: Sequence[tuple[str, str]]) -> Iterator[list[str]]:
    last = PACKAGE
    for module, name in names:
        if module != last:
            yield [module, "-" * len(module), "", f".. py:module:: {module}", ""]
            last = module
        yield [*_directive(module, name), ""]


def _directive(module: str, name: str) -> list[str]:
    value = getattr(importlib.import_module(module), name)
    target = f"{module}.{name}"
    if inspect.ismodule(value):
        return [f".. py:data:: {target}", "", f"   {(value.__doc__ or '').splitlines()[0]}"]
    if not inspect.isclass(value):
        kind = "function" if inspect.isroutine(value) else "data"
        return [f".. auto{kind}:: {target}"]
    kind = "exception" if issubclass(value, BaseException) else "class"
    options = [":members:", ":show-inheritance:"]
    if issubclass(value, Enum):
        options = [":members:", ":undoc-members:", ":member-order: bysource"]
    elif _has_helpers(value):
        options.append(f":inherited-members: {', '.join(_explained_elsewhere(value))}")
    return [f".. auto{kind}:: {target}", *(f"   {option}" for option in options)]


def _has_helpers(owner: type[Any]) -> bool:
    """Whether a base of it is ours and explained nowhere: its members have to be told here."""
    elsewhere = _explained_elsewhere(owner)
    return any(base.__name__ not in elsewhere for base in owner.__mro__[1:])


def _explained_elsewhere(owner: type[Any]) -> list[str]:
    """Bases whose members are not told again: public ones, and those of other packages."""
    public = set(chaoying_async.__all__)
    return [
        base.__name__
        for base in owner.__mro__[1:]
        if base.__name__ in public or not base.__module__.startswith(PACKAGE)
    ]
