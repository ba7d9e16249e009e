"""docs/fields.md and its Chinese twin, made of the words that stand under the fields.

``python -m tests.house.field_pages`` writes both anew; a test holds them against the source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import attrs

from chaoying_async.fieldwords import FieldWords, words_of
from chaoying_async.sansio import enums
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.api.details import (
    FundBill,
    Partner,
    Promotion,
    PromotionGoods,
    RefundItem,
)
from chaoying_async.sansio.api.endpoint import Reply, Request, field_specs
from chaoying_async.sansio.api.field_rules import GoodsDetail
from chaoying_async.sansio.api.follow_up import OrderQuery, Refund, RefundQuery
from chaoying_async.sansio.api.merchant import GetMchId
from chaoying_async.sansio.model import fields_of, name_of
from chaoying_async.sansio.notifications.message import (
    AlipayNotification,
    Notification,
    WechatNotification,
)
from chaoying_async.sansio.paid import RefundedOrder

DOCS = Path(__file__).parents[2] / "docs"

#: Classes whose fields travel inside one field of another.
PACKED = (GoodsDetail, Promotion, PromotionGoods, RefundItem, Partner, FundBill)
#: Classes that sum up what a message says.
READ = (Reply, RefundedOrder)
NOTIFICATIONS = (Notification, WechatNotification, AlipayNotification)
TABLES = tuple(
    table
    for table in vars(enums).values()
    if isinstance(table, type) and issubclass(table, Enum) and table.__module__ == enums.__name__
)

#: Tables of calls that the document does not describe (C 104).
UNCHECKED = (
    enums.Scene,
    enums.PicType,
    enums.TypeId,
    enums.DealType,
    enums.LegalPersonType,
    enums.LegalPersonCertType,
    enums.FlagType,
    enums.AccountType,
    enums.IdCardType,
)

_SHOWN_AS = {
    "Amount": "Fen",
    "Goods": "GoodsDetail",
    "Time": "datetime",
    **dict.fromkeys(
        ("Text", "Identifier", "OrderNumber", "PlainOrderNumber", "RefundNumber", "Placeholder"),
        "str",
    ),
    **dict.fromkeys(("Ip", "Url", "UrlList"), "str"),
}
_MARKUP = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`|``([^`]*)``")

_INTRODUCTION = {
    "en": """\
# Fields

[简体中文](fields.zh-CN.md) · [back to the README](../README.md)

What every field is, its unit, and what one might get wrong. The words stand under the field in the
source, where your editor shows them; `chaoying send pay --help` reads the same ones, and so does
this page (`make fields` writes it). C 42 and the like are
[places where the document contradicts itself](gateway-notes.md), M-09 and the like are
[money rules](rules.md). Amounts are in fen, times aware in GMT+8, unless the words say otherwise.
""",
    "zh": """\
# 字段

[English](fields.md) · [回到 README](../README.zh-CN.md)

每个字段的含义、单位和容易弄错的地方，用语取自网关文档。
这些说明就写在源码里字段的下方，编辑器会直接显示；`chaoying send pay --help` 读的是同一份，
本页也是（由 `make fields` 生成）。金额单位是分，时间是带时区的 GMT+8，另有说明的除外。
""",
}
_TITLES: dict[str, dict[str, Any]] = {
    "en": {
        "calls": "Calls",
        "packed": "Inside a field",
        "notifications": "Notifications",
        "read": "What the library makes of them",
        "tables": "Code tables",
        "result": "`{}` brings back `{}`:",
        "field": "Field",
        "type": "Type",
        "needed": "Needed",
        "words": "What it is",
        "value": "Value",
        "member": "Name",
        "yes": "yes",
        "session": "yes, or the session's",
        "nothing": "Nothing but the status.",
        "none": "None that the document names.",
        "either": {
            OrderQuery: "one of the two numbers",
            Refund: "one of the two order numbers",
            RefundQuery: "one of the two numbers",
            GetMchId: "mobile + valid, or username + password",
        },
        "unchecked": "No call checks against this table: it is for `MchReg(extra=...)` (C 104).",
    },
    "zh": {
        "calls": "接口",
        "packed": "字段里的内容",
        "notifications": "通知",
        "read": "本库据此得出的结果",
        "tables": "编码表",
        "result": "`{}` 返回 `{}`：",
        "field": "字段",
        "type": "类型",
        "needed": "必填",
        "words": "说明",
        "value": "编码",
        "member": "名称",
        "yes": "是",
        "session": "是，可由会话补上",
        "nothing": "只有状态。",
        "none": "文档没有列出。",
        "either": {
            OrderQuery: "两个单号至少一个",
            Refund: "两个订单号至少一个",
            RefundQuery: "两个单号至少一个",
            GetMchId: "mobile + valid，或 username + password",
        },
        "unchecked": "没有接口按此表校验，供 `MchReg(extra=...)` 使用。",
    },
}


def page(language: str) -> str:
    """The whole page in ``en`` or ``zh``."""
    say = _TITLES[language]
    parts = [_INTRODUCTION[language], f"## {say['calls']}\n"]
    for request in REQUESTS:
        parts.append(_request(request, language))
        names = request.__name__, request.result_type.__name__
        parts.append(f"{say['result'].format(*names)}\n")
        parts.append(_fields(request.result_type, language) or f"{say['nothing']}\n")
    for section, classes in (
        ("packed", PACKED),
        ("notifications", NOTIFICATIONS),
        ("read", READ),
    ):
        parts.append(f"## {say[section]}\n")
        for each in classes:
            parts.append(f"### {each.__name__}\n")
            parts.append(_fields(each, language))
    parts.append(f"## {say['tables']}\n")
    for table in TABLES:
        parts.append(f"### {table.__name__}\n\n{_first_line(table)}\n")
        if table in UNCHECKED:
            parts.append(f"{say['unchecked']}\n")
        rows = [
            (f"`{member.value}`", f"`{name}`", _cell(words_of(table, name), language))
            for name, member in table.__members__.items()
        ]
        parts.append(_table((say["value"], say["member"], say["words"]), rows))
    return "\n".join(parts)


def _first_line(owner: type[Any]) -> str:
    return _as_markdown((owner.__doc__ or "").partition("\n")[0]).replace(": ", "：", 1)


def _request(request: type[Request[Any]], language: str) -> str:
    say = _TITLES[language]
    rows = []
    kinds = {name_of(field): field for field in fields_of(request)}
    for spec in field_specs(request):
        needed = say["yes"] if spec.required else ""
        if spec.name in request.needed:
            needed = say["session"]
        elif not spec.required:
            needed = say["either"].get(request, "")
        words = _cell(words_of(request, spec.name), language)
        rows.append((f"`{spec.name}`", _type(kinds[spec.name], request), needed, words))
    title = f"### {request.__name__}\n\n`{request.endpoint.name}` {request.endpoint.title}\n\n"
    heads = (say["field"], say["type"], say["needed"], say["words"])
    return title + (_table(heads, rows) if rows else f"{say['none']}\n")


def _fields(owner: type[Any], language: str) -> str:
    say = _TITLES[language]
    heads = (say["field"], say["type"], say["words"])
    if issubclass(owner, Notification):
        texts = [name for name in owner.field_names() if name in vars(owner)]
        return _table(
            (say["field"], say["words"]),
            [(f"`{name}`", _cell(words_of(owner, name), language)) for name in texts],
        )
    rows = [
        (f"`{name}`", _type(field, owner), _cell(words_of(owner, name), language))
        for name, field in ((name_of(field), field) for field in fields_of(owner))
    ]
    return _table(heads, rows) if rows else ""


def _type(field: attrs.Attribute[Any], owner: type[Any]) -> str:
    """The field's type as its source has it, less what says "or something unknown, or nothing"."""
    hints = (vars(base).get("__annotations__", {}).get(name_of(field)) for base in owner.__mro__)
    text = str(next(filter(None, hints), field.type))
    text = re.sub(r" \| (?:None|str)\b", "", text).removesuffix("Value")
    many = re.fullmatch(r"tuple\[(\w+), \.\.\.\]", text)
    name = _SHOWN_AS.get(text, text)
    if many:
        name = many[1]
    linked = any(each.__name__ == name for each in (*TABLES, *PACKED))
    return f"[`{name}`](#{name.lower()})" if linked else f"`{name}`"


def _cell(words: FieldWords, language: str) -> str:
    text = words.chinese if language == "zh" and words.chinese else words.english
    return _as_markdown(text).replace("|", "\\|")


def _as_markdown(text: str) -> str:
    return _MARKUP.sub(lambda match: f"`{match[1] or match[2]}`", text)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines: Iterator[Sequence[str]] = iter((heads, ["---"] * len(heads), *rows))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines).replace("|  |", "| |")


PAGES = {DOCS / "fields.md": "en", DOCS / "fields.zh-CN.md": "zh"}

if __name__ == "__main__":
    for path, language in PAGES.items():
        path.write_text(page(language), "utf-8")
