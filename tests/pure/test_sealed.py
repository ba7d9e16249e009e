"""Secrets are read by their name alone, and are like what they hide to who reads them (M-27)."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs
import pytest

from chaoying_async.sansio.sealed import (
    MASK,
    Sealed,
    SealedMap,
    Secret,
    SecretBytes,
    quiet,
    seal,
    sealing,
    shy,
)
from tests.table import table

KEY = "9d101c97133837e13dde2d32a5054abb"
MEMBERS = {"openid": "o-buyer", "out_trade_no": "A1", "valid": 5}
SEALED = SealedMap(MEMBERS)


class _Text(str):
    """A text of a user's own kind."""

    __slots__ = ()


class _Bytes(bytes):
    """Bytes of a user's own kind."""


@table(
    ("value", "kind"),
    [
        ("a", Secret),
        (b"a", SecretBytes),
        ({"a": 1}, SealedMap),
        (_Text("a"), Secret),
        (_Bytes(b"a"), SecretBytes),
        (MappingProxyType({"a": 1}), SealedMap),
        (SEALED, SealedMap),
    ],
)
def test_what_shows_itself_is_wrapped_whatever_kind_of_it(value: Any, kind: type[Any]) -> None:
    """Texts, bytes and mappings, of users' own kinds too; each is still equal to what it was."""
    wrapped = shy(value)
    assert type(wrapped) is kind
    assert wrapped == value
    assert MASK in repr(wrapped)


@table("value", [None, 1, 2.5, True, ("a",), ["a"]])
def test_what_is_none_of_them_stays_the_thing_itself(value: Any) -> None:
    """Numbers, and lists."""
    assert shy(value) is value


@table("value", [None, "", b""])
def test_what_is_empty_is_no_secret(value: Any) -> None:
    """It shows that it is."""
    assert seal(value) is value


@table("value", ["a", b"a", 0, False, {}, {"a": 1}, ()])
def test_everything_else_is_sealed_once(value: Any) -> None:
    """Zero and an empty mapping too: only a text can say by being empty that there is none."""
    sealed = seal(value)
    assert type(sealed) is Sealed
    assert sealed.reveal() == value
    assert seal(sealed) is sealed


def test_sealed_values_are_equal_where_what_they_hide_is() -> None:
    """Equal to nothing else, not even to the value itself, whose repr a report would show."""
    one, same, other = Sealed(KEY), Sealed(KEY), Sealed("other")
    assert (one == same) is True
    assert (one == other) is False
    assert (one == KEY) is False
    assert hash(one) == hash(same) == hash(KEY)
    assert hash(one) != hash(other)
    assert repr(one) == MASK
    assert not hasattr(one, "__dict__")


def test_a_secret_is_a_text_whose_parts_are_secrets() -> None:
    """By place, from the end, and by slice."""
    assert repr(Secret(KEY)) == repr(SecretBytes(KEY.encode())) == MASK
    for part in (0, -1, slice(3), slice(None, None, -1)):
        found = Secret(KEY)[part]
        assert (found, type(found)) == (KEY[part], Secret)
    assert type(SecretBytes(b"key")[:2]) is SecretBytes
    assert SecretBytes(b"key")[:2] == b"ke"
    assert SecretBytes(b"key")[1] == ord("e")


@table("sealed", [Sealed(KEY), SEALED])
def test_a_copy_is_the_thing_itself_and_a_pickle_is_refused(sealed: Any) -> None:
    """By every protocol."""
    assert copy.copy(sealed) is copy.deepcopy(sealed) is sealed
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="a secret is not pickled"):
            pickle.dumps(sealed, protocol)


def test_a_sealed_mapping_is_read_like_any_other() -> None:
    """By name, with a default, in its own order and backwards; a missing name is a KeyError."""
    assert dict(SEALED) == SEALED.copy() == MEMBERS
    assert type(SEALED.copy()) is dict
    assert (list(SEALED), list(reversed(SEALED)), len(SEALED)) == (
        [*MEMBERS],
        [*MEMBERS][::-1],
        3,
    )
    assert ("openid" in SEALED, "o-buyer" in SEALED) == (True, False)
    assert SEALED.get("openid") == "o-buyer"
    assert (SEALED.get("nobody"), SEALED.get("nobody", 7)) == (None, 7)
    with pytest.raises(KeyError, match="nobody"):
        SEALED["nobody"]


def test_a_personal_members_text_is_a_secret_and_no_other_is() -> None:
    """So that a report which compares two mappings shows what is no secret."""
    for read in (SEALED.__getitem__, SEALED.get):
        assert type(read("openid")) is Secret
        assert type(read("out_trade_no")) is str
        assert type(read("valid")) is int
    assert type(SEALED.get("mobile", "13800000000")) is Secret


def test_a_sealed_mapping_shows_its_names_and_no_value() -> None:
    """Nor does what wraps it once more, which wraps what was in it."""
    assert repr(SEALED) == "{'openid': ***, 'out_trade_no': ***, 'valid': ***}"
    assert repr(SealedMap({})) == "{}"
    again = SealedMap(SEALED)
    assert again == SEALED == MEMBERS
    assert again._members is SEALED._members


def test_two_mappings_are_joined_from_either_side() -> None:
    """Into a new dict; the right one's members count."""
    more = {"valid": 9, "code": "1"}
    assert SEALED | more == {**MEMBERS, **more}
    assert more | SEALED == {**more, **MEMBERS}
    assert type(SEALED | more) is type(MappingProxyType(more) | SEALED) is dict
    assert MEMBERS["valid"] == 5


def test_what_the_owner_adds_shows() -> None:
    """It is not copied: that would be one more copy of every message."""
    members = {"a": 1}
    sealed = SealedMap(members)
    members["b"] = 2
    assert dict(sealed) == {"a": 1, "b": 2}


@attrs.frozen(kw_only=True)
@sealing(("key", "note", "unknown"), metadata={"words": "of a secret"})
class _Holder:
    name: str
    key: str
    note: Any = None


def test_a_sealed_field_is_given_and_read_under_its_own_name() -> None:
    """Its default holds; a name that the class has not is nothing; other fields stay open."""
    holder = _Holder(name="n", key=KEY)
    assert (holder.name, holder.key, holder.note) == ("n", KEY, None)
    assert [field.name for field in attrs.fields(_Holder)] == ["name", "_key", "_note"]
    assert [field.alias for field in attrs.fields(_Holder)] == ["name", "key", "note"]
    words = [dict(field.metadata) for field in attrs.fields(_Holder)]
    assert words == [{}, {"words": "of a secret"}, {"words": "of a secret"}]
    assert type(vars(type(holder))["key"]) is property
    assert type(vars(type(holder))["key"].fget.__name__) is str
    assert vars(type(holder))["key"].fget.__name__ == "key"
    assert not hasattr(_Holder, "unknown")
    assert KEY not in repr(holder)
    with pytest.raises(TypeError, match="key"):
        _Holder(name="n")  # type: ignore[call-arg]


def test_a_sealed_field_is_changed_like_any_other() -> None:
    """An evolved copy has the same secret, or the new one."""
    holder = _Holder(name="n", key=KEY, note="1")
    assert attrs.evolve(holder, name="m").key == KEY
    assert attrs.evolve(holder, key="other").key == "other"
    assert holder == _Holder(name="n", key=KEY, note="1") != _Holder(name="n", key=KEY, note="2")


@quiet
@attrs.frozen
class _Particular:
    key: Any = attrs.field()
    extra: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.key, str):
            raise TypeError("not a text")


def test_an_error_leaves_no_frame_with_the_arguments() -> None:
    """The only frame of ours has neither what was given by place nor what was given by name."""
    extra = {"card": KEY}
    with pytest.raises(TypeError, match="not a text") as error:
        _Particular([KEY], extra=extra)
    frames = []
    traceback = error.tb.tb_next
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    assert [frame.f_code.co_name for frame in frames] == ["quietly"]
    assert frames[0].f_locals["given"] == {}
    assert not {"self", "args"} & set(frames[0].f_locals)
    assert extra == {"card": KEY}


def test_without_an_error_nothing_is_different() -> None:
    """The class's own words included."""
    made = _Particular(KEY, extra={"a": 1})
    assert (made.key, made.extra) == (KEY, {"a": 1})
    assert _Particular.__init__.__name__ == "__init__"
    assert "key" in _Particular.__init__.__annotations__
