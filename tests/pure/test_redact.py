"""Redaction has one set of names and one place, and every face that shows a message uses it."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, unquote_plus

import pytest

import chaoying_async
from chaoying_async import Credentials
from chaoying_async.sansio.doctor import diagnose
from chaoying_async.sansio.fieldnames import SECRET
from chaoying_async.sansio.redact import (
    HIDDEN,
    MASK,
    hide,
    is_hidden,
    masked_body,
    masked_fields,
    masked_form,
    masked_message,
    masked_text,
    shown_urls,
    without_personal,
)
from tests.table import table

PRODUCT = Path(chaoying_async.__file__).parent
KEY = "9d101c97133837e13dde2d32a5054abb"
VALUE = "Wang 王/7&x"
CREDENTIALS = Credentials(agent_id="13000000000000000", key=KEY, pid="test")


def _json(name: str, depth: int) -> str:
    text = json.dumps({name: VALUE}, ensure_ascii=False)
    for level in range(depth):
        text = json.dumps({"attach": text}, ensure_ascii=bool(level % 2))
    return text


FORMS: dict[str, Callable[[str], str]] = {
    "mapping": lambda name: str(masked_fields({name: VALUE}, {})),
    "mapping in a mapping": lambda name: str(masked_fields({"raw": [{name: VALUE}]}, {})),
    "mapping that quotes the request": lambda name: str(
        masked_fields({"msg": f"no {VALUE}"}, {name: VALUE})
    ),
    "form": lambda name: masked_form({name: VALUE}).decode(),
    **{
        f"JSON, {depth} deep": lambda name, depth=depth: masked_body(  # type: ignore[misc]
            _json(name, depth).encode(), {}
        ).decode()
        for depth in range(4)
    },
    "half a JSON": lambda name: masked_body(_json(name, 0).encode()[:-1], {}).decode(),
    "XML": lambda name: masked_body(f"<xml><{name}>{VALUE}</{name}></xml>".encode(), {}).decode(),
    "XML in a mapping": lambda name: str(
        masked_fields({"msg": f"<{name}><![CDATA[{VALUE}]]></{name}>"}, {})
    ),
    "XML in a page": lambda name: masked_text(f"&lt;{name}&gt;\n {VALUE}", (), ()),
    "body that quotes the request": lambda name: masked_body(
        VALUE.encode(), {name: VALUE}
    ).decode(),
    "message": lambda name: masked_message(f"参数错误 {name}={VALUE}", {}, {}),
    "message of JSON": lambda name: masked_message(_json(name, 1), {}, {}),
    "message that quotes the request": lambda name: masked_message(
        f"no {VALUE}", {name: VALUE}, {}
    ),
    "message that quotes the reply": lambda name: masked_message(f"no {VALUE}", {}, {name: VALUE}),
    "text": lambda name: masked_text(f"{name}={VALUE}", [(name, VALUE)], [KEY]),
    "verdict": lambda name: repr(diagnose({name: VALUE, "mch_id": "1"}, CREDENTIALS)),
}


@table(
    ("form", "name"),
    # The sign itself is what a verdict is about.
    [each for each in product(FORMS, sorted(HIDDEN)) if each != ("verdict", "sign")],
)
def test_every_form_hides_every_name(form: str, name: str) -> None:
    """M-27: the same names, whatever a message looks like and whoever shows it."""
    shown = FORMS[form](name)
    assert "Wang" not in shown
    assert "王/7" not in shown


def test_xml_keeps_what_is_not_hidden() -> None:
    """Its tags, its other elements, and what stands behind a hidden one."""
    body = b"<xml>\n <openid>Wang</openid>\n <fee>1</fee>\n <sign></sign> x</xml>"
    assert masked_body(body, {}) == body.replace(b"Wang", b"***")


@pytest.mark.parametrize(
    "name",
    [
        "Sign",
        "OPENID",
        "buyer openid",
        "amp;key",
        "ＯＰＥＮＩＤ",
        "ｓｕｂ＿ｏｐｅｎｉｄ",
        "的ｋｅｙ",
    ],
)
def test_a_name_is_hidden_in_any_spelling(name: str) -> None:
    """Other cases and widths, and odd names with a hidden one in them."""
    assert is_hidden(name)
    assert masked_fields({name: VALUE}, {}) == {name: MASK}


def wide(name: str) -> str:
    """As an input method for Chinese writes it."""
    return "".join(chr(ord(letter) + 0xFEE0) for letter in name)


@table(
    ("form", "name"),
    [each for each in product(FORMS, sorted(HIDDEN)) if each != ("verdict", "sign")],
)
def test_every_form_hides_every_name_in_full_width_letters(form: str, name: str) -> None:
    """M-27: ＯＰＥＮＩＤ is openid to whoever reads it."""
    for spelt in (wide(name), wide(name.upper())):
        shown = FORMS[form](spelt)
        assert "Wang" not in shown
        assert "王/7" not in shown


@pytest.mark.parametrize("text", ["ｏｐｅｎｉｄ＝{}&ａ=1", "说：Ｏｐｅｎid={}&ａ=1", "openid＝{}"])
def test_a_text_stays_as_it_is_around_what_is_hidden(text: str) -> None:
    """Other full-width letters are not rewritten, so that a value of the request is still found."""
    assert masked_body(text.format("Wang").encode(), {}).decode() == text.format(MASK)
    assert masked_text(text.format("Wang"), [], [KEY]) == text.format(MASK)
    packed = json.dumps({"msg": text.format("Wang")}).encode()
    assert json.loads(masked_body(packed, {}))["msg"] == text.format(MASK)


def test_what_is_kept_has_nothing_personal_and_its_sign() -> None:
    """The fingerprint of a stored message is made of it, so the sign stays (M-17, M-27)."""
    raw = {**dict.fromkeys(SECRET, VALUE), "sign": "AB", "attach": f"openid={VALUE}"}
    assert without_personal(raw) == {"sign": "AB", "attach": f"openid={MASK}&x"}


def test_secrets_are_found_however_they_are_written() -> None:
    """As they are, in other cases, percent-encoded, and as JSON writes them."""
    spelt = [VALUE, VALUE.upper(), "Wang+%E7%8E%8B%2F7%26x", "Wang%20%e7%8e%8b%2f7%26x"]
    spelt += [
        json.dumps(VALUE)[1:-1],
        json.dumps(VALUE, ensure_ascii=False).replace("/", "\\/")[1:-1],
    ]
    assert [hide(text, [VALUE]) for text in spelt] == [MASK] * len(spelt)
    assert hide("12 and 1234", ["12"]) == "12 and 1234"


def test_addresses_in_texts_lose_what_opens_a_door() -> None:
    """User, password, query and fragment, wherever an address stands."""
    assert shown_urls("notify https://u:p@shop.example/n?token=1#x end") == (
        "notify https://shop.example/n end"
    )


#: Who knows the names beside ``redact``: what seals the fields of models, and reads by these names.
SEALING = {"sansio/model.py", "sansio/sealed.py", "sansio/notifications/message.py"}


def test_nobody_else_has_a_set_of_names() -> None:
    """Whatever shows or logs a message takes ``redact``; a second set would drift from it."""
    knows = {
        path.relative_to(PRODUCT).as_posix()
        for path in PRODUCT.rglob("*.py")
        if "SECRET" in (text := path.read_text("utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and "SECRET" in {alias.name for alias in node.names}
    }
    assert knows == SEALING | {"sansio/redact.py"}


def test_what_is_not_hidden_stays_as_it_is() -> None:
    """A mask over everything would help nobody who reads a log."""
    fields = {"out_trade_no": "A1", "attach": "table 7", "total_fee": "1", "openid": ""}
    assert masked_fields(fields, {}) == fields


@pytest.mark.parametrize("packed", ["{}", "[{}]", '"{}"'])
def test_json_in_a_value_is_masked_however_its_names_are_written(packed: str) -> None:
    """M-27: an object, a list or a text of JSON, with an escape in the name."""
    member = r'{"\u006fpenid":"o1 2"}'
    inner = json.dumps(member)[1:-1] if packed.startswith('"') else member
    value = packed.replace("{}", inner)
    assert "o1 2" not in masked_body(json.dumps({"attach": value}).encode(), {}).decode()


BUYER = "张三丰 77"


@table(
    "reply",
    [
        {"openid": BUYER, "msg": f"付款人{BUYER}不存在"},
        {"data": {"list": [{"OpenId": BUYER}]}, "attach": BUYER.upper()},
        {"attach": json.dumps({"openid": [BUYER]}), "msg": quote_plus(BUYER)},
        {"mobile": {"name": BUYER}, "detail": [{"memo": f"for {BUYER}"}]},
    ],
)
def test_what_a_reply_says_of_a_person_is_masked_wherever_it_repeats_it(reply: Any) -> None:
    """M-27: without a name in front of it, and however the reply writes it."""
    for escaped in (True, False):
        body = json.dumps(reply, ensure_ascii=escaped).encode()
        shown = masked_body(body, {}).decode()
        fields = json.dumps(masked_fields(reply, {}), ensure_ascii=False)
        for text in (shown, unquote_plus(shown), fields, unquote_plus(fields)):
            assert "张三丰" not in text
            assert "77" not in text
        assert json.loads(shown).keys() == reply.keys()


def test_of_a_crowd_the_first_hundred_are_looked_for() -> None:
    """Each costs a walk through the reply; the members of all of them are hidden."""
    people = [f"o{number:06}" for number in range(101)]
    crowd = json.dumps({"list": [{"openid": each} for each in people], "msg": " ".join(people)})
    shown = json.loads(masked_body(crowd.encode(), {}))
    assert shown["list"] == [{"openid": MASK}] * 101
    assert shown["msg"] == " ".join([MASK] * 100 + [people[-1]])


def test_a_person_named_like_json_costs_that_field_alone() -> None:
    """M-27: a mapping that could not be read any more is masked as a whole."""
    assert masked_fields({"openid": '":"c', "a": {"b": "c"}, "d": "e"}, {}) == {
        "openid": MASK,
        "a": MASK,
        "d": "e",
    }


def test_a_secret_of_four_characters_is_searched_for() -> None:
    """M-27: and no shorter one, or every "12" would be blotted out."""
    assert hide("a 1234 b 123", ["1234", "123"]) == "a *** b 123"
