from __future__ import annotations

import ast
import hashlib
import hmac
import inspect
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import chaoying_async
from chaoying_async.exceptions import (
    MalformedMessageError,
    MissingSignatureError,
    ParameterError,
    SignatureVerificationError,
)
from chaoying_async.sansio import signing
from chaoying_async.sansio.credentials import Credentials, PreviousKey, SignAlgorithm, SortOrder
from chaoying_async.sansio.enums import PayType, Undocumented
from chaoying_async.sansio.notifications.message import parse_notification
from chaoying_async.sansio.signing import canonical_string, sign, verify
from chaoying_async.sansio.values import Fen
from tests.ids import without_addresses
from tests.pure.factories import CREDENTIALS, KEY, QUERY, form, notification, paid, read, reply_body
from tests.pure.spec import load
from tests.table import table

VECTORS = load("vectors.toml")["vector"]
SECRET: str = load("vectors.toml")["key"]
#: Name of the digest in the vectors, in coreutils and in openssl.
TOOLS: Mapping[SignAlgorithm, tuple[str, tuple[str, ...]]] = {
    SignAlgorithm.MD5: ("md5", ("md5sum",)),
    SignAlgorithm.SHA1: ("sha1", ("sha1sum",)),
    SignAlgorithm.SHA256: ("sha256", ("sha256sum",)),
    SignAlgorithm.HMAC_SHA256: (
        "hmac_sha256",
        ("openssl", "dgst", "-sha256", "-r", "-hmac", SECRET),
    ),
}
BY_HAND: Mapping[SignAlgorithm, Callable[[bytes], str]] = {
    SignAlgorithm.MD5: lambda text: hashlib.md5(text).hexdigest(),
    SignAlgorithm.SHA1: lambda text: hashlib.sha1(text).hexdigest(),
    SignAlgorithm.SHA256: lambda text: hashlib.sha256(text).hexdigest(),
    SignAlgorithm.HMAC_SHA256: lambda text: hmac.new(SECRET.encode(), text, "sha256").hexdigest(),
}
ORDERS = {"ascii": SortOrder.ASCII, "ignore_case": SortOrder.IGNORE_CASE}

vectors = table("vector", VECTORS, ids=lambda vector: vector["name"])
algorithms = table("algorithm", SignAlgorithm)


def _order(vector: Mapping[str, Any]) -> SortOrder:
    return ORDERS[vector.get("order", "ascii")]


@vectors
@algorithms
def test_signatures_are_those_made_outside_our_code(
    vector: Mapping[str, Any], algorithm: SignAlgorithm
) -> None:
    """The vectors pass for four algorithms and both name orders (C 1, C 3, C 8, C 10)."""
    params, order = dict(vector["params"]), _order(vector)
    digest = vector[TOOLS[algorithm][0]]

    assert canonical_string(params, order) == vector["canonical"]
    assert sign(params, SECRET, algorithm, order) == digest
    verify(params | {"sign": digest}, SECRET, algorithm)


@vectors
@algorithms
def test_an_outsider_computes_the_same(vector: Mapping[str, Any], algorithm: SignAlgorithm) -> None:
    """Plain hashlib over the text and the key at its end agrees (habit 12)."""
    text = f"{vector['canonical']}&key={SECRET}".encode()
    ours = sign(dict(vector["params"]), SECRET, algorithm, _order(vector))
    assert ours == BY_HAND[algorithm](text).upper()


@pytest.mark.outside
@table("algorithm", SignAlgorithm)
def test_a_program_that_knows_nothing_of_us_computes_the_same(algorithm: SignAlgorithm) -> None:
    """md5sum, sha1sum, sha256sum and openssl agree with `sign` (habit 12)."""
    command = TOOLS[algorithm][1]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    for vector in VECTORS:
        text = f"{vector['canonical']}&key={SECRET}".encode()
        done = subprocess.run(command, input=text, capture_output=True, check=True)
        digest = done.stdout.split()[0].decode().upper()
        assert digest == sign(dict(vector["params"]), SECRET, algorithm, _order(vector))


@table("order", SortOrder)
def test_both_name_orders_verify(order: SortOrder) -> None:
    """A reply with capitals in its names is read whichever order the gateway used (C 1)."""
    fields = {"mch_id": "1", "FullName": "测试商户全称", "ShortName": "商户", "state": "SUCCESS"}
    verify(fields | {"sign": sign(fields, KEY, order=order)}, KEY)


def test_the_orders_differ_where_names_have_capitals_and_only_there() -> None:
    """ASCII puts every capital first; ignoring case counts A as a (C 1)."""
    capitals = {"FullName": "a", "mch_id": "b", "ShortName": "c"}
    assert canonical_string(capitals) == "FullName=a&ShortName=c&mch_id=b"
    assert canonical_string(capitals, SortOrder.IGNORE_CASE) == "FullName=a&mch_id=b&ShortName=c"
    small = dict.fromkeys(["openid", "op_user_id", "state"], "1")
    assert canonical_string(small) == canonical_string(small, SortOrder.IGNORE_CASE)


@table("order", SortOrder)
def test_names_are_lowered_and_never_raised(order: SortOrder) -> None:
    """`_` lies between the capitals and the small letters: facepay's four names show it (C 2)."""
    names = ["openid", "op_user_id", "op_shop_id", "op_device_id"]
    assert canonical_string(dict.fromkeys(names, "1"), order) == (
        "op_device_id=1&op_shop_id=1&op_user_id=1&openid=1"
    )


def test_names_that_differ_in_case_only_have_one_order() -> None:
    """Plain ASCII breaks the tie, so the same map always gives the same text (C 2)."""
    fields = {"Name": "1", "name": "2", "NAME": "3"}
    backwards = dict(reversed(fields.items()))
    for order in SortOrder:
        assert canonical_string(fields, order) == "NAME=3&Name=1&name=2"
        assert canonical_string(backwards, order) == "NAME=3&Name=1&name=2"


@table(
    ("value", "text"),
    [
        (0, "0"),
        (-7, "-7"),
        (10**20, "1" + "0" * 20),
        (True, "true"),
        (False, "false"),
        (Fen(1230), "1230"),
        (PayType.WECHAT, "WECHAT"),
        (Undocumented("ECNY"), "ECNY"),
        ("0", "0"),
        (" ", " "),
        ("超 + %&=", "超 + %&="),
    ],
)
def test_values_enter_as_the_text_that_is_sent(value: object, text: str) -> None:
    """int as digits, bool as true/false, an enum as its value, text as it is (M-03)."""
    assert canonical_string({"a": value, "b": "1"}) == f"a={text}&b=1"
    assert sign({"a": value}, KEY) == sign({"a": text}, KEY)


@table("value", [None, ""])
def test_empty_values_take_no_part(value: object) -> None:
    """None and the empty text are left out; "0" and a blank are not (C 8)."""
    assert canonical_string({"a": value, "b": "0", "c": " "}) == "b=0&c= "


@table("value", [1.0, b"1", [], {}, ("1",), object()], ids=without_addresses)
def test_what_has_no_one_text_is_a_type_error(value: object) -> None:
    """float, bytes, list and dict have no signed form: the error names the field (M-03)."""
    for act in (
        canonical_string,
        lambda params: sign(params, KEY),
        lambda params: verify(params | {"sign": "0" * 32}, KEY),
    ):
        with pytest.raises(TypeError, match="total_fee"):
            act({"total_fee": value})


def test_sign_itself_takes_no_part() -> None:
    """`sign` is left out when signing, too (C 11)."""
    assert sign({"a": "1", "sign": "x"}, KEY) == sign({"a": "1"}, KEY)


@table("key", ["", None, b"key", 5, ()], ids=repr)
def test_without_a_key_nothing_is_signed_or_verified(key: Any) -> None:
    """Fail closed: an empty or missing key is an error, never "verified"."""
    with pytest.raises(ParameterError):
        sign({"a": "1"}, key)
    with pytest.raises((ParameterError, TypeError)):
        verify({"a": "1", "sign": "0" * 32}, key)


@table("key", ["", " ", "key ", "\nkey", None, b"key"], ids=repr)
def test_credentials_without_a_proper_key_cannot_be_made(key: Any) -> None:
    """Not at the first message but at start-up."""
    with pytest.raises(ParameterError) as caught:
        Credentials("1", key, "yunpos")
    assert set(caught.value.problems) == {"key"}
    with pytest.raises(ParameterError):
        PreviousKey(key, datetime(2026, 1, 1, tzinfo=UTC))


@table("given", [{}, {"sign": ""}, {"sign": None}], ids=repr)
def test_a_missing_signature_is_an_error_of_its_own(given: dict[str, Any]) -> None:
    """Missing and empty are the same, and never skip the check."""
    with pytest.raises(MissingSignatureError):
        verify({"a": "1"} | given, KEY)


RIGHT = sign({"a": "1"}, KEY)


@table(
    "given",
    [
        "0" * 32,
        RIGHT[:-1],
        RIGHT + "0",
        f" {RIGHT}",
        f"{RIGHT}\n",
        RIGHT[:-1] + "G",
        RIGHT[:-1] + "\uff10",  # a full-width digit
        "-" + RIGHT[1:],
        "0x" + RIGHT[2:],
        RIGHT * 2,
        "0",
        7,
        True,
    ],
    ids=repr,
)
def test_a_wrong_signature_is_refused_whatever_it_looks_like(given: object) -> None:
    """Wrong digits, wrong length, no hex (C 12)."""
    with pytest.raises(SignatureVerificationError) as caught:
        verify({"a": "1", "sign": given}, KEY)
    assert not isinstance(caught.value, MissingSignatureError)


@algorithms
def test_another_algorithms_digest_is_refused(algorithm: SignAlgorithm) -> None:
    """The algorithm is a setting; nothing is guessed from the length of a sign (C 6)."""
    for other in SignAlgorithm:
        if other is not algorithm:
            with pytest.raises(SignatureVerificationError):
                verify({"a": "1", "sign": sign({"a": "1"}, KEY, other)}, KEY, algorithm)


@algorithms
def test_a_lower_case_digest_is_accepted(algorithm: SignAlgorithm) -> None:
    """Upper-cased before it is compared (C 12)."""
    fields = {"a": "1"}
    verify(fields | {"sign": sign(fields, KEY, algorithm).lower()}, KEY, algorithm)


def test_a_duplicate_signature_in_a_body_is_refused() -> None:
    """Even where both are the same and right: a name comes once (C 14)."""
    fields = notification()
    body = form(fields | {"sign": sign(fields, KEY)})
    parse_notification(body, CREDENTIALS)
    with pytest.raises(MalformedMessageError):
        parse_notification(body + f"&sign={sign(fields, KEY)}".encode(), CREDENTIALS)


def test_half_a_surrogate_pair_has_no_signature() -> None:
    """UTF-8 has no such text: one of our errors, not a UnicodeEncodeError."""
    with pytest.raises(MalformedMessageError):
        sign({"a": "\ud800"}, KEY)
    with pytest.raises(MalformedMessageError):
        verify({"a": "\ud800", "sign": RIGHT}, KEY)


def test_any_of_several_keys_verifies_and_no_key_at_all_is_an_error() -> None:
    """`verify` takes one key or several; an empty collection is not "nothing to check"."""
    fields = {"a": "1", "sign": sign({"a": "1"}, "old")}
    verify(fields, [KEY, "old"])
    verify(fields, iter(("old",)))
    with pytest.raises(SignatureVerificationError):
        verify(fields, [KEY])
    with pytest.raises(ParameterError):
        verify(fields, [])


UNTIL = datetime(2026, 6, 1, tzinfo=UTC)
ROTATED = Credentials("1", "new", "yunpos", previous_keys=(PreviousKey("old", UNTIL),))


@table(
    ("now", "counts"),
    [
        (None, False),
        (UNTIL - timedelta(days=300), True),
        (UNTIL - timedelta(microseconds=1), True),
        (UNTIL, False),
        (UNTIL + timedelta(microseconds=1), False),
    ],
)
def test_a_previous_key_ends(now: datetime | None, counts: bool) -> None:
    """After `until`, and without a `now`, a previous key verifies nothing (M-21)."""
    body = form(notification() | {"sign": sign(notification(), "old")})
    if counts:
        assert parse_notification(body, ROTATED, now=now).out_trade_no == "A100011"
    else:
        with pytest.raises(SignatureVerificationError):
            parse_notification(body, ROTATED, now=now)


def test_a_previous_key_counts_for_replies_alike_and_never_signs() -> None:
    """One rule for replies and notifications (M-21); requests use the present key."""
    from chaoying_async.sansio.exchange import build_request, read_reply

    outgoing = build_request(QUERY, ROTATED)
    verify(outgoing.fields, "new")
    body = reply_body(paid(), "old")
    early, late = UNTIL - timedelta(seconds=1), UNTIL
    assert read_reply(outgoing, 200, body, ROTATED, now=early).signed
    for now in (late, None):
        with pytest.raises(SignatureVerificationError):
            read_reply(outgoing, 200, body, ROTATED, now=now)
    assert read(QUERY, reply_body(paid(), "new"), ROTATED).signed


def test_a_previous_key_needs_an_end_with_a_time_zone() -> None:
    """A naive end would mean another moment on every machine (M-21, M-26)."""
    with pytest.raises(ParameterError) as caught:
        PreviousKey("old", datetime(2026, 6, 1))  # noqa: DTZ001 - the mistake in question
    assert set(caught.value.problems) == {"until"}


def _words(*nodes: ast.AST) -> set[str]:
    """Every name that an expression uses."""
    inside = [part for node in nodes for part in ast.walk(node)]
    return {part.id for part in inside if isinstance(part, ast.Name)} | {
        part.attr for part in inside if isinstance(part, ast.Attribute)
    }


def test_digests_are_compared_in_constant_time_and_in_one_place() -> None:
    """hmac.compare_digest, once, and no == or `in` on a signature beside it."""
    sansio = Path(signing.__file__).parent
    places = [
        path.name
        for path in sansio.rglob("*.py")
        if path.parent.name != "doctor"  # says which mistake explains a signature, trusts none
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "compare_digest"
    ]
    plainly_compared = [
        node.lineno
        for node in ast.walk(ast.parse(inspect.getsource(signing)))
        if isinstance(node, ast.Compare)
        and not isinstance(node.ops[0], (ast.Is, ast.IsNot))
        and _words(node) & {"received", "_digest", "_DIGESTS", "hexdigest"}
    ]
    assert places == ["signing.py"]
    assert plainly_compared == []


def test_no_public_verify_answers_with_a_boolean() -> None:
    """A caller cannot forget to look at the result: a wrong signature raises."""
    assert inspect.signature(verify).return_annotation in (None, "None")
    public = {**vars(chaoying_async), **{name: getattr(signing, name) for name in signing.__all__}}
    booleans = [
        name
        for name, value in public.items()
        if inspect.isfunction(value)
        and inspect.signature(value).return_annotation in (bool, "bool")
    ]
    assert booleans == []
    right = {"a": "1", "sign": RIGHT}
    assert verify(right, KEY) is None  # type: ignore[func-returns-value]


def test_the_key_never_shows() -> None:
    """Not in a repr, an error or a pickle (M-27)."""
    import copy
    import pickle

    for holder in (ROTATED, ROTATED.previous_keys[0]):
        assert "old" not in repr(holder)
        assert "'new'" not in repr(holder)
        assert copy.copy(holder) is copy.deepcopy(holder) is holder
        with pytest.raises(TypeError, match="M-27"):
            pickle.dumps(holder)
    with pytest.raises(SignatureVerificationError) as caught:
        verify({"a": "1", "sign": "0" * 32}, KEY)
    assert KEY not in f"{caught.value!r} {caught.value}"


def test_the_canonical_string_is_there_for_support_without_the_key() -> None:
    """The first joint test can settle what no printed vector does (C 22)."""
    assert canonical_string({"b": "2", "a": "1"}) == "a=1&b=2"
    assert list(inspect.signature(canonical_string).parameters) == ["params", "order"]


def test_md5_without_the_interpreters_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds that leave ``_md5`` out digest by OpenSSL, and to the same."""
    monkeypatch.setitem(sys.modules, "_md5", None)
    monkeypatch.setattr(signing, "_MD5", signing._plain_md5())
    assert signing._MD5 is hashlib.md5
    assert sign({"a": "1"}, KEY) == hashlib.md5(f"a=1&key={KEY}".encode()).hexdigest().upper()
