"""Texts that the last version wrote into stores and inboxes are read, and written, as it did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import attrs
import pytest

from chaoying_async.exceptions import ChaoyingError
from chaoying_async.sansio.notifications.facts import (
    facts_from_text,
    kept_facts,
    to_text,
)
from chaoying_async.sansio.payments.intent import intent_in, order_record_in
from chaoying_async.sansio.payments.refunds import refund_intent_in
from chaoying_async.sansio.polling.record import EndedOrder, read_pending
from chaoying_async.sansio.redact import without_personal
from chaoying_async.sansio.stored import paid_in
from tests.factories import AUTH_CODE, MCH_ID, OPENID
from tests.pure import stored_values as values
from tests.table import table

_FOLDER = Path(__file__).parents[1] / "data" / "stored"
_STORED: Mapping[str, Mapping[str, str]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in _FOLDER.glob("*.json")
}


def _cases(kind: str) -> Any:
    return pytest.mark.parametrize("case", list(_STORED[kind]))


def _changed(value: Any, **changes: Any) -> Any:
    return attrs.evolve(value, **changes)


def _without_raw(value: Any) -> Any:
    """As it is read again: nothing of an outcome but what decides is kept."""
    return None if value is None else _changed(value, raw={})


def _said(error: BaseException | None) -> Any:
    if error is None:
        return None
    told = {name: value for name, value in vars(error).items() if value not in ("", None)}
    return type(error), error.args, {**told, "raw": {}, "msg": None}


def test_every_kind_of_record_has_texts() -> None:
    """Each case of each kind was written by the last version, and none is left over."""
    assert {kind: list(cases) for kind, cases in _STORED.items()} == {
        kind: list(cases) for kind, cases in values.texts().items()
    }


@table(("kind", "case"), [(kind, case) for kind, cases in _STORED.items() for case in cases])
def test_the_last_version_can_read_what_this_one_writes(kind: str, case: str) -> None:
    """The same JSON for the same value, so that both may run beside each other on one table."""
    assert json.loads(values.texts()[kind][case]) == json.loads(_STORED[kind][case])


def test_no_text_holds_a_secret() -> None:
    """Neither a payment code nor anything about the buyer is written down (M-27)."""
    told = "".join(text for cases in values.texts().values() for text in cases.values())
    assert not [secret for secret in (OPENID, AUTH_CODE, "SECRET", "a secret") if secret in told]


@_cases("waiting")
def test_an_order_that_is_waited_for_is_read_as_it_was(case: str) -> None:
    """Query, amount, schedule and everything heard so far (M-23)."""
    assert read_pending(_STORED["waiting"][case]) == values.WAITING[case]


@_cases("ended")
def test_an_outcome_is_read_as_it_was(case: str) -> None:
    """Its status, its paid order, the reply that decided, the error; nothing personal."""
    read, written = read_pending(_STORED["ended"][case]), values.ENDED[case]
    assert isinstance(read, EndedOrder)
    assert (read.query, read.status, read.attempts, read.elapsed) == (
        written.query,
        written.status,
        written.attempts,
        written.elapsed,
    )
    assert read.paid == _without_raw(written.paid)
    assert type(read.paid) is type(written.paid)
    assert _deciding(read.reply) == _deciding(written.reply)
    if isinstance(written.error, ChaoyingError) and "user's" not in case:
        assert _said(read.error) == _said(written.error)
    assert str(read.error) == values.SAID.get(case, str(written.error))


def _deciding(reply: Any) -> Any:
    """What decided of a reply; of a refund's list only the entry that was asked about."""
    if reply is None:
        return None
    result = reply.result
    if hasattr(result, "refund_list"):
        result = result.refund_list[-1]
    elif result is not None:
        result = _changed(result, attach=None, openid=None)
    return (*(getattr(reply, name) for name in _DECIDING), result)


_DECIDING = ("endpoint", "meaning", "state", "code", "trade_state", "signed")


@_cases("checkout")
def test_a_payment_under_way_is_read_as_it_was(case: str) -> None:
    """Everything but what came with its paid order."""
    written = values.INTENTS[case]
    read = intent_in(_STORED["checkout"][case])
    assert read == _changed(written, paid=_without_raw(written.paid))
    assert json.loads(read.text()) == json.loads(_STORED["checkout"][case])


@_cases("ended")
def test_an_outcome_without_its_currency_is_read_too(case: str) -> None:
    """As versions before the one that keeps it wrote it; the reply that decided may name it."""
    members = json.loads(_STORED["ended"][case])
    if "paid" not in members:
        return
    members["paid"].pop("fee_type", None)
    read, written = read_pending(json.dumps(members)), values.ENDED[case]
    assert isinstance(read, EndedOrder)
    named = written.reply and written.reply.raw.get("fee_type")
    assert read.paid == _changed(written.paid, raw={}, fee_type=named)


@_cases("checkout-order")
def test_a_business_order_is_read_as_it_was(case: str) -> None:
    """The guard against a second payment."""
    assert order_record_in(_STORED["checkout-order"][case]) == values.ORDERS[case]


@_cases("refund")
def test_a_refund_is_read_as_it_was(case: str) -> None:
    """The request under its own number, and the refusal with the gateway's words (M-25)."""
    read, written = refund_intent_in(_STORED["refund"][case]), values.REFUNDS[case]
    assert read == written
    assert _said(read.refusal) == _said(written.refusal)
    assert (read.refusal and read.refusal.msg) == (written.refusal and written.refusal.msg)


@_cases("message")
def test_a_message_is_read_as_it_was(case: str) -> None:
    """What it says, without the buyer, and with the fingerprint of all that it said."""
    read, written = facts_from_text(_STORED["message"][case]), values.FACTS[case]
    assert read.fingerprint == written.fingerprint
    whole = without_personal(written.raw)
    kept = {name: whole[name] for name in read.raw}
    assert read.raw == json.loads(json.dumps(kept, default=values.plain))
    assert bool(read.told_as) is (len(read.raw) < len(whole))
    assert _changed(read, raw={}, told_as="") == _changed(written, raw={})
    assert json.loads(to_text(read)) == json.loads(_STORED["message"][case])
    assert kept_facts(_STORED["message"][case], "CONFIRM") == read


@_cases("paid-order")
def test_a_paid_order_in_an_inbox_of_an_earlier_version_is_read(case: str) -> None:
    """It stands where messages stand since, and its record says how it was learnt."""
    text, written = _STORED["paid-order"][case], values.PAID_ORDERS[case]
    read = paid_in(json.loads(text))
    assert read == _changed(written, raw=without_personal(written.raw))
    facts = kept_facts(text, "CONFIRM")
    assert facts.source == "CONFIRM"
    assert facts.payable == written.payable


def test_waits_are_kept_with_the_merchant_of_the_session() -> None:
    """A query that names no merchant is written down with the session's (M-18)."""
    nobodys = _changed(values.WAITING["just begun"], query=values.QUERY_WITHOUT_MERCHANT)
    read = read_pending(nobodys.text(MCH_ID))
    assert cast("Any", read) == values.WAITING["just begun"]


@table(
    ("read", "kind", "added"),
    [
        (intent_in, "checkout", {"answered", "used", "ahead", "paytype", "paid"}),
        (order_record_in, "checkout-order", {"released", "was"}),
        (refund_intent_in, "refund", {"refusal", "absent", "absent_since", "absent_until"}),
        (read_pending, "waiting", {"standing"}),
        (read_pending, "ended", {"reply", "paid", "error"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_record_may_lack_only_what_was_added_later_or_is_not_always_there(
    read: Any, kind: str, added: set[str]
) -> None:
    """A damaged record is for a person: what it lacks is never guessed."""
    for text in _STORED[kind].values():
        members = json.loads(text)
        for name in members.keys() - {"status", "reason"}:
            damaged = json.dumps({each: members[each] for each in members if each != name})
            if name in added:
                assert read(damaged)
                continue
            with pytest.raises(ValueError, match=r"^not a") as error:
                read(damaged)
            assert error.value.__cause__ is error.value.__context__ is None


@table("read", [read_pending, intent_in, order_record_in, refund_intent_in])
@table("text", ["[" * 20_000, '{"version":' * 20_000])
def test_a_text_that_is_nested_without_end_is_an_unreadable_one(read: Any, text: str) -> None:
    """M-23: one damaged text in a store must not stop the others from being taken up."""
    with pytest.raises(ValueError, match=r"^not "):
        read(text)
