"""Bugs that show only where another version reads what this one writes, or the other way round.

Each is sound by itself: this version reads what it has written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from chaoying_async.inbox.sql import tables
from chaoying_async.sansio.notifications import facts
from chaoying_async.sansio.notifications.inbox_values import OrderKey
from chaoying_async.sansio.payments import intent, refunds
from chaoying_async.sansio.polling import record
from tests.hard.planting import everywhere, planted
from tests.hard.versions.loading import ADDED_LATER

among_versions = partial(planted, versions=True)


def _with(text: str, **members: Any) -> str:
    return json.dumps({**json.loads(text), **members})


@among_versions("a payment's record lacks a name that the last version needs", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    text, read = intent.Intent.text, intent._intent

    def shorter(self: intent.Intent) -> str:
        members = json.loads(text(self))
        certain = members.pop("certain")
        return json.dumps(members if not certain else {**members, "sure": 1})

    def read_again(members: Mapping[str, Any]) -> intent.Intent:
        return read({"certain": "sure" in members, **members})

    patch.setattr(intent.Intent, "text", shorter)
    patch.setattr(intent, "_intent", read_again)


@among_versions("a payment's record of the last version is not read", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    text, read = intent.Intent.text, intent._intent

    def read_mine(members: Mapping[str, Any]) -> intent.Intent:
        if "channel" not in members:
            raise KeyError("a member is missing")
        return read(members)

    patch.setattr(intent.Intent, "text", lambda self: _with(text(self), channel="till"))
    patch.setattr(intent, "_intent", read_mine)


@among_versions("a payment's record with a name of the next version is refused", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    read = intent._intent

    def read_known(members: Mapping[str, Any]) -> intent.Intent:
        if ADDED_LATER in members:
            raise KeyError("a member is not known")
        return read(members)

    patch.setattr(intent, "_intent", read_known)


@among_versions("a schedule is stored in milliseconds", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    text, read = record.PendingOrder.text, record._waiting
    names = ("first", "every", "longest")

    def scaled(members: Mapping[str, Any], by: float) -> dict[str, Any]:
        schedule = members["schedule"]
        return {**members, "schedule": {**schedule, **{n: schedule[n] * by for n in names}}}

    def in_milliseconds(self: record.PendingOrder, mch_id: str) -> str:
        return json.dumps(scaled(json.loads(text(self, mch_id)), 1000))

    patch.setattr(record.PendingOrder, "text", in_milliseconds)
    patch.setattr(record, "_waiting", lambda members: read(scaled(members, 0.001)))


@among_versions("an order in an inbox has another key", "M-16")
def _(patch: pytest.MonkeyPatch) -> None:
    key_params = tables.key_params

    def without_zeros(key: OrderKey) -> tables.Params:
        return key_params(OrderKey(key.mch_id.lstrip("0"), key.out_trade_no))

    everywhere(patch, key_params, without_zeros)
    patch.setattr(tables, "_key_of", lambda row: OrderKey(row.mch_id.zfill(8), row.out_trade_no))


@among_versions("a refund's number is written in another form", "M-25")
def _(patch: pytest.MonkeyPatch) -> None:
    text, read = refunds.RefundIntent.text, refunds._refund
    name = "out_refund_no"

    def in_small_letters(self: refunds.RefundIntent) -> str:
        members = json.loads(text(self))
        members["fields"][name] = members["fields"][name].lower()
        return json.dumps(members)

    patch.setattr(refunds.RefundIntent, "text", in_small_letters)
    patch.setattr(refunds, "_refund", lambda fields: read({**fields, name: fields[name].upper()}))


@among_versions("an inbox's message is written in another form", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    to_text, read = facts.to_text, facts._facts

    def in_capitals(found: facts.Facts) -> str:
        return _with(to_text(found), outcome=found.outcome.value.upper())

    def read_again(members: dict[str, Any]) -> facts.Facts:
        return read({**members, "outcome": members["outcome"].lower()})

    everywhere(patch, to_text, in_capitals)
    patch.setattr(facts, "_facts", read_again)
