from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import attrs

from chaoying_async.sansio.credentials import Credentials, PreviousKey, SignAlgorithm, SortOrder
from chaoying_async.sansio.doctor import KINDS, Finding, Verdict, diagnose
from tests.sizes import thinned
from tests.table import table

KEY = "4aC9e1d27bF0835a6E4c1b9d0f7A2e63"
OLD = "00c9e1d27bf0835a6e4c1b9d0f7a2eff"
NOW = datetime(2022, 3, 1, tzinfo=UTC)
OWNER = Credentials(
    "1000", KEY, "CySoft", "2.1", previous_keys=(PreviousKey(OLD, NOW + timedelta(days=1)),)
)


def md5(text: str | bytes) -> str:
    data = text if isinstance(text, bytes) else text.encode()
    return hashlib.md5(data).hexdigest().upper()


def line(fields: Mapping[str, str]) -> str:
    """The rule, by hand."""
    return "&".join(f"{name}={fields[name]}" for name in sorted(fields) if fields[name])


@attrs.frozen(eq=False)
class Row:
    """What a person sent, and what was hashed instead of what should have been."""

    kind: str
    message: Any
    sign: str
    options: dict[str, Any] = attrs.field(factory=dict[str, Any])


def signed(kind: str, fields: Mapping[str, str], text: str, **options: Any) -> Row:
    """The fields, with the sign of a text that was made wrongly from them, as a form."""
    sign = md5(f"{text}&key={KEY}")
    return Row(kind, urlencode({**fields, "sign": sign}).encode(), sign, options)


def wire(kind: str, body: str | bytes, text: str, **options: Any) -> Row:
    """A body as it stood on the wire, without its sign, and the text that was signed."""
    data = body if isinstance(body, bytes) else body.encode()
    sign = md5(f"{text}&key={KEY}")
    return Row(kind, b"sign=" + sign.encode() + b"&" + data, sign, options)


def decoded(kind: str, fields: Mapping[str, str], text: str, **options: Any) -> Row:
    """Fields that something had decoded already."""
    sign = md5(f"{text}&key={KEY}")
    return Row(kind, {**fields, "sign": sign}, sign, options)


def reply(kind: str, members: Mapping[str, Any], text: str) -> Row:
    """A JSON reply."""
    sign = md5(f"{text}&key={KEY}")
    return Row(kind, json.dumps({**members, "sign": sign}).encode(), sign)


def hashed(kind: str, sign: str, **options: Any) -> Row:
    """The plain message with a sign that went wrong after the string was made."""
    return Row(kind, urlencode({**FIELDS, "sign": sign}).encode(), sign, options)


FIELDS = {
    "agent_id": "1000",
    "body": "你好 tea",
    "mch_id": "900001",
    "method": "pay",
    "out_trade_no": "A1",
    "pid": "CySoft",
    "total_fee": "100",
    "version": "2.1",
}
TEXT = (
    "agent_id=1000&body=你好 tea&mch_id=900001&method=pay&out_trade_no=A1"
    "&pid=CySoft&total_fee=100&version=2.1"
)
DETAIL = '{"goods":[{"b":"茶/水","a":1}],"n":"x"}'
DETAILED = {"goods_detail": DETAIL, "mch_id": "9"}


def with_detail(text: str) -> str:
    return f"goods_detail={text}&mch_id=9"


def with_body(text: str) -> str:
    return f"body={text}&mch_id=9"


def inner(value: str, **how: Any) -> str:
    return json.dumps(json.loads(value), **how)


COMPACT: dict[str, Any] = {"separators": (",", ":"), "ensure_ascii": False}

VALUES = [
    wire("plus-as-space", "body=a+b&mch_id=9", "body=a+b&mch_id=9"),
    signed("plus-as-space", {"body": "a b", "mch_id": "9"}, "body=a+b&mch_id=9"),
    wire("plus-as-space", "attach=a+b%20c&mch_id=9", "attach=a+b c&mch_id=9"),
    wire("space-as-plus", "body=a%2Bb&mch_id=9", "body=a b&mch_id=9"),
    decoded("space-as-plus", {"body": "a+b", "mch_id": "9"}, "body=a b&mch_id=9"),
    signed(
        "signed-encoded-upper", {"body": "你好", "mch_id": "9"}, "body=%E4%BD%A0%E5%A5%BD&mch_id=9"
    ),
    signed(
        "signed-encoded-upper", {"body": "a b/你", "mch_id": "9"}, "body=a%20b/%E4%BD%A0&mch_id=9"
    ),
    signed("signed-encoded-upper", {"body": "a (b)é"}, "body=a%20(b)%C3%A9"),
    signed(
        "signed-encoded-lower", {"body": "你好", "mch_id": "9"}, "body=%e4%bd%a0%e5%a5%bd&mch_id=9"
    ),
    signed("signed-encoded-twice", {"body": "你"}, "body=%25E4%25BD%25A0"),
    wire("double-encoded", f"body={quote(quote('你好 tea'))}&mch_id=9", with_body("你好 tea")),
    wire("double-encoded", f"body={quote_plus(quote_plus('a b&c'))}", "body=a b&c"),
    decoded("read-twice", {"body": "50% off"}, "body=50%25 off"),
    signed("values-trimmed", {"body": " tea ", "mch_id": "9"}, with_body("tea")),
    signed("values-trimmed", {"body": " tea ", "mch_id": "9"}, with_body(" tea")),
    signed("zero-dropped", {"coupon_fee": "0", "mch_id": "9"}, "mch_id=9"),
    signed("zero-dropped", {"coupon_fee": "0", "is_minipg": "false", "mch_id": "9"}, "mch_id=9"),
    signed("blank-dropped", {"attach": "  ", "mch_id": "9"}, "mch_id=9"),
    reply("null-as-text", {"attach": None, "mch_id": "9"}, "attach=null&mch_id=9"),
    signed("null-as-text", {"attach": "", "mch_id": "9"}, "attach=None&mch_id=9"),
    signed("null-sent", {"attach": "None", "mch_id": "9"}, "mch_id=9"),
    reply("boolean-spelling", {"is_subscribe": True, "mch_id": "9"}, "is_subscribe=True&mch_id=9"),
    signed("boolean-spelling", {"is_subscribe": "True", "mch_id": "9"}, "is_subscribe=1&mch_id=9"),
    reply("numbers-reformatted", {"total_fee": 1, "mch_id": "9"}, "mch_id=9&total_fee=1.0"),
    signed("numbers-reformatted", {"code": "01", "mch_id": "9"}, "code=1&mch_id=9"),
    signed("numbers-reformatted", {"total_fee": "4.00", "mch_id": "9"}, "mch_id=9&total_fee=4"),
    signed("numbers-reformatted", {"total_fee": "4.5", "mch_id": "A"}, "mch_id=A&total_fee=4.50"),
    signed("amount-in-yuan", {"total_fee": "1", "mch_id": "9"}, "mch_id=9&total_fee=0.01"),
    signed("amount-in-yuan", {"total_fee": "150", "mch_id": "9"}, "mch_id=9&total_fee=1.5"),
    signed("json-spaces", DETAILED, with_detail(inner(DETAIL, ensure_ascii=False))),
    signed("json-key-order", DETAILED, with_detail(inner(DETAIL, sort_keys=True, **COMPACT))),
    signed("json-unicode", DETAILED, with_detail(inner(DETAIL, separators=(",", ":")))),
    signed("json-slashes", DETAILED, with_detail(DETAIL.replace("/", "\\/"))),
    signed("json-rewritten", DETAILED, with_detail(inner(DETAIL, sort_keys=True))),
    signed("json-rewritten", DETAILED, with_detail(inner(DETAIL, indent=4, ensure_ascii=False))),
    signed("json-rewritten", DETAILED, with_detail(DETAIL.replace(":1}", ":1.0}"))),
    signed("json-as-literal", DETAILED, with_detail(str(json.loads(DETAIL)))),
    signed("json-as-literal", DETAILED, with_detail("[object Object]")),
    signed("json-as-literal", DETAILED, with_detail("Array")),
    reply("json-escapes-kept", DETAILED, with_detail(json.dumps(DETAIL, ensure_ascii=False)[1:-1])),
    reply("json-escapes-kept", {"msg": "签名"}, "msg=\\u7b7e\\u540d"),
    signed("html-escaped", {"body": "a<b & c", "mch_id": "9"}, with_body("a&lt;b &amp; c")),
    signed("html-escaped", {"body": "it's"}, f"body={html.escape(chr(39).join(('it', 's')))}"),
    signed("html-unescaped", {"body": "a&amp;b", "mch_id": "9"}, with_body("a&b")),
    signed("line-ends", {"body": "a\r\nb", "mch_id": "9"}, with_body("a\nb")),
    signed("line-ends", {"body": "a\nb", "mch_id": "9"}, with_body("a\r\nb")),
    signed("width-folded", {"body": "ＡＢＣ（１）"}, "body=ABC(1)"),
    signed("unicode-composed", {"body": "café"}, f"body={unicodedata.normalize('NFD', 'café')}"),
    signed("emoji-dropped", {"body": "tea🍵!"}, "body=tea!"),
    signed("emoji-dropped", {"body": "tea🍵!"}, "body=tea?!"),
    signed("invisible-dropped", {"body": "te\u200ba"}, "body=tea"),
    signed("nbsp-as-space", {"body": "te\u00a0a"}, "body=te a"),
    signed("backslashes", {"body": 'a "b"'}, 'body=a \\"b\\"'),
    signed("mojibake", {"body": "你好"}, f"body={'你好'.encode().decode('latin-1')}"),
]

FIELD_SETS = [
    wire("duplicate-last", "mch_id=8&mch_id=9&pid=A", "mch_id=9&pid=A"),
    wire("duplicate-first", "mch_id=8&mch_id=9&pid=A", "mch_id=8&pid=A"),
    Row("duplicate-last", f'{{"a":"1","a":"2","sign":"{md5(f"a=2&key={KEY}")}"}}', ""),
    wire("duplicate-joined", "mch_id=8&mch_id=9&pid=A", "mch_id=8,9&pid=A"),
    wire("duplicate-names", "mch_id=8&mch_id=9&pid=A", "mch_id=8&mch_id=9&pid=A"),
    Row("body-bom", b"\xef\xbb\xbfbody=tea&sign=" + md5(f"body=tea&key={KEY}").encode(), ""),
    wire("body-newline", "body=tea&mch_id=9\r\n", with_body("tea")),
    wire("body-html-escaped", "body=tea&amp;mch_id=9", with_body("tea")),
    wire("body-entity", "body=tea™_type=JSAPI", "body=tea&trade_type=JSAPI"),
    wire("body-entity", "body=tea¬ify_url=https", "body=tea&notify_url=https"),
    signed("envelope-left-out", FIELDS, TEXT.replace("method=pay&", "")),
    signed(
        "envelope-left-out",
        FIELDS,
        TEXT.replace("method=pay&", "").replace("pid=CySoft&", "").replace("&version=2.1", ""),
    ),
    signed("field-left-out", FIELDS, TEXT.replace("out_trade_no=A1&", "")),
    signed("sign-type-dropped", {"mch_id": "9", "sign_type": "MD5", "uid": "7"}, "mch_id=9&uid=7"),
    signed("sign-type-added", {"mch_id": "9", "pid": "A"}, "mch_id=9&pid=A&sign_type=MD5"),
    signed("unknown-dropped", {"mch_id": "9", "new": "1", "newer": "2"}, "mch_id=9"),
    signed("unknown-dropped", {"gmt_create": "1", "key1": "2", "pid": "A"}, "pid=A"),
    signed("names-recased", {"FullName": "A", "mch_id": "9"}, "fullname=A&mch_id=9"),
    signed(
        "field-not-sent", {"agent_id": "1000", "mch_id": "9", "pid": "CySoft"},
        "agent_id=1000&mch_id=9&pid=CySoft&version=2.1",
    ),
]  # fmt: skip

LINES = [
    signed("empty-kept", {"attach": "", "mch_id": "9"}, "attach=&mch_id=9"),
    Row(
        "sign-included",
        {"mch_id": "9", "sign": "ABCD", "version": "1"},
        md5(f"mch_id=9&sign=ABCD&version=1&key={KEY}"),
        {"sign": md5(f"mch_id=9&sign=ABCD&version=1&key={KEY}")},
    ),
    signed("sign-included", {"mch_id": "9", "version": "1"}, "mch_id=9&sign=&version=1"),
    signed("sorted-upper-folded", {"op_user_id": "1", "openid": "o"}, "openid=o&op_user_id=1"),
    signed("unsorted", {"version": "1", "mch_id": "9", "pid": "A"}, "version=1&mch_id=9&pid=A"),
    signed("sorted-pairs", {"b": "0", "a": "1", "a1": "2"}, "a1=2&a=1&b=0"),
    signed("sorted-locale", {"b": "0", "a_b": "1", "a1": "2", "B": "3"}, "a_b=1&a1=2&b=0&B=3"),
    signed("sorted-descending", {"b": "2", "a": "1", "c": "3"}, "c=3&b=2&a=1"),
    signed("sorted-by-value", {"a": "2", "b": "3", "c": "1"}, "c=1&a=2&b=3"),
    signed("sorted-by-length", {"ab": "2", "a": "3", "aaa": "0", "c": "1"}, "a=3&c=1&ab=2&aaa=0"),
    signed("trailing-ampersand", FIELDS, f"{TEXT}&"),
    signed("wire-signed", {"pid": "a b", "body": "你"}, "pid=a+b&body=%E4%BD%A0"),
    signed("text-url-encoded", FIELDS, quote_plus(TEXT)),
    signed("text-url-encoded", FIELDS, quote(TEXT, safe="")),
    signed("text-entity", {"pid": "A", "trade_type": "JSAPI"}, "pid=A™_type=JSAPI"),
    signed("text-entity", {"mch_id": "A", "notify_url": "u"}, "mch_id=A¬ify_url=u"),
    signed("text-html-escaped", FIELDS, TEXT.replace("&", "&amp;")),
    signed("leading-mark", FIELDS, f"?{TEXT}"),
    signed("text-newline", FIELDS, f"{TEXT}\n"),
    signed("values-quoted", {"a": "1", "b": "2"}, 'a="1"&b="2"'),
    signed("other-separators", {"a": "1", "b": "2"}, "a1b2"),
    signed("values-only", {"a": "1", "b": "2"}, "12"),
    signed("text-json", {"a": "1", "b": "2"}, '{"a":"1","b":"2"}'),
    signed("text-recased", FIELDS, TEXT.lower()),
]


def sealed(kind: str, key: str | bytes, **options: Any) -> Row:
    data = key if isinstance(key, bytes) else key.encode()
    return hashed(kind, md5(f"{TEXT}&key=".encode() + data), **options)


def appended(kind: str, text: str) -> Row:
    return hashed(kind, md5(text))


def digest(name: str, text: str) -> str:
    return hashlib.new(name, text.encode()).hexdigest().upper()


def mac(name: str, text: str) -> str:
    return hmac.new(KEY.encode(), text.encode(), name).hexdigest().upper()


WHOLE = f"{TEXT}&key={KEY}"
KEYS = [
    sealed("key-newline", f"{KEY}\n"),
    sealed("key-crlf", f"{KEY}\r\n"),
    sealed("key-bom", f"\ufeff{KEY}"),
    sealed("key-blanks", f" {KEY}"),
    sealed("key-blanks", f"{KEY} "),
    sealed("key-quotes", f'"{KEY}"'),
    sealed("key-braces", f"{{{KEY}}}"),
    sealed("key-recased", KEY.lower()),
    sealed("key-recased", KEY.upper()),
    sealed("key-cut", KEY[:-1]),
    sealed("key-digested", md5(KEY)),
    sealed("key-decoded", bytes.fromhex(KEY)),
    sealed("previous-key", OLD),
    sealed("field-as-key", "1000"),
    sealed("field-as-key", "900001"),
    Row(
        "own-key-unclean", {"a": "1", "sign": md5(f"a=1&key={KEY}")}, "", {"key": f"\ufeff{KEY}\n"}
    ),
    Row("own-key-unclean", {"a": "1", "sign": md5(f"a=1&key={KEY}")}, "", {"key": f"'{KEY}'"}),
    Row("key-url-encoded", {"a": "1", "sign": md5("a=1&key=k%2Fk%3D")}, "", {"key": "k/k="}),
    appended("key-bare", TEXT + KEY),
    appended("key-without-ampersand", f"{TEXT}key={KEY}"),
    appended("key-without-name", f"{TEXT}&{KEY}"),
    appended("key-prepended", KEY + TEXT),
    appended("key-prepended", f"key={KEY}&{TEXT}"),
    appended("key-both-ends", KEY + TEXT + KEY),
    appended("key-name-case", f"{TEXT}&KEY={KEY}"),
    appended("key-other-name", f"{TEXT}&secret={KEY}"),
    appended("key-sorted-in", TEXT.replace("&mch_id", f"&key={KEY}&mch_id")),
    appended("key-missing", TEXT),
    appended("key-missing", f"{TEXT}&key="),
    appended("key-not-last", f"{WHOLE}&"),
    appended("whole-recased", WHOLE.upper()),
    appended("whole-url-encoded", quote_plus(WHOLE)),
]

DIGESTS = [
    Row("algorithm-md5", {"a": "1", "sign": md5(f"a=1&key={KEY}")}, "", {"algorithm": "SHA256"}),
    hashed("algorithm-sha1", digest("sha1", WHOLE)),
    hashed("algorithm-sha256", digest("sha256", WHOLE)),
    hashed("algorithm-hmac-sha256", mac("sha256", WHOLE)),
    hashed("hmac-without-suffix", mac("sha256", TEXT)),
    hashed("hmac-without-suffix", mac("sha256", TEXT), algorithm=SignAlgorithm.HMAC_SHA256),
    hashed("algorithm-other", mac("md5", WHOLE)),
    hashed("algorithm-other", digest("sha512", WHOLE)),
    hashed("gbk", md5(WHOLE.encode("gbk"))),
    hashed("latin-1", md5(WHOLE.replace("你好", "??"))),
    hashed("ascii-only", md5(WHOLE.replace("你好", ""))),
    hashed("utf-16", md5(WHOLE.encode("utf-16-le"))),
    Row(
        "emoji-cesu8",
        {
            "a": "🍵",
            "sign": md5(
                b"a=" + "\ud83c\udf75".encode(errors="surrogatepass") + f"&key={KEY}".encode()
            ),
        },
        "",
    ),
    hashed("digest-of-digest", md5(md5(WHOLE))),
    hashed("digest-of-digest", md5(md5(WHOLE).lower())),
    hashed("digest-base64", base64.b64encode(bytes.fromhex(md5(WHOLE))).decode()),
    hashed("digest-half", md5(WHOLE)[8:24]),
    hashed("digest-zeros-dropped", "".join(f"{byte:X}" for byte in bytes.fromhex(md5(WHOLE)))),
    hashed("sign-damaged", md5(WHOLE)[:30]),
    hashed("sign-damaged", md5(WHOLE) + "0"),
    hashed("sign-damaged", md5(WHOLE)[:7] + md5(WHOLE)[9:]),
]

SIGNS = [
    Row("sign-missing", FIELDS, ""),
    Row("sign-misnamed", {**FIELDS, "Sign": md5(WHOLE)}, ""),
    Row("sign-unclean", {**FIELDS, "sign": f" {md5(WHOLE)}\n"}, ""),
    hashed("sign-placeholder", "0" * 32),
    hashed("sign-placeholder", "0" * 30),
    hashed("sign-shape", "tbd"),
    hashed("unexplained", md5(f"{TEXT}&key={OLD[::-1]}")),
    Row(
        "body-not-utf8",
        urlencode(FIELDS, encoding="gbk").encode() + f"&sign={md5(WHOLE)}".encode(),
        "",
    ),
    Row("body-not-utf8", b"a=\xff\xff&sign=" + md5(f"a=1&key={KEY}").encode(), ""),
    Row(
        "double-decoded",
        {"body": "100%25 tea"},
        "",
        {"sign": md5(f"body=100% tea&key={KEY}")},
    ),
]

WARNINGS = [
    hashed("sign-lowercase", md5(WHOLE).lower()),
    signed("ambiguous", {"attach": "u&version=2", "pid": "A"}, "attach=u&version=2&pid=A"),
    signed("order-case-ignored", {"FullName": "A", "code": "1"}, "code=1&FullName=A"),
    signed(
        "order-ascii", {"FullName": "A", "code": "1"}, "FullName=A&code=1",
        order=SortOrder.IGNORE_CASE,
    ),
    sealed("previous-key", OLD, now=NOW),
]  # fmt: skip

MISTAKES = [*VALUES, *FIELD_SETS, *LINES, *KEYS, *DIGESTS, *SIGNS]


@cache
def verdict_of(row: Row) -> Verdict:
    options = dict(row.options)
    return diagnose(row.message, options.pop("key", OWNER), **options)


def named(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.mistake for finding in findings]


def name(row: Row) -> str:
    return row.kind


@table("row", MISTAKES, ids=name)
def test_a_mistake_made_by_hand_gets_its_name(row: Row) -> None:
    """Each kind is made the way a person makes it, with hashlib only, and is found."""
    verdict = verdict_of(row)

    assert row.kind in named(verdict.findings)
    assert not verdict.right


@table("row", [row for row in SIGNS if row.kind in {"sign-placeholder", "sign-shape"}], ids=name)
def test_what_is_no_signature_at_all_is_a_mistake_that_is_known(row: Row) -> None:
    """No key is compared with what cannot be a digest, and nobody is told that nothing is known."""
    verdict = verdict_of(row)

    assert named(verdict.findings) == [row.kind]
    assert not verdict.unexplained


@table("row", thinned([*VALUES, *FIELD_SETS, *LINES, *KEYS, *DIGESTS], every=7), ids=name)
def test_one_mistake_is_explained_by_one_finding(row: Row) -> None:
    """Nothing else is brought up beside the mistake that was made, and it comes first."""
    (finding,) = verdict_of(row).findings

    assert finding.mistake == row.kind


@table("row", WARNINGS, ids=name)
def test_what_the_library_accepts_is_right_with_a_warning(row: Row) -> None:
    """Small letters, the other order, a key on its way out, an ambiguous text: right, but said."""
    verdict = verdict_of(row)
    strict = diagnose(row.message, OWNER, **row.options, strict=True)

    assert verdict.right
    assert named(verdict.findings) == [row.kind]
    assert all(finding.accepted for finding in verdict.findings)
    assert not strict.right


def test_every_kind_has_a_test_that_makes_it() -> None:
    """A new kind needs a row here, and there are far more than 25."""
    assert {row.kind for row in (*MISTAKES, *WARNINGS)} == set(KINDS)
    assert len(KINDS) == len(set(KINDS)) > 25


@attrs.frozen
class Two:
    """Two mistakes at once: the fields that were sent, and the text that was signed."""

    kinds: set[str]
    fields: Mapping[str, str]
    text: str
    key: str = KEY
    end: str = "&key="
    name: str = "md5"


ASCII_DETAIL = with_detail(inner(DETAIL, separators=(",", ":")))
TWO = [
    Two(
        {"empty-kept", "unsorted"},
        {"pid": "A", "attach": "", "body": "茶"},
        "pid=A&attach=&body=茶",
    ),
    Two({"signed-encoded-upper", "key-bare"}, {"body": "你"}, "body=%E4%BD%A0", end=""),
    Two({"values-trimmed", "signed-encoded-upper"}, {"body": " 你 "}, "body=%E4%BD%A0"),
    Two({"zero-dropped", "unsorted"}, {"pid": "A", "a": "1", "c": "0"}, "pid=A&a=1"),
    Two({"json-unicode", "key-newline"}, DETAILED, ASCII_DETAIL, key=f"{KEY}\n"),
    Two(
        {"unknown-dropped", "unsorted"},
        {"pid": "A", "x": "1", "mch_id": "9", "y": "2"},
        "pid=A&mch_id=9",
    ),
    Two({"empty-kept", "previous-key"}, {"attach": "", "pid": "A"}, "attach=&pid=A", key=OLD),
    Two({"key-newline", "algorithm-sha1"}, {"pid": "A"}, "pid=A", key=f"{KEY}\n", name="sha1"),
    Two({"boolean-spelling", "unsorted"}, {"pid": "A", "b": "true"}, "pid=A&b=True"),
    # An order that the library accepts would sort these in another way, and stands in no way.
    Two(
        {"zero-dropped", "unsorted"},
        {"pid": "A", "FullName": "B", "a": "1", "c": "0"},
        "pid=A&FullName=B&a=1",
    ),
    Two({"plus-as-space", "unsorted"}, {"pid": "茶", "body": "a b"}, "pid=茶&body=a+b"),
    Two(
        {"order-case-ignored", "previous-key"},
        {"code": "1", "FullName": "A"},
        "code=1&FullName=A",
        key=OLD,
    ),
]


@table("two", TWO, ids=lambda two: "+".join(sorted(two.kinds)))
def test_two_common_mistakes_at_once_are_both_named(two: Two) -> None:
    """The commonest are tried two at a time, whatever part of the work each one is in."""
    sign = digest(two.name, f"{two.text}{two.end}{two.key}")
    verdict = diagnose(urlencode({**two.fields, "sign": sign}), OWNER)

    assert set(named(verdict.findings)) == two.kinds
    assert not verdict.right
