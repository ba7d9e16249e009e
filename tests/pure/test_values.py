from __future__ import annotations

import copy
import json
import operator
import pickle
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoying_async.sansio.api.details import FundBill, Promotion, RefundItem
from chaoying_async.sansio.fieldnames import SECRET
from chaoying_async.sansio.model import Model
from chaoying_async.sansio.notifications.message import Notification, parse_notification
from chaoying_async.sansio.paid import PaidOrder, PaidSource
from chaoying_async.sansio.values import (
    GMT8,
    Fen,
    fen,
    format_time,
    parse_http_date,
    parse_time,
    received_fen,
)
from chaoying_async.sansio.wire.structure import structure
from tests.pure.factories import CREDENTIALS, FULL_REQUESTS, form, notification, signed
from tests.pure.spec import CLASSES, NOTIFICATIONS, STRUCTURES, wire_names
from tests.sizes import FULL
from tests.table import table

# ----------------------------------------------------------------------------------------- amounts


def test_amounts_from_one_end_to_the_other_survive_the_round_trip() -> None:
    """Whole yuan up to 99,999 with every ending: text, Decimal and fen agree; FULL=1: each yuan."""
    for whole in range(0, 100_000, 1 if FULL else 7):
        cents = whole * 37 % 100
        text = f"{whole}.{cents:02}"
        made = fen(text)
        assert made == whole * 100 + cents
        assert f"{made.yuan}" == text


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_single_amount_up_to_99999_99_is_exact() -> None:
    """0.00 to 99,999.99 without a gap, ten million amounts; every 97th yuan without FULL=1."""
    endings = [f".{cents:02}" for cents in range(100)]
    for whole in range(0, 100_000, 1 if FULL else 97):
        text, first = str(whole), whole * 100
        made = [fen(text + ending) for ending in endings]
        assert made == list(range(first, first + 100))


@table(
    ("text", "amount"),
    [
        ("19.90", 1990),
        ("8.8", 880),
        ("0.3", 30),
        ("1.67", 167),
        ("12", 1200),
        ("0", 0),
        ("0.01", 1),
        ("00012.30", 1230),
        (Decimal("19.90"), 1990),
        (Decimal("12.3"), 1230),
        (Decimal("1E+2"), 10_000),
        (Decimal("0E-2"), 0),
        ("9999999999999.99", 999_999_999_999_999),
    ],
)
def test_yuan_becomes_fen_exactly(text: str | Decimal, amount: int) -> None:
    """The values that float arithmetic got wrong in other libraries (M-12)."""
    assert fen(text) == Fen(amount)
    assert type(fen(text)) is Fen


@table(
    "yuan",
    [
        "",
        " 1",
        "1 ",
        "1\n",
        "-1",
        "+1",
        "1.",
        ".5",
        "1.234",
        "1e2",
        "1,000.00",
        "１２",
        "١",
        "NaN",
        "Infinity",
        "9" * 14,
        Decimal(-1),
        Decimal("0.001"),
        Decimal("1.230"),
        Decimal("NaN"),
        Decimal("Infinity"),
    ],
    ids=repr,
)
def test_what_is_no_amount_in_yuan_is_refused(yuan: str | Decimal) -> None:
    """At most two decimals, ASCII digits, no sign (M-12)."""
    with pytest.raises(ValueError, match="yuan"):
        fen(yuan)


@table("yuan", [12, 12.0, True, Fen(1), None, b"1"], ids=repr)
def test_fen_of_a_number_is_refused_with_both_ways_named(yuan: Any) -> None:
    """Nobody can tell whether fen(12) meant fen or yuan (M-12)."""
    with pytest.raises(TypeError, match=r'fen\("12\.30"\).*Fen\(1230\)'):
        fen(yuan)


@table("amount", [1.0, "1", True, None, Decimal(1), b"1"], ids=repr)
def test_the_class_takes_whole_fen_only(amount: Any) -> None:
    """Yuan can never slip in; the message names both ways (M-12)."""
    with pytest.raises(TypeError, match=r'Fen\(1230\).*fen\("12\.30"\)'):
        Fen(amount)


def test_amounts_add_up_to_amounts() -> None:
    """Fen ± Fen is Fen, so is a sum, and so is a difference to an int (M-12)."""
    for made in (
        Fen(3) + Fen(4),
        Fen(3) + 4,
        3 + Fen(4),
        sum([Fen(3), Fen(4)]),
        Fen(9) - Fen(2),
        9 - Fen(2),
        -Fen(-7),
    ):
        assert made == 7
        assert type(made) is Fen


@table("other", [1.0, True, "1", Decimal(1), None], ids=repr)
def test_an_amount_and_something_else_do_not_add_up(other: Any) -> None:
    """A float would bring its error along (M-12)."""
    for act in (operator.add, operator.sub):
        with pytest.raises(TypeError):
            act(Fen(1), other)


def test_an_amount_is_an_int_in_every_other_way() -> None:
    """Equal, hashable, comparable, JSON, format: no surprise in a database or a template."""
    amount = Fen(1230)
    assert (amount, hash(amount), f"{amount:,}") == (1230, hash(1230), "1,230")
    assert json.dumps({"a": amount}) == '{"a": 1230}'
    assert repr(amount) == "Fen(1230)"
    assert str(amount) == f"{amount}" == "1230"
    assert max(Fen(1), Fen(2)) is not None
    assert amount.yuan == Decimal("12.30")


def test_an_amount_survives_pickling_and_copying() -> None:
    """Through a task queue it is still an amount."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(Fen(1230), protocol))  # noqa: S301 - our own bytes
        assert (back, type(back)) == (1230, Fen)
    for back in (copy.copy(Fen(1230)), copy.deepcopy(Fen(1230))):
        assert (back, type(back)) == (1230, Fen)


@table(("text", "amount"), [("0", 0), ("004", 4), ("9" * 15, 10**15 - 1)])
def test_a_received_amount_is_ascii_digits_and_may_be_nothing(text: str, amount: int) -> None:
    """`[0-9]{1,15}`, 0 too: a coupon may pay for everything (M-12, C 46)."""
    assert received_fen(text) == Fen(amount)
    assert type(received_fen(text)) is Fen


@table("text", ["", "-1", "+1", "1.0", " 1", "1\n", "１", "1e3", "1_0", "9" * 16])
def test_other_texts_are_no_received_amount(text: str) -> None:
    """int() would read most of them (M-12)."""
    with pytest.raises(ValueError, match="fen"):
        received_fen(text)


# ------------------------------------------------------------------------------------------- times


@table("text", ["20190524111133", "2019-05-24 11:11:33"])
def test_both_printed_formats_are_gmt8(text: str) -> None:
    """The table's and the example's; aware, eight hours before UTC (C 99)."""
    moment = parse_time(text)
    assert moment == datetime(2019, 5, 24, 3, 11, 33, tzinfo=UTC)
    assert moment is not None
    assert moment.utcoffset() == timedelta(hours=8)


@table(
    "text",
    [
        "",
        "0",
        "20190524",
        "2019052411113",
        "201905241111330",
        "2019-05-24T11:11:33",
        "2019-05-24 11:11:3",
        "2019/05/24 11:11:33",
        "20190230000000",
        "20190524240000",
        "20190524116000",
        "20190524111160",
        "00000101000000",
        "２０１９０５２４１１１１３３",
        "2019052411113x",
        " 0190524111133",
        "-0190524111133",
        "2019W011000000",
    ],
)
def test_another_format_gives_no_time_instead_of_an_error(text: str) -> None:
    """None; the text stays in `raw` (C 99)."""
    assert parse_time(text) is None


@given(st.datetimes(datetime(1000, 1, 1), datetime(9998, 1, 1), timezones=st.timezones()))  # noqa: DTZ001
def test_a_time_survives_the_round_trip_whatever_zone_it_was_in(moment: datetime) -> None:
    """Sent with a fixed +08:00, never the machine's own zone (C 68)."""
    back = parse_time(format_time(moment))
    assert back is not None
    assert back == moment.astimezone(UTC).replace(microsecond=0)


def test_a_naive_time_is_refused() -> None:
    """Whoever's noon it is (C 68)."""
    with pytest.raises(ValueError, match="time zone"):
        format_time(datetime(2019, 5, 24, 12))  # noqa: DTZ001 - the mistake in question


def test_the_zone_is_a_fixed_offset() -> None:
    """No zone data base, no summer time of 1940 (C 68)."""
    assert isinstance(GMT8, timezone)
    assert datetime(1986, 7, 1, tzinfo=GMT8).utcoffset() == timedelta(hours=8)


# ------------------------------------------------------------------------------------------ models

RESULTS = tuple(cls.result_type for cls in CLASSES.values())
MODELS: tuple[type[Any], ...] = (
    *CLASSES.values(),
    *RESULTS,
    *NOTIFICATIONS.values(),
    *STRUCTURES.values(),
    PaidOrder,
)
CANARY = "canary4711"


def _filled(model: type[Any]) -> Any:
    """A received model whose personal fields all hold the canary."""
    texts = {
        name: CANARY if name in SECRET else "5"
        for name in wire_names(model)
        if "list" not in name and name not in ("promotion_detail", "goods_detail")
    }
    if issubclass(model, Notification):
        return model(raw=texts)
    texts |= {"refund_list": "[]"} if "refund_list" in wire_names(model) else {}
    return structure(texts, model)


@table("model", MODELS, ids=lambda model: model.__name__)
def test_models_are_frozen_slotted_and_keyword_only(model: type[Any]) -> None:
    """One shape for all of them; field names are the document's own."""
    with pytest.raises(TypeError):
        model("positional")
    assert not hasattr(object.__new__(model), "__dict__")
    assert issubclass(model, Model)


@table("model", [*RESULTS, *NOTIFICATIONS.values()], ids=lambda model: model.__name__)
def test_a_received_model_hides_what_is_personal(model: type[Any]) -> None:
    """No buyer id, payment code or session key in a repr, nor in a pickle (M-27, C 78)."""
    made = _filled(model)
    secret = SECRET & set(wire_names(model))
    assert CANARY not in repr(made)
    assert repr(made).count("***") == len(secret)
    assert copy.copy(made) is made
    assert copy.deepcopy(made) is made
    if secret:
        with pytest.raises(TypeError, match="M-27"):
            pickle.dumps(made)
    else:
        assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - our own bytes


@table("request_", FULL_REQUESTS, ids=lambda request: request.endpoint.name)
def test_a_request_hides_what_is_personal(request_: Any) -> None:
    """Payment code, openid, mobile, password and the like (M-27, C 79)."""
    secret = {name for name in SECRET & request_.names if getattr(request_, name)}
    shown = repr(request_)
    assert shown.count("***") == len(secret)
    for name in secret:
        assert getattr(request_, name) not in shown
    if secret:
        with pytest.raises(TypeError, match="M-27"):
            pickle.dumps(request_)
    else:
        assert pickle.loads(pickle.dumps(request_)) == request_  # noqa: S301 - our own bytes


def test_raw_is_in_no_repr_and_no_pickle() -> None:
    """A notification's and a paid order's raw fields hold buyer ids (M-27)."""
    fields = signed(notification(buyer_user_id=CANARY, buyer_logon_id=CANARY, unknown=CANARY))
    read_by = parse_notification(form(fields), CREDENTIALS)
    assert CANARY not in repr(read_by)
    with pytest.raises(TypeError):
        pickle.dumps(read_by)
    order = PaidOrder(
        mch_id="1", out_trade_no="A1", source=PaidSource.QUERY, raw={"openid": CANARY}
    )
    assert CANARY not in repr(order)
    assert CANARY.encode() not in pickle.dumps(order)


def test_raw_cannot_be_changed() -> None:
    """What was verified is what everybody sees."""
    read_by = parse_notification(form(signed(notification())), CREDENTIALS)
    with pytest.raises(TypeError):
        read_by.raw["total_fee"] = "2"  # type: ignore[index]


def test_an_empty_model_says_only_its_name() -> None:
    """What is absent is not shown."""
    assert repr(Promotion()) == "Promotion()"
    assert repr(RefundItem(serial_no="0")) == "RefundItem(serial_no='0')"
    assert repr(FundBill(amount=Decimal("0.01"))) == "FundBill(amount=Decimal('0.01'))"


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        *[
            (f"Thu, 05 {name} 2026 08:30:05 GMT", datetime(2026, month, 5, 8, 30, 5, tzinfo=UTC))
            for month, name in enumerate(MONTHS, 1)
        ],
        ("Thu, 05 Mai 2026 08:30:05 GMT", None),
        ("Thu, 05 May 2026 24:00:00 GMT", None),
        ("Thu, 31 Feb 2026 08:30:05 GMT", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", datetime(1970, 1, 1, tzinfo=UTC)),
        ("Thu, 31 Dec 2099 23:59:59 GMT", datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("Thu, 01 Jan 2100 00:00:00 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 GMT", None),
    ],
)
def test_a_date_header_is_read_in_every_month(text: str, moment: datetime | None) -> None:
    """The gateway's own clock; every other form and every odd year says nothing."""
    assert parse_http_date(text) == moment
