from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.sansio.api.details import FundBill, Partner, Promotion, RefundItem
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.meaning import Meaning
from chaoying_async.sansio.wire.forms import MAX_FIELDS, encode_form, parse_form
from chaoying_async.sansio.wire.jsontext import MAX_DEPTH, parse_json, parse_reply
from chaoying_async.sansio.wire.structure import read_text, structure
from tests.pure.factories import (
    CREDENTIALS,
    QUERY,
    form,
    naive_canonical,
    naive_sign,
    notification,
    paid,
    read,
    reply_body,
    signed,
)
from tests.table import table

# ------------------------------------------------------------------------------------------- forms


@table(
    ("wire", "value"),
    [
        ("a+b", "a b"),
        ("a%2Bb", "a+b"),
        ("a%20b", "a b"),
        ("a%2520b", "a%20b"),
        ("YWJj==", "YWJj=="),
        ("YWJj%3D%3d", "YWJj=="),
        ("%26amp%3B", "&amp;"),
        ("a;b", "a;b"),
        ("%f0%9f%92%b0", "💰"),
        ("%e8%b6%85%E8%B5%A2", "超赢"),
        ("超赢", "超赢"),
        ("trailing%20", "trailing "),
        ("trailing+", "trailing "),
        ("trailing ", "trailing "),
        ("%00", "\0"),
        ("a%0D%0Ab%0a", "a\r\nb\n"),
        ("a\r\nb", "a\r\nb"),
        ("%5b%7b%22x%22%3a1%7d%5d", '[{"x":1}]'),
        ("%5B%5D", "[]"),
        ("100%", "100%"),
        ("%zz%4", "%zz%4"),
        ("%%41", "%A"),
        ("=3D=41", "=3D=41"),
        ("_a_", "_a_"),
        ("", ""),
    ],
)
def test_a_value_is_split_first_and_decoded_once(wire: str, value: str) -> None:
    """The corpus of blanks, plus, base64, entities, emoji, CJK, %00, small hex (C 15)."""
    for body in (f"a=1&v={wire}&z=2", f"a=1&v={wire}&z=2".encode()):
        assert parse_form(body) == {"a": "1", "v": value, "z": "2"}


def test_a_form_says_what_urllib_says() -> None:
    """An outsider reads the same body to the same fields (habit 12)."""
    body = "a=1&b=%5b1%2C+2%5d&c=%e8%b6%85&d=&e=x%3Dy=z"
    assert list(parse_form(body).items()) == parse_qsl(body, keep_blank_values=True)


@given(
    st.text(alphabet=st.sampled_from("%0123456789abcdefABCDEF+=_ \r\n\t.?xyzé超\0"), max_size=40)
)
@example("%3")
@example("%0d%0a ")
@example("=\r\n")
@example("a%20\n")
def test_fast_unquoting_is_unquoting(text: str) -> None:
    """The quoted-printable trick equals urllib.parse.unquote_to_bytes on everything."""
    piece = text.replace("&", "")
    expected = unquote_to_bytes(piece.replace("+", " "))
    try:
        wanted = expected.decode()
    except UnicodeDecodeError:
        with pytest.raises(MalformedMessageError):
            parse_form(f"a=1&v={piece}")
    else:
        assert parse_form(f"a=1&v={piece}")["v"] == wanted


plain = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)


@given(st.dictionaries(names, plain, min_size=1, max_size=12))
def test_a_form_comes_back_as_it_went(fields: dict[str, str]) -> None:
    """encode_form and parse_form undo each other, whatever the values hold."""
    text = encode_form(fields.items())
    assert parse_form(text) == fields
    assert parse_form(text.encode()) == fields
    assert text.isascii()
    assert text.count("&") == len(fields) - 1


@given(st.dictionaries(names, plain, min_size=1, max_size=8))
def test_another_programs_form_is_read_alike(fields: dict[str, str]) -> None:
    """urllib's encoding of the same fields, names quoted too, means the same."""
    assert parse_form(form(fields)) == fields


@table(
    "body",
    [
        "<xml><sign>1</sign></xml>",
        '{"a": "b=1"}',
        "[1]=2",
        '--boundary\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--boundary--',
        "success",
        "",
        "%61%3D1",
    ],
)
def test_what_is_no_form_is_refused_before_it_is_parsed(body: str) -> None:
    """XML, JSON, multipart and bodies without `=`: the bytes decide (M-14)."""
    for given_ in (body, body.encode()):
        with pytest.raises(MalformedMessageError, match="is not a form"):
            parse_form(given_)


@table("body", ["a=1&a=1", "a=1&b=2&%61=3", "a=1&a", "a&a=", "a=&a="])
def test_a_name_that_comes_twice_is_refused(body: str) -> None:
    """Also where the values are equal or the name is escaped (C 14)."""
    with pytest.raises(MalformedMessageError, match="twice"):
        parse_form(f"z=0&{body}")


@pytest.mark.parametrize(
    ("name", "told"), [("total_fee", "total_fee comes twice"), ("mine", "a field comes twice")]
)
def test_a_name_of_the_document_that_comes_twice_is_told(name: str, told: str) -> None:
    """Another one is not: a stranger chose it."""
    with pytest.raises(MalformedMessageError) as error:
        parse_form(f"{name}=1&{name}=2")
    assert str(error.value) == told
    with pytest.raises(MalformedMessageError) as error:
        parse_json(f'{{"{name}": "1", "{name}": "2"}}')
    assert str(error.value) == told


def test_blank_pieces_are_nothing_and_a_lone_name_is_empty() -> None:
    """`a=1&&b` is what urllib makes of it; an empty value takes no part in a signature."""
    assert parse_form("a=1&&b&") == {"a": "1", "b": ""}


def test_the_number_of_fields_is_bounded() -> None:
    """A body of separators costs nobody a million fields."""
    fits = "&".join(f"a{i}=1" for i in range(MAX_FIELDS))
    assert len(parse_form(fits)) == MAX_FIELDS
    with pytest.raises(MalformedMessageError, match="fields"):
        parse_form(f"{fits}&b=1")
    with pytest.raises(MalformedMessageError):
        parse_form("=" + "&" * 1_000_000)


@table("body", [b"a=\xff", b"a=%ff", b"\xff=1", b"a=%ed%a0%80", "a=\ud800"])
def test_what_is_not_utf8_is_refused(body: bytes | str) -> None:
    """As bytes, escaped, or as half a surrogate pair in a str."""
    with pytest.raises(MalformedMessageError):
        parse_form(body)


# -------------------------------------------------------------------------------------------- JSON


@table(
    "text",
    [
        "",
        "nope",
        "{",
        '{"a": 1,}',
        '{"a": 1} x',
        "{'a': 1}",
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 01}',
        '{"a": "\n"}',
        '{"a": 1, "a": 1}',
        '{"a": {"b": 1, "b": 2}}',
    ],
)
def test_json_is_strict(text: str) -> None:
    """No trailing commas, no NaN, no name twice on any level (C 14, C 77)."""
    with pytest.raises(MalformedMessageError):
        parse_json(text)


def _nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + "1" + closing * depth


@table(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_the_depth_of_json_is_bounded(opening: str, closing: str) -> None:
    """MAX_DEPTH containers inside each other and not one more."""
    parse_json(_nested(MAX_DEPTH, opening, closing))
    for depth in (MAX_DEPTH + 1, 100, 900, 5_000, 50_000):
        with pytest.raises(MalformedMessageError):
            parse_json(_nested(depth, opening, closing))
        with pytest.raises(MalformedMessageError):
            parse_reply(f'{{"a": {_nested(depth, opening, closing)}}}'.encode())


def test_the_breadth_of_json_does_not_count_as_depth() -> None:
    """Many brackets beside each other are fine, and so are those inside a text."""
    assert len(parse_json(f"[{','.join(['[]'] * 100)}]")) == 100
    assert parse_json(json.dumps(_nested(50))) == _nested(50)


def test_the_number_of_members_is_bounded() -> None:
    """On every level of the message."""
    fits = {f"a{i}": "1" for i in range(MAX_FIELDS)}
    assert parse_json(json.dumps(fits)) == fits
    for value in (fits | {"b": "1"}, {"a": fits | {"b": "1"}}):
        with pytest.raises(MalformedMessageError, match="members"):
            parse_json(json.dumps(value))


@table("number", ["0", "-0", "7200", "1.50", "1e3", "1E+400", "9" * 5000, "-0.10", "0.1e-5"])
def test_a_number_keeps_its_source_text(number: str) -> None:
    """What was signed is the text, however long; no float in between (C 9)."""
    members, texts = parse_reply(f'{{"a": {number}, "b": [{number}]}}'.encode())
    assert members == {"a": number, "b": [number]}
    assert texts == {"a": number, "b": f"[{number}]"}


@table(
    ("member", "text"),
    [
        ("null", ""),
        ("true", "true"),
        ("false", "false"),
        ('"0"', "0"),
        ('" "', " "),
        ('""', ""),
        ("[]", "[]"),
        ("{}", "{}"),
        (
            '{ "b" : 1.0 , "a" : [ null, true, "超\\u8d62\\n" ] }',
            '{"b":1.0,"a":[null,true,"超赢\\n"]}',
        ),
        ('"[1, 2]"', "[1, 2]"),
    ],
)
def test_every_json_value_has_its_signed_text(member: str, text: str) -> None:
    """null is empty, nested values are compact in received order, inner texts as they are.

    C 8, C 9, C 10.
    """
    assert parse_reply(f'{{"a": {member}}}'.encode())[1] == {"a": text}


def test_a_reply_with_numbers_and_nested_values_verifies() -> None:
    """Signed by an outsider over exactly those texts (C 9)."""
    texts = {"a": "7200", "b": "true", "c": '{"x":1.50,"y":["超",null]}', "n": ""}
    status = {"state": "SUCCESS", "code": "10000", "trade_state": "SUCCESS"}
    order = {"out_trade_no": "1497769914931", "base_fee": "4", "total_fee": "4"}
    sign = naive_sign(texts | status | order)
    shown = ", ".join(f'"{name}": "{value}"' for name, value in (status | order).items())
    body = (
        f'{{"a": 7200, "b": true, "c": {{ "x": 1.50, "y": ["\\u8d85", null] }}, "n": null, '
        f'{shown}, "sign": "{sign}"}}'
    )
    reply = read(QUERY, body.encode())
    assert reply.signed
    assert reply.raw["a"] == "7200"


def test_many_nested_members_cost_no_more_than_one_reading() -> None:
    """Time is bounded by the size of the reply, not by its square."""
    row = ",".join(["1"] * 500)
    body = "{" + ",".join(f'"f{i}": [{row}]' for i in range(MAX_FIELDS)) + "}"
    texts = parse_reply(body.encode())[1]  # 0.3 s; reading it again for every member took 60
    assert texts["f7"] == f"[{row}]"


@table("body", [b"[]", b'"a"', b"7", b"null", b"\xff{}", b"\x00", b"<html></html>"])
def test_what_is_no_json_object_is_no_reply(body: bytes) -> None:
    """Whatever the Content-Type says (C 107)."""
    with pytest.raises(MalformedMessageError):
        parse_reply(body)


def test_a_byte_order_mark_is_no_part_of_a_reply() -> None:
    """Some servers put one first; it is not signed (C 107)."""
    assert parse_reply(b'\xef\xbb\xbf{"a": "1"}') == ({"a": "1"}, {"a": "1"})


# ------------------------------------------------------------------------------------- JSON inside


ENTRY = {"out_refund_no": "TK1", "refund_status": "SUCCESS", "refund_time": "2019-05-24 11:11:33"}


@table(
    "text",
    [
        "nonsense",
        "{",
        "7",
        '"text"',
        "null",
        "[1]",
        '["goods_id"]',
        "[null]",
        "[[]]",
        '[{"a": NaN}]',
        _nested(50),
        '{"a": [], "b": []}',
    ],
)
@table("model", [Promotion, FundBill, Partner, RefundItem])
def test_unreadable_inner_json_is_none(text: str, model: type[Any]) -> None:
    """It must not hide a paid order; the text stays in `raw` (C 100)."""
    hint: Any = tuple[model, ...]  # type: ignore[valid-type]
    assert read_text(text, hint | None) is None


def test_an_unreadable_promotion_does_not_hide_a_paid_order() -> None:
    """The result is there, the promotion is None, its text is in `raw` (C 100)."""
    reply = read(QUERY, reply_body(paid(promotion_detail="{broken", coupon_fee="x")))
    assert reply.meaning is Meaning.RESULT
    assert reply.unwrap().promotion_detail is None
    assert reply.unwrap().coupon_fee is None
    assert reply.raw["promotion_detail"] == "{broken"


def test_a_wrapped_and_a_bare_promotion_list_mean_the_same() -> None:
    """The document wraps promotion_detail in an object of the same name (C 101)."""
    rows = [{"promotion_id": "1", "amount": 2, "goods_detail": [{"goods_id": "a", "price": 3}]}]
    wrapped, bare = json.dumps({"promotion_detail": rows}), json.dumps(rows)
    found = read_text(bare, tuple[Promotion, ...] | None)
    assert found == read_text(wrapped, tuple[Promotion, ...] | None)
    assert found is not None
    assert found[0].amount == 2
    assert found[0].goods_detail is not None
    assert found[0].goods_detail[0].price == 3


def test_a_real_list_in_place_of_the_string_is_accepted() -> None:
    """Signed as its compact JSON text, read all the same (C 9, C 100)."""
    from chaoying_async import RefundQuery
    from chaoying_async.sansio.exchange import build_request, read_reply

    status = {"state": "SUCCESS", "trade_state": "SUCCESS"}
    compact = json.dumps([ENTRY], separators=(",", ":"))
    sign = naive_sign(status | {"refund_list": compact})
    body = json.dumps(status | {"refund_list": [ENTRY], "sign": sign}).encode()
    request = RefundQuery(paytype=PayType.WECHAT, mch_id="1", out_refund_no="TK1")
    reply = read_reply(build_request(request, CREDENTIALS), 200, body, CREDENTIALS, now=None)
    (item,) = reply.unwrap().refund_list
    assert item.out_refund_no == "TK1"
    assert item.refund_time is not None


def test_the_inner_text_is_signed_exactly_as_received() -> None:
    """Blanks, escapes and key order of the inner JSON are the sender's (C 10)."""
    odd = '[ {"fundChannel" : "ALIPAYACCOUNT",\t"amount":"0.01"} ]'
    fields = signed(notification(fund_bill_list=odd, buyer_user_id="2088"))
    assert odd in naive_canonical(fields)
    from chaoying_async.sansio.notifications.message import AlipayNotification, parse_notification

    read_by = parse_notification(form(fields), CREDENTIALS)
    assert isinstance(read_by, AlipayNotification)
    assert read_by.fund_bill_list is not None
    assert str(read_by.fund_bill_list[0].amount) == "0.01"


def test_members_of_other_types_are_none_and_not_guessed() -> None:
    """A list where a text belongs, a text where an amount belongs: None each (C 100)."""
    wrong: Mapping[str, Any] = {"name": ["x"], "amount": "1.5", "scope": {}, "goods_detail": "x"}
    (item,) = read_text(json.dumps([wrong]), tuple[Promotion, ...] | None)
    assert (item.name, item.amount, item.scope, item.goods_detail) == (None, None, None, None)


def test_a_name_that_comes_twice_is_named_if_the_document_has_it() -> None:
    """And no other name: a stranger's may be anything (M-27)."""
    for body, says in (
        ("pid=1&mch_id=1&mch_id=2", "mch_id comes twice"),
        ("pid=1&zz=1&zz=2", "a field comes twice"),
    ):
        with pytest.raises(MalformedMessageError, match=f"^{says}"):
            parse_form(body)


def test_equals_signs_and_escapes_stand_beside_each_other() -> None:
    """In one value; ``=41`` is no escape here."""
    assert parse_form("a=x%20y=41&b=%3D41&c=1%") == {"a": "x y=41", "b": "=41", "c": "1%"}


def test_a_reply_of_exactly_the_limit_is_read() -> None:
    """M-10: one byte more is not."""
    assert parse_reply(b'{"a":""}', 8) == ({"a": ""}, {"a": ""})
    with pytest.raises(MalformedMessageError, match="more than 7 bytes"):
        parse_reply(b'{"a":""}', 7)


def test_what_is_no_text_is_left_out_of_a_nested_item() -> None:
    """A number is one as it came; a list, an object or a truth value says nothing."""
    odd: Any = {"out_refund_no": True, "refund_id": ["x"], "serial_no": "7"}
    odd["refund_channel"] = True
    item = structure(odd, RefundItem)
    assert (item.out_refund_no, item.refund_id, item.serial_no) == (None, None, "7")
    assert item.refund_channel is None
