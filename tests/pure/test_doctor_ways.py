"""Every way in which a mistake is made, where ``test_doctor_kinds`` makes the first one or two."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from chaoying_async import SignAlgorithm
from chaoying_async.sansio.doctor import diagnose, explain
from chaoying_async.sansio.doctor.field_mistakes import FIELDS
from chaoying_async.sansio.doctor.key_mistakes import ALGORITHMS, ENCODINGS, JOINS, KEYS, SHAPES
from chaoying_async.sansio.doctor.text_mistakes import ORDERS, SELECTS, TEXTS
from tests.pure.test_doctor_kinds import (
    FIELDS as SENT,
)
from tests.pure.test_doctor_kinds import (
    KEY,
    OLD,
    OWNER,
    TEXT,
    WHOLE,
    Row,
    appended,
    decoded,
    digest,
    hashed,
    mac,
    md5,
    name,
    named,
    reply,
    sealed,
    signed,
    verdict_of,
    wire,
    with_body,
)
from tests.sizes import thinned
from tests.table import table

TRUE_FALSE = {"a": "true", "b": "false"}
TWICE = 'a=2&d=["茶"]'

WAYS = [
    *(
        signed("null-sent", {"attach": word, "mch_id": "9"}, "mch_id=9")
        for word in ("null", "NULL", "none", "nil", "undefined", "nan", "NaN")
    ),
    *(
        signed("null-as-text", {"attach": "", "mch_id": "9"}, f"attach={word}&mch_id=9")
        for word in ("null", "None", "undefined", "NULL")
    ),
    signed("boolean-spelling", TRUE_FALSE, "a=True&b=False"),
    signed("boolean-spelling", {"a": "True", "b": "False"}, "a=true&b=false"),
    signed("boolean-spelling", TRUE_FALSE, "a=TRUE&b=FALSE"),
    signed("boolean-spelling", TRUE_FALSE, "a=1&b=0"),
    signed("boolean-spelling", TRUE_FALSE, "a=1"),
    reply("numbers-reformatted", {"refund_count": 1, "code": "01"}, "code=01&refund_count=1.0"),
    signed("numbers-reformatted", {"total_fee": "1", "code": "01"}, "code=01&total_fee=1.00"),
    signed("amount-in-yuan", {"total_fee": "120", "n": "5"}, "n=5&total_fee=1.20"),
    *(
        signed("line-ends", {"body": "a\r\nb", "mch_id": "9"}, with_body(text))
        for text in ("a\nb", "ab", "a b")
    ),
    signed("values-trimmed", {"body": " tea ", "mch_id": "9"}, with_body("tea ")),
    signed("html-escaped", {"body": 'a<"\''}, "body=a&lt;\"'"),
    signed("html-escaped", {"body": 'a<"\''}, "body=a&lt;&quot;'"),
    signed("unicode-composed", {"body": "cafe\u0301"}, "body=caf\u00e9"),
    signed("emoji-dropped", {"body": "tea🍵!"}, "body=tea??!"),
    signed("emoji-dropped", {"body": "tea🍵!"}, "body=tea\ufffd!"),
    signed("backslashes", {"body": 'a \\"b'}, 'body=a "b'),
    signed("sign-type-dropped", {"mch_id": "9", "signature_method": "MD5"}, "mch_id=9"),
    signed("sign-type-added", {"mch_id": "9"}, "mch_id=9&sign_type=md5"),
    signed("names-recased", {"FullName": "a", "mch_id": "9"}, "FULLNAME=a&MCH_ID=9"),
    Row("body-html-escaped", f"a=1&amp;b=2&sign={md5(f'a=1&b=2&key={KEY}')}".encode(), ""),
    Row(
        "duplicate-last",
        f'{{"a":"1","a":"2","d":["茶"],"sign":"{md5(f"{TWICE}&key={KEY}")}"}}',
        "",
    ),
    wire("wire-signed", "pid=a+b&body=%E4%BD%A0", "pid=a+b&body=%E4%BD%A0"),
    Row(
        "wire-signed",
        f"pid=a+b&sign={md5(f'pid=a+b&body=%E4%BD%A0&key={KEY}')}&body=%E4%BD%A0".encode(),
        "",
    ),
    *(signed("leading-mark", SENT, f"{mark}{TEXT}") for mark in "&?\ufeff"),
    signed("values-quoted", {"a": "1", "b": "2"}, "a='1'&b='2'"),
    *(
        signed("other-separators", {"a": "1", "b": "2"}, text)
        for text in (
            *("a=1b=2", "a=1,b=2", "a=1|b=2", "a1b2", "a1,b2", "a1|b2", "a:1b:2", "a:1,b:2"),
            *("a:1|b:2", "a1&b2", "a=1\nb=2", "a = 1&b = 2"),
        )
    ),
    *(signed("values-only", {"a": "1", "b": "2"}, text) for text in ("12", "1&2", "1,2", "1|2")),
    *(
        signed("text-json", {"a": "茶", "b": "2"}, text)
        for text in (
            *('{"a":"茶","b":"2"}', '{"a": "茶", "b": "2"}'),
            *(json.dumps({"a": "茶", "b": "2"}), '{"a":"\\u8336","b":"2"}'),
        )
    ),
    signed("text-recased", SENT, TEXT.upper()),
    *(sealed("key-crlf", f"{KEY}{end}") for end in ("\r\n", "\r")),
    *(sealed("key-blanks", form) for form in (f" {KEY} ", f"\t{KEY}", f"{KEY}\t")),
    *(sealed("key-quotes", f"{mark}{KEY}{mark}") for mark in "\"'"),
    *(sealed("key-braces", f"{a}{KEY}{b}") for a, b in ("{}", "<>", "[]")),
    appended("key-without-name", f"{TEXT}&={KEY}"),
    *(
        appended("key-prepended", text)
        for text in (f"{KEY}&{TEXT}", f"key={KEY}{TEXT}", f"&key={KEY}&{TEXT}")
    ),
    appended("key-name-case", f"{TEXT}&Key={KEY}"),
    *(
        appended("key-other-name", f"{TEXT}&{other}={KEY}")
        for other in (
            *("secret", "app_key", "appkey", "appKey", "app_secret", "appsecret", "agent_key"),
            *("mch_key", "sign_key", "signkey", "signKey", "apikey", "api_key", "apiKey", "token"),
        )
    ),
    appended("whole-recased", WHOLE.lower()),
    *(hashed("algorithm-other", digest(each, WHOLE)) for each in ("sha224", "sha384", "sha512")),
    *(hashed("algorithm-other", mac(each, WHOLE)) for each in ("sha1", "sha512")),
    *(hashed("algorithm-other", mac(each, TEXT)) for each in ("md5", "sha1", "sha512")),
    *(hashed("digest-half", half) for half in (md5(WHOLE)[:16], md5(WHOLE)[16:], md5(WHOLE)[:20])),
    hashed("digest-half", digest("sha256", WHOLE)[:32], algorithm="SHA256"),
    *(hashed("utf-16", md5(WHOLE.encode(each))) for each in ("utf-16-be", "utf-16")),
    Row("sign-shape", SENT, "", {"sign": "\ud83c" * 32}),
    *(
        Row("sign-misnamed", {**SENT, other: md5(WHOLE)}, "")
        for other in (
            *("Sign", "SIGN", "signature", "signs", "sig", "signStr", "sign_str"),
            *("amp;sign", "\ufeffsign", " sign "),
        )
    ),
    *(
        Row("sign-unclean", {**SENT, "sign": form.format(md5(WHOLE))}, "")
        for form in ('"{}"', "'{}'", "`{}`", "{},", "{};", "\ufeff{}", "\t{}", "{}\r\n")
    ),
]  # fmt: skip


@table("row", thinned(WAYS, every=3), ids=name)
def test_each_way_of_a_mistake_gets_its_name(row: Row) -> None:
    """Made by hand, with hashlib only, as people make it."""
    assert row.kind in named(verdict_of(row).findings)


#: Mistakes that are also looked for two at a time: all of them at once would take minutes.
COMMON = {
    *("duplicate-last", "duplicate-first", "body-bom", "body-newline", "plus-as-space"),
    *("space-as-plus", "signed-encoded-upper", "signed-encoded-lower", "double-encoded"),
    *("double-decoded", "blank-dropped", "values-trimmed", "zero-dropped", "null-as-text"),
    *("null-sent", "boolean-spelling", "envelope-left-out", "unknown-dropped"),
    *("numbers-reformatted", "json-spaces", "json-key-order", "json-unicode", "json-slashes"),
    *("html-escaped", "html-unescaped", "line-ends", "empty-kept", "sign-included"),
    *("order-case-ignored", "order-ascii", "sorted-upper-folded", "unsorted", "sorted-pairs"),
    *("trailing-ampersand", "wire-signed", "text-url-encoded", "text-entity"),
    *("own-key-unclean", "key-newline", "key-crlf", "key-bom", "key-blanks", "key-quotes"),
    *("key-bare", "key-without-ampersand", "key-without-name", "key-prepended", "key-name-case"),
    *("gbk", "algorithm-md5", "algorithm-sha1", "algorithm-sha256", "algorithm-hmac-sha256"),
    "hmac-without-suffix",
}


def test_these_are_looked_for_two_at_a_time() -> None:
    """The commonest; a kind that leaves the list is no longer found beside another."""
    tables = (FIELDS, SELECTS, ORDERS, TEXTS, KEYS, JOINS, ENCODINGS, ALGORITHMS, SHAPES)
    common = [mistake.name for rows in tables for mistake in rows if mistake.common]
    assert set(common) == COMMON
    assert len(common) == len(COMMON)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (f"{urlencode(SENT, encoding='gbk')}&sign={md5(WHOLE)}", "body-not-utf8"),
        (f'{{"a":"1","a":"2","d":["茶"],"sign":"{md5(f"{TWICE}&key={KEY}")}"}}', "duplicate-last"),
    ],
)
def test_a_message_that_is_read_all_the_same_has_one_mistake(body: str, kind: str) -> None:
    """As Chinese systems write it, or with a name twice: nothing else is blamed for it."""
    assert named(diagnose(body.encode(), OWNER).findings) == [kind]


@pytest.mark.parametrize(
    ("algorithm", "length"), [("MD5", 32), ("SHA1", 40), ("SHA256", 64), ("HMAC_SHA256", 64)]
)
def test_a_sign_has_the_length_of_its_algorithm(algorithm: str, length: int) -> None:
    """One of another length was made by another one, or is no digest."""
    for digits, kind in ((length, "unexplained"), (length - 1, "sign-shape"), (80, "sign-shape")):
        fields = {"a": "1", "sign": "A" * digits}
        verdict = diagnose(fields, OWNER, algorithm=SignAlgorithm(algorithm))
        assert named(verdict.findings) == [kind]


def test_the_side_that_made_it_is_told() -> None:
    """Here, where the message was read twice."""
    row = decoded("read-twice", {"body": "50% off"}, "body=50%25 off")
    assert "    made by: here: in the message or the key as given" in explain(verdict_of(row))


def test_what_is_told_of_a_right_sign() -> None:
    """The rule and the string to sign, without the key; nothing was signed instead."""
    assert explain(diagnose({"a": "1", "sign": md5(f"a=1&key={KEY}")}, OWNER)) == (
        "The signature is right.\n"
        "Algorithm MD5, names in ASCII order\n"
        "String to sign, without the key:\n  a=1"
    )


def test_what_is_told_of_a_wrong_one() -> None:
    """Each finding with its fields, its side, what to do, and what else makes the same sign."""
    verdict = diagnose(urlencode({"body": "a b", "sign": md5(f"body=a+b&key={KEY}")}), OWNER)
    lines = explain(verdict).splitlines()
    assert lines[0] == "The signature is wrong, and this is why:"
    assert lines[1].startswith("* [plus-as-space] ")
    assert lines[2:4] == ["    fields: body", "    made by: whoever computed the sign"]
    assert lines[4].startswith("    do: ")
    also = "    the same sign comes out of: "
    assert lines[5].startswith(also)
    assert "signed-encoded-upper" in lines[5].removeprefix(also).split(", ")
    assert lines[6:] == [
        "Algorithm MD5, names in ASCII order",
        "String to sign, without the key:",
        "  body=a b",
        "What was signed instead:",
        "  body=a+b",
    ]


def test_a_warning_is_told_as_one() -> None:
    """What the library accepts is no mistake."""
    text = explain(diagnose({"a": "1", "sign": md5(f"a=1&key={KEY}").lower()}, OWNER))
    assert text.startswith("The signature is right.\n(warning) [sign-lowercase] ")
    assert "the same sign comes out of" not in text


def test_what_is_told_of_one_that_nothing_explains() -> None:
    """A print of the key, so that two people can compare theirs without showing them."""
    verdict = diagnose({"a": "1", "sign": md5(f"a=1&key={OLD[::-1]}")}, OWNER)
    lines = explain(verdict).splitlines()
    assert lines[0] == "The signature is wrong, and no known mistake explains it."
    assert lines[-4].startswith("Key used here: 32 characters, SHA-256 begins with ")
    assert lines[-3:] == [
        "Algorithm MD5, names in ASCII order",
        "String to sign, without the key:",
        "  a=1",
    ]
