"""What is written down about a message knows nobody (M-27), and is the same message (M-17)."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from chaoying_async.sansio.fieldnames import SECRET
from chaoying_async.sansio.notifications.facts import (
    facts_from_text,
    facts_of_order,
    kept_facts,
    to_text,
)
from chaoying_async.sansio.paid import PaidOrder, PaidSource
from chaoying_async.sansio.redact import without_personal
from chaoying_async.sansio.values import Fen
from tests.pure.stored_values import order_text
from tests.sizes import FULL
from tests.table import table

BUYER = "oCANARY3f72a9"


def order(raw: dict[str, Any]) -> PaidOrder:
    return PaidOrder(
        mch_id="00000001",
        out_trade_no="A100011",
        transaction_id="T1",
        payable=Fen(100),
        source=PaidSource.QUERY,
        raw=raw,
    )


def as_text_in(levels: int, value: Any) -> str:
    """JSON whose only value is a text of JSON, and so on."""
    text = json.dumps(value)
    for _ in range(levels):
        text = json.dumps({"inside": text})
    return text


def out_of(levels: int, text: str) -> Any:
    for _ in range(levels):
        text = json.loads(text)["inside"]
    return json.loads(text)


@table("levels", range(5))
@table("name", sorted(SECRET))
def test_json_in_a_value_is_blanked_however_deep_and_stays_json(name: str, levels: int) -> None:
    """M-27: every personal name, also in JSON that is a text inside JSON; the rest is untouched."""
    value = [{"amount": "0.01", name: f'{BUYER}" x', "fundChannel": "COUPON"}, {name: 1}]
    kept = without_personal({"fund_bill_list": as_text_in(levels, value)})["fund_bill_list"]
    assert out_of(levels, kept) == [
        {"amount": "0.01", name: "***", "fundChannel": "COUPON"},
        {name: "***"},
    ]


@table("levels", range(5))
@table("end", ["", "\\", "\\\\", '"', '\\"', '"\\', '","', "\\\n'"])
def test_a_value_ends_where_json_says(levels: int, end: str) -> None:
    """M-27: quotes and backslashes of its own hide neither its end nor the next name."""
    value = [{"amount": 1, "openid": BUYER + end, "mobile": end + BUYER, "z": end}]
    kept = without_personal({"attach": as_text_in(levels, value)})["attach"]
    assert out_of(levels, kept) == [{"amount": 1, "openid": "***", "mobile": "***", "z": end}]


@table(
    ("text", "kept"),
    [
        ("uid=1&openid=o1&z=2", "uid=1&openid=***&z=2"),
        ('uid=1;{"openid" : "o1"}&z=2', 'uid=1;{"openid" : "***"}&z=2'),
        ('{"sub_openid":"o1', '{"sub_openid":"***"'),  # cut off
        ('{"openid":2088,"z":1}', '{"openid":"***","z":1}'),
        ('{"openid":["o1","o2"],"z":1}', '{"openid":"***"'),
        ("{'openid': 'o1', 'z': 1}", "{'openid': '***', 'z': 1}"),
        ('{"openid":"o=1","z":1}', '{"openid":"***","z":1}'),
        ('{"my_openid":"1","openid_of":"2"}', '{"my_openid":"1","openid_of":"2"}'),
        ('{"openid":"o"1","mobile":"2","z":3}', '{"openid":"***"1","mobile":"***","z":3}'),
        ('{"openid":"o\\","mobile":"2","z":3}', '{"openid":"***"mobile":"***","z":3}'),
        ('Joe\'s "best" = 5', 'Joe\'s "best" = 5'),
    ],
)
def test_texts_of_all_kinds_lose_the_buyer_and_nothing_else(text: str, kept: str) -> None:
    """M-27: forms, JSON inside something else, and JSON that was cut off."""
    assert without_personal({"attach": text}) == {"attach": kept}
    assert without_personal({text: "1"}) == {kept: "1"}
    assert without_personal({"list": [{"attach": text}]}) == {"list": [{"attach": kept}]}


class Own:
    """What a user may put into ``raw``."""

    def __str__(self) -> str:
        return f"openid={BUYER}"


NESTED: dict[str, Any] = {
    "openid": BUYER,
    "buyer": {"openid": BUYER, "deep": [{"mobile": BUYER, "n": 1}], "text": f"openid={BUYER}"},
    "list": [[{"buyer_user_id": BUYER}], f'{{"openid":"{BUYER}"}}', ("a", None, True, 1.5)],
    "own": Own(),
    "when": datetime(2026, 1, 1, tzinfo=UTC),
    "amount": Decimal("0.10"),
    "numbers": {1: "one", None: "none", "sub_openid": BUYER},
}


def test_lists_and_objects_are_looked_into() -> None:
    """M-27: whatever ``PaidOrder.raw`` is made of, the buyer is nowhere in its text."""
    text = to_text(facts_of_order(order(NESTED)))
    assert BUYER not in text
    assert json.loads(text)["raw"] == {
        "buyer": {"deep": [{"n": 1}], "text": "openid=***"},
        "list": [[{}], '{"openid":"***"}', ["a", None, True, 1.5]],
        "own": "openid=***",
        "when": "2026-01-01T00:00:00+00:00",
        "amount": "0.10",
        "numbers": {"1": "one", "None": "none"},
    }


def test_the_fingerprint_is_that_of_what_was_written_down() -> None:
    """M-17: a message that comes again is known, though its buyer was left out."""
    paid = order(NESTED | {"attach": f'{{"openid":"{BUYER}","z":"1"}}'})
    facts = facts_of_order(paid)
    assert facts_from_text(to_text(facts)).fingerprint == facts.fingerprint
    assert kept_facts(order_text(paid), paid.source).fingerprint == facts.fingerprint
    assert to_text(facts_from_text(to_text(facts))) == to_text(facts)
    assert facts_of_order(order({"attach": '{"z":"2"}'})).fingerprint != facts.fingerprint


PIECES = (
    *('"', "'", "\\", '\\"', "=", "&", ":", " : ", ",", "{", "}", "[", "]", "\n", "é", "***"),
    *("openid", "sub_openid", "mobile", "x", "1", "buyer_id=2", "openid="),
    *('"openid":"x"', '\\"openid\\":\\"x\\"', '"openid":', "'mobile': "),
)


def test_what_was_blanked_is_not_blanked_again() -> None:
    """M-17: whatever a text is made of, its blanked form stays as it is, so a fingerprint does."""
    dice = random.Random(5)
    for _ in range(20_000 if FULL else 2_000):
        text = "".join(dice.choices(PIECES, k=dice.randrange(1, 14)))
        once = without_personal({"attach": text})
        assert without_personal(once) == once, text
        assert without_personal({"list": [text]}) == {"list": [once["attach"]]}, text


FLOODS = {
    "quotes": '"' * 65_536,
    "backslashes": '"openid' + "\\" * 65_000,
    "blanks": '"openid"' + " " * 65_000,
    "open names": '"openid"' * 8_000,
    "open values": '"openid":"\\' * 6_000,
    "runs": ('"openid"' + " " * 60) * 900,
    "forms": "openid=" * 9_000,
}


@pytest.mark.timeout(20)
@table("flood", FLOODS)
def test_no_text_takes_long(flood: str) -> None:
    """64 KiB of anything take milliseconds, not the seconds until the time-out."""
    kept: dict[str, Any] = {}
    for _ in range(100 if FULL else 10):
        kept = without_personal({"attach": FLOODS[flood]})
    assert len(kept["attach"]) <= 2 * 65_536
