"""A form is verified by its pieces where that is enough, and by its fields where it is not.

``verify_form`` sorts ``name=value`` pieces as they came, ``verify_for`` puts them together anew.
Both have to say the same of every body.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoying_async import Credentials
from chaoying_async.exceptions import ChaoyingError, SignatureVerificationError
from chaoying_async.sansio.credentials import SignAlgorithm, SortOrder
from chaoying_async.sansio.fieldnames import TOP_LEVEL
from chaoying_async.sansio.signing import (
    _SORTED_WITH_VALUES,
    _digest,
    canonical_string,
    sign,
    verify_for,
    verify_form,
)
from chaoying_async.sansio.wire.forms import split_form

KEY = "the key of this test"
ODD_NAMES = ["keys", "KEY", "extra", "a1", "a", "a_1", "Total_Fee", "é", ""]
NAMES = [*sorted(TOP_LEVEL - {"sign"}), *ODD_NAMES]
VALUES = ["", "1", "x=y", "ab=", "=", "a&b", "&key=1", "&mch_id=2", "&nonce_str", "é", "%", "+"]


def signature(fields: dict[str, str], algorithm: SignAlgorithm, order: SortOrder) -> str:
    """As somebody signs who knows the key and nothing of M-04."""
    return _digest(canonical_string(fields, order), KEY, algorithm)


def ended(verify: Any, *arguments: Any) -> tuple[str, str]:
    """How it ended, in words."""
    try:
        verify(*arguments)
    except ChaoyingError as error:
        return type(error).__name__, str(error)
    return "verified", ""


@given(
    fields=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=9),
    algorithm=st.sampled_from(SignAlgorithm),
    order=st.sampled_from(SortOrder),
    spoilt=st.sampled_from(["", "", "lower", "flipped", "missing", "empty", "é"]),
    at=st.integers(0, 9),
)
def test_pieces_say_what_fields_say(
    fields: dict[str, str], algorithm: SignAlgorithm, order: SortOrder, spoilt: str, at: int
) -> None:
    """Right, wrong, missing, ambiguous: the same end by both ways, whatever the names are."""
    right = signature(fields, algorithm, order)
    signs = {
        "": right,
        "lower": right.lower(),
        "flipped": ("0" if right[0] != "0" else "1") + right[1:],
        "empty": "",
        "é": "é" * len(right),
    }
    pairs = list(fields.items())
    if spoilt in signs:
        pairs.insert(at, ("sign", signs[spoilt]))
    body = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs)
    if not pairs:
        return
    credentials = Credentials(agent_id="1", key=KEY, pid="2", algorithm=algorithm)
    received, pieces = split_form(body)
    by_pieces = ended(verify_form, credentials, received, pieces, None)
    assert by_pieces == ended(verify_for, credentials, received, None)
    if spoilt in ("missing", "flipped", "empty", "é"):
        assert by_pieces[0] != "verified"


@pytest.mark.parametrize("empty", ["attach", "body", "version"])
def test_a_sign_over_empty_values_is_wrong(empty: str) -> None:
    """They are left out of what is signed (M-01), wherever they would stand in it."""
    fields = {"attach": "1", "body": "2", "version": "3"} | {empty: ""}
    body = "&".join(f"{name}={value}" for name, value in fields.items())
    wrong = _digest(body, KEY, SignAlgorithm.MD5)
    credentials = Credentials(agent_id="1", key=KEY, pid="2")
    with pytest.raises(SignatureVerificationError):
        verify_form(credentials, *split_form(f"{body}&sign={wrong}"), None)


def test_a_name_with_a_digit_sorts_before_its_value() -> None:
    """``key1=`` stands before ``key=``, but ``key`` before ``key1``: these go the other way."""
    assert {"key1", "key2"} & TOP_LEVEL
    assert not any(character < "=" for name in _SORTED_WITH_VALUES for character in name)
    fields = {"key": "1", "key1": "2", "sign": ""}
    fields["sign"] = sign(fields, KEY)
    body = "&".join(f"{name}={value}" for name, value in fields.items())
    credentials = Credentials(agent_id="1", key=KEY, pid="2")
    verify_form(credentials, *split_form(body), None)


def test_a_form_with_odd_pieces_is_verified_by_its_fields() -> None:
    """Some platforms leave a separator behind; what is signed are the fields."""
    fields = {"body": "2", "mch_id": "9"}
    body = f"body=2&&mch_id=9&sign={sign(fields, KEY)}&"
    credentials = Credentials(agent_id="1", key=KEY, pid="2")
    verify_form(credentials, *split_form(body), None)


@pytest.mark.parametrize("body", ["a=1&&b=2", "a=1&b", "a=1&", "&a=1"])
def test_odd_pieces_are_not_handed_on(body: str) -> None:
    """Blank ones and those without a value are no pieces of what was signed."""
    assert split_form(body)[1] is None


def test_pieces_are_decoded_each_for_itself() -> None:
    """A ``&`` or a ``=`` that was escaped stays inside its value."""
    fields, pieces = split_form("a=1%262&b%3d=3&c=+4")
    assert fields == {"a": "1&2", "b=": "3", "c": " 4"}
    assert pieces == ["a=1&2", "b==3", "c= 4"]
