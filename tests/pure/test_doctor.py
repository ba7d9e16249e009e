from __future__ import annotations

import hashlib
import json
import traceback
from datetime import UTC, datetime, timedelta
from string import Formatter
from typing import Any, get_args
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chaoying_async
from chaoying_async.exceptions import (
    AmbiguousSignatureError,
    ChaoyingError,
    MalformedMessageError,
    ParameterError,
    SignatureVerificationError,
)
from chaoying_async.sansio import signing
from chaoying_async.sansio.credentials import Credentials, PreviousKey, SignAlgorithm, SortOrder
from chaoying_async.sansio.doctor import KINDS, Side, describe, diagnose, explain, search
from chaoying_async.sansio.doctor.explain import Language, words
from chaoying_async.sansio.doctor.key_mistakes import JOINS
from chaoying_async.sansio.doctor.lenient_reader import MAX_BYTES, read_message
from chaoying_async.sansio.wire.forms import encode_form, parse_form
from chaoying_async.sansio.wire.jsontext import parse_reply

KEY = "4aC9e1d27bF0835a6E4c1b9d0f7A2e63"
OLD = "00c9e1d27bf0835a6e4c1b9d0f7a2eff"
NOW = datetime(2022, 3, 1, tzinfo=UTC)
OWNER = Credentials(
    "1000", KEY, "CySoft", "2.1", previous_keys=(PreviousKey(OLD, NOW + timedelta(days=1)),)
)
FIELDS = {"body": "你好 tea", "mch_id": "9", "total_fee": "100"}

names = st.sampled_from(["body", "mch_id", "total_fee", "FullName", "a1", "a_b", "openid"])
plain_fields = st.dictionaries(names, st.text(st.characters(exclude_categories=["Cs"])), min_size=1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3),
)
bodies = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60),
    st.lists(st.sampled_from([*b'a=&%+2{}":,sign\xff\xef\xbb\xbf[]']), max_size=40).map(bytes),
    st.dictionaries(names, json_values).map(json.dumps),
    st.dictionaries(names, json_values).map(lambda members: json.dumps(members).encode()),
    plain_fields,
)
signs = st.one_of(st.none(), st.text(max_size=34), st.from_regex("[0-9A-F]{32}", fullmatch=True))


def form(fields: dict[str, str], sign: str) -> bytes:
    return urlencode({**fields, "sign": sign}).encode()


@given(bodies, signs)
def test_any_message_gets_a_verdict_or_one_of_our_errors(body: Any, sign: str | None) -> None:
    """Whatever the bytes and the sign are, nothing foreign is raised and both languages render."""
    try:
        verdict = diagnose(body, OWNER, sign=sign)
    except ChaoyingError:
        return

    assert all(KEY not in explain(verdict, lang) for lang in get_args(Language))


@given(plain_fields, st.sampled_from(["", "{}", "x{}y", "&{}="]), st.sampled_from([KEY, OLD]))
def test_the_key_shows_nowhere_even_when_the_message_holds_it(
    fields: dict[str, str], around: str, key: str
) -> None:
    """Not in the verdict's repr nor in its text, raw or encoded, current or previous (M-27)."""
    fields = {**fields, "attach": around.format(key), f"x{key}": "1", "b": quote_plus(key)}
    verdict = diagnose({**fields, "sign": "A" * 32}, OWNER)

    for text in (repr(verdict), explain(verdict, "en"), explain(verdict, "zh")):
        assert key not in text


def test_an_unreadable_message_leaves_no_key_in_the_traceback() -> None:
    """The error is the kind that is logged with its locals, and so is the one for a bad key."""
    with pytest.raises(MalformedMessageError) as caught:
        diagnose(b"<xml>", KEY)

    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [frame for frame in shown.stack if "chaoying_async" in frame.filename]
    assert ours
    assert all(KEY not in str(frame.locals) for frame in ours)


@given(
    plain_fields,
    st.sampled_from(SignAlgorithm),
    st.sampled_from(SortOrder),
    st.sampled_from([KEY, OLD, "other"]),
    st.booleans(),
)
def test_right_means_what_verify_accepts(
    fields: dict[str, str], algorithm: SignAlgorithm, order: SortOrder, key: str, lower: bool
) -> None:
    """The doctor and the library never disagree about a sign; ambiguity is a warning here."""
    text = "&".join(f"{name}={fields[name]}" for name in _sorted(fields, order) if fields[name])
    sign = signing._DIGESTS[algorithm](text, key)
    message = {**fields, "sign": sign if lower else sign.upper()}
    owner = Credentials("1", KEY, "p", algorithm=algorithm, previous_keys=OWNER.previous_keys)

    verdict = diagnose(message, owner, now=NOW)

    assert verdict.right is _verified(message, owner)


def _sorted(fields: dict[str, str], order: SortOrder) -> list[str]:
    return sorted(sorted(fields), key=str.lower if order is SortOrder.IGNORE_CASE else None)


def _verified(message: dict[str, str], owner: Credentials) -> bool:
    try:
        signing.verify_for(owner, message, NOW)
    except AmbiguousSignatureError:
        return True
    except SignatureVerificationError:
        return False
    return True


@given(bodies)
def test_what_the_codec_reads_is_read_alike(body: Any) -> None:
    """The doctor's lenient reading finds the codec's fields wherever the codec finds any."""
    if not isinstance(body, bytes):
        return
    read = parse_reply if body.startswith(b"{") else lambda data: (None, parse_form(data))
    try:
        fields = read(body)[1]
    except ChaoyingError:
        return

    try:
        found = read_message(body)
    except MalformedMessageError:  # a BOM or a blank before JSON: no form to the doctor
        assert body.lstrip(b"\xef\xbb\xbf \t\r\n\x0b\x0c").startswith(b"{")
        return
    if not found.wire or found.wire == body.decode():
        assert dict(found.pairs) == fields


@pytest.mark.parametrize(
    "message",
    [
        encode_form({**FIELDS, "sign": signing.sign(FIELDS, KEY)}.items()),
        encode_form({**FIELDS, "sign": signing.sign(FIELDS, KEY)}.items()).encode(),
        "https://qrpay.storepos.cn/x?" + form(FIELDS, signing.sign(FIELDS, KEY)).decode() + "#top",
        "?" + form(FIELDS, signing.sign(FIELDS, KEY)).decode(),
        json.dumps({**FIELDS, "sign": signing.sign(FIELDS, KEY)}),
        b"\xef\xbb\xbf" + json.dumps({**FIELDS, "sign": signing.sign(FIELDS, KEY)}).encode(),
        {**FIELDS, "sign": signing.sign(FIELDS, KEY)},
    ],
)
@pytest.mark.parametrize("key", [KEY, OWNER])
def test_a_message_is_taken_in_any_shape(message: Any, key: Any) -> None:
    """Bytes, text, a link, JSON or decoded fields; a key alone or credentials: right is right."""
    verdict = diagnose(message, key)

    assert verdict.right
    assert verdict.findings == ()
    assert verdict.canonical == verdict.signed == "body=你好 tea&mch_id=9&total_fee=100"
    assert explain(verdict).startswith("The signature is right.")
    assert explain(verdict, "zh").startswith("签名正确。")


def test_the_sign_of_the_other_side_can_be_given_beside_the_message() -> None:
    """What support computed for our message is explained as theirs, whatever sign we had sent."""
    message = form({"body": "100%25"}, signing.sign({"body": "100%25"}, KEY))
    theirs = signing.sign({"body": "100%"}, KEY)

    assert diagnose(message, KEY).right
    (finding,) = diagnose(message, KEY, sign=theirs).findings
    assert (finding.mistake, finding.side) == ("double-decoded", Side.SIGNER)


def test_the_fields_that_a_mistake_touches_are_named() -> None:
    """A long message is easier to repair when the two fields that matter are pointed at."""
    fields = {**FIELDS, "attach": " x ", "pid": "A"}
    verdict = diagnose(form(fields, signing.sign({**fields, "attach": "x"}, KEY)), KEY)

    assert verdict.findings[0].fields == ("attach",)
    assert "fields: attach" in explain(verdict)
    assert "相关字段：attach" in explain(verdict, "zh")
    assert verdict.signed == "attach=x&body=你好 tea&mch_id=9&pid=A&total_fee=100"
    assert verdict.canonical == "attach= x &body=你好 tea&mch_id=9&pid=A&total_fee=100"


def test_other_mistakes_with_the_same_sign_are_told() -> None:
    """Where the sign cannot tell two mistakes apart, the likelier is named and the other added."""
    verdict = diagnose(form({"attach": "0", "pid": "A"}, signing.sign({"pid": "A"}, KEY)), KEY)

    assert verdict.findings[0].mistake == "zero-dropped"
    assert "field-left-out" in verdict.findings[0].also
    assert "field-left-out" in explain(verdict)
    assert "zero-dropped" not in verdict.findings[0].also


def test_the_sign_itself_is_none_of_the_fields() -> None:
    """Nobody signs the sign: blanks around it are told of, but not as a field's."""
    sign = signing.sign({"attach": "x", "pid": "A"}, KEY)
    findings = diagnose(form({"attach": " x ", "pid": "A"}, f" {sign} "), KEY).findings

    assert [(each.mistake, each.fields) for each in findings] == [
        ("values-trimmed", ("attach",)),
        ("sign-unclean", ()),
    ]


@pytest.mark.parametrize("lost", [1, 4])
def test_a_sign_is_known_while_at_most_four_characters_are_lost(lost: int) -> None:
    """Or came to it; after more of them it could be anybody's."""
    sign = signing.sign(FIELDS, KEY)
    for damaged in (sign[lost:], sign[:9] + sign[9 + lost :], sign + "0" * lost):
        (finding,) = diagnose({**FIELDS, "sign": damaged}, KEY).findings
        assert finding.mistake == "sign-damaged"
    for strange in (sign[5:], sign + "0" * 5):
        (finding,) = diagnose({**FIELDS, "sign": strange}, KEY).findings
        assert finding.mistake == "sign-shape"


def test_what_cannot_be_explained_is_said_to_be_so() -> None:
    """Another key cannot be named; length and fingerprint let the two sides compare theirs."""
    verdict = diagnose({**FIELDS, "sign": signing.sign(FIELDS, "another key")}, KEY)

    assert verdict.unexplained
    assert not verdict.right
    assert verdict.signed is None
    assert verdict.key_length == 32
    assert verdict.key_fingerprint == hashlib.sha256(KEY.encode()).hexdigest()[:6]
    assert f"32 characters, SHA-256 begins with {verdict.key_fingerprint}" in explain(verdict)
    assert "another key" in verdict.findings[0].what_happened


SECRETS = {
    "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    "auth_code": "134567890123456789",
    "mobile": "13800138000",
    "valid": "7&3",
    "OpenID": "oUpF8uMuAJO",
}


@pytest.mark.parametrize("how", ["right", "encoded", "json", "values", "wire", "entity"])
def test_personal_values_and_signs_are_masked_wherever_they_are_shown(how: str) -> None:
    """In their own field, inside another value, percent-encoded or after a cut gone wrong."""
    inner = json.dumps({"openid": "oXYZ1234567", "n": 1})
    fields = {**SECRETS, "goods_detail": inner, "attach": "see oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields))
    signed = {
        "right": text,
        "encoded": quote_plus(text),
        "json": json.dumps({name: fields[name] for name in sorted(fields)}, separators=(",", ":")),
        "values": "".join(fields[name] for name in sorted(fields)),
        "wire": urlencode(fields),
        "entity": text,
    }[how]
    sign = hashlib.md5(f"{signed}&key={KEY}".encode()).hexdigest().upper()
    body = form(fields, sign)
    verdict = diagnose(body.replace(b"&mobile", b"&amp;mobile") if how == "entity" else body, OWNER)

    assert verdict.signed is not None
    for shown in (repr(verdict), explain(verdict)):
        for secret in (*SECRETS.values(), "oXYZ1234567", sign, quote_plus("7&3")):
            assert secret not in shown


def _blanks(text: str) -> set[str | None]:
    return {field for _, field, _, _ in Formatter().parse(text) if field}


def test_both_languages_have_words_for_every_kind() -> None:
    """No kind is without what happened and what to do, in English and in Chinese."""
    english, chinese = words("en"), words("zh")
    assert set(english["mistakes"]) == set(chinese["mistakes"]) == set(KINDS)
    assert set(english["frame"]) == set(chinese["frame"])
    for name, text in english["frame"].items():
        assert _blanks(text) == _blanks(chinese["frame"][name]), name
    for lang in get_args(Language):
        assert all(all(describe(kind, lang)) for kind in KINDS)
    assert all(describe(kind)[0] != describe(kind, "zh")[0] for kind in KINDS)


@pytest.mark.parametrize(
    "message",
    [
        b"", "", "no form", b"<xml/>", "[1]", b"{", b'{"a":', "\ud800=1", {"a": "\ud800"},
        b"a=" + b"x" * MAX_BYTES, {"a": "x" * MAX_BYTES}, "&".join(f"a{n}=1" for n in range(201)),
        b'{"a":"1","a":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"a":"1","a":' + b"[" * 700 + b"]" * 700 + b"}",
    ],
    ids=range(14),
)  # fmt: skip
def test_what_no_reading_can_save_is_malformed(message: Any) -> None:
    """XML, half a JSON text, half a surrogate pair, too long, too many: our error, at once."""
    with pytest.raises(MalformedMessageError) as caught:
        diagnose(message, KEY, sign="A" * 32)

    assert caught.value.__context__ is None


@pytest.mark.parametrize("key", ["", None, 5, b"bytes", "\ud800"])
def test_a_key_must_be_text(key: Any) -> None:
    """An empty or impossible key is a mistake of the call, not of the message."""
    with pytest.raises(ParameterError, match="key"):
        diagnose(FIELDS, key, sign="A" * 32)


def test_a_lone_surrogate_from_json_is_no_crash() -> None:
    """Half an emoji in a reply has no UTF-8: what the signer put in its place is found."""
    sign = hashlib.md5(f"body=tea?&key={KEY}".encode()).hexdigest()
    verdict = diagnose('{"body":"tea\\ud83c","sign":"' + sign + '"}', KEY)

    assert verdict.findings[0].mistake == "emoji-dropped"
    assert "tea" in explain(verdict)


def test_a_reply_with_a_name_twice_is_read_member_by_member() -> None:
    """The codec refuses it; the doctor still has to say which of the two was signed."""
    body = '{"a":{"b":[1,null,{"c":true}]},"n":1.50,"e":null,"t":true,"a":"2","sign":"x"}'

    assert read_message(body).pairs == (
        ("a", '{"b":["1",null,{"c":true}]}'),
        ("n", "1.50"),
        ("e", ""),
        ("t", "true"),
        ("a", "2"),
        ("sign", "x"),
    )


@given(st.from_regex(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?", fullmatch=True), st.text('{["}]:1'))
def test_numbers_of_any_length_and_half_json_are_no_trouble(number: str, text: str) -> None:
    """Longer than any decimal context, and whatever begins like JSON without being it."""
    fields = {"total_fee": number, "goods_detail": "{" + text, "sign": "A" * 32}

    assert diagnose(fields, OWNER).unexplained


def test_the_parts_that_hold_a_key_show_none() -> None:
    """What a debugger or a log of locals would print of the search has the key masked (M-27)."""
    seal = search.SignRecipe(KEY.encode(), lambda joined, _text, _key: joined)
    case = search.Evidence(
        message=read_message(FIELDS),
        key=KEY.encode(),
        algorithm=SignAlgorithm.MD5,
        order=SortOrder.ASCII,
        received="",
        told=False,
        fields=(),
        keys=(),
    )

    assert (repr(seal), repr(case)) == ("SignRecipe(key=***)", "Evidence(key=***)")
    assert repr(JOINS[0]) == "Mistake('key-bare')"


@pytest.mark.parametrize("size", [100, 2_000, 60_000])
def test_the_work_is_bounded_whatever_the_size(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of hashes falls with the length of the message, so that time does not explode."""
    hashed: list[int] = []
    real = search._fits

    def counted(case: Any, text: str, seal: Any) -> bool:
        hashed.append(len(text))
        return real(case, text, seal)

    monkeypatch.setattr(search, "_fits", counted)
    diagnose({**FIELDS, "attach": "a +" * (size // 3), "sign": "A" * 32}, OWNER)

    assert len(hashed) < 4_000
    assert sum(hashed) < 6_000_000 + 400 * size


def test_the_front_page_does_not_export_the_doctor() -> None:
    """Its home is chaoying_async.sansio.doctor; importing the library does not load it."""
    assert not {"diagnose", "explain", "doctor"} & set(chaoying_async.__all__)
