"""As whom messages are signed: the agent's number and key, and its previous keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Never, TypeVar

import attrs

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.printable import unclean
from chaoying_async.sansio.sealed import quiet, sealing

C = TypeVar("C")


class SignAlgorithm(StrEnum):
    """签名算法: how messages are signed; nothing on the wire names the algorithm (C 6)."""

    MD5 = "MD5"
    """MD5 of the text with the key behind it; the document's."""
    SHA1 = "SHA1"
    """SHA-1 of the text with the key behind it."""
    SHA256 = "SHA256"
    """SHA-256 of the text with the key behind it."""
    HMAC_SHA256 = "HMAC_SHA256"
    """HMAC with SHA-256, under the key, of the text with the key behind it."""


class SortOrder(StrEnum):
    """How names are sorted before signing (C 1).

    The order matters only where a name has a capital letter. Replies are verified in both orders.
    """

    ASCII = "ASCII"
    """By ASCII codes, capitals before small letters: v2.9.0."""
    IGNORE_CASE = "IGNORE_CASE"
    """As if every letter were small: the document three weeks later."""


def _refuse_pickle(self: object) -> Never:
    raise TypeError(
        f"{type(self).__name__} holds a key and is not pickled (M-27); "
        "make it again where it is needed, for example with credentials_from_env()"
    )


def _itself(self: C, _memo: object = None) -> C:
    return self


@quiet
@attrs.frozen(repr=False)
@sealing(("key",))
class PreviousKey:
    """A key that is being replaced: until ``until`` it verifies, and never signs (M-21)."""

    key: str
    """The old key.（旧密钥）"""
    until: datetime
    """When it stops verifying; aware, any time zone.（停止验证的时间）"""

    def __attrs_post_init__(self) -> None:
        problems = _key_problems(self.key)
        if not isinstance(self.until, datetime) or self.until.utcoffset() is None:
            problems["until"] = "must be a datetime with a time zone"
        if problems:
            raise ParameterError(problems)

    def __repr__(self) -> str:
        return f"PreviousKey(key=***, until={self.until!r})"

    __reduce__ = _refuse_pickle
    __copy__ = __deepcopy__ = _itself


def _previous(keys: Iterable[PreviousKey]) -> tuple[PreviousKey, ...]:
    return tuple(keys)  # not `tuple` itself: type checkers could not tell of what


def _algorithm(given: SignAlgorithm | str) -> SignAlgorithm:
    return SignAlgorithm.__members__.get(given, given)  # type: ignore[arg-type]  # checked next


def _sort_order(given: SortOrder | str) -> SortOrder:
    return SortOrder.__members__.get(given, given)  # type: ignore[arg-type]  # checked next


@quiet
@attrs.frozen(repr=False)
@sealing(("key",))
class Credentials:
    """The agent number, key and product name that every message is signed with.

    The key never shows: not in the repr, not in a pickle, not in an error. Empty values are a
    :class:`ParameterError`: without a key nothing could be trusted.
    """

    agent_id: str
    """The agent's number.（代理商编号）"""
    key: str
    """The agent's key, under which the addresses of v2.9.0 sign (C 5).（代理商密钥，用于签名）"""
    pid: str
    """The name of your product.（调用方产品名称）"""
    version: str = "1.0"
    """The version of *your* software, not of the document (C 93).（调用方版本号，不是文档版本）"""
    algorithm: SignAlgorithm = attrs.field(default=SignAlgorithm.MD5, converter=_algorithm)
    """How messages are signed; MD5 unless the gateway's support says otherwise (C 6).
    （签名算法，默认 MD5）
    """
    sort_order: SortOrder = attrs.field(default=SortOrder.ASCII, converter=_sort_order)
    """How names are sorted before signing (C 1).（签名时参数名的排序）"""
    previous_keys: tuple[PreviousKey, ...] = attrs.field(default=(), converter=_previous)
    """Keys on their way out: they verify, and never sign (M-21).
    （轮换中的旧密钥，只用于验证，不用于签名）
    """

    def __attrs_post_init__(self) -> None:
        problems = _key_problems(self.key)
        for name in ("agent_id", "pid", "version"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                problems[name] = "must be text that is not empty"
            elif rule := unclean(value):
                problems[name] = rule
        for name, table in (("algorithm", SignAlgorithm), ("sort_order", SortOrder)):
            if not isinstance(getattr(self, name), table):
                problems[name] = f"must be a {table.__name__}: {', '.join(table.__members__)}"
        if not all(isinstance(previous, PreviousKey) for previous in self.previous_keys):
            problems["previous_keys"] = "must hold PreviousKey(key, until)"
        if problems:
            raise ParameterError(problems)

    def __repr__(self) -> str:
        shown = f"agent_id={self.agent_id!r}, key=***, pid={self.pid!r}, version={self.version!r}"
        how = f"algorithm={self.algorithm}, sort_order={self.sort_order}"
        return f"Credentials({shown}, {how})"

    __reduce__ = _refuse_pickle
    __copy__ = __deepcopy__ = _itself


_QUOTES = "\"'`“”‘’"


def _quoted(text: str) -> str:
    if len(text) > 1 and text[0] in _QUOTES and text[-1] in _QUOTES:
        return "stands in quotes, which are not part of it: remove them"
    return ""


def _key_problems(key: Any) -> dict[str, str]:
    if not isinstance(key, str) or not key:
        return {"key": "must be text that is not empty"}
    rule = unclean(key)
    return {"key": rule} if rule else {}


#: Environment variable to field of :class:`Credentials`; the first three must be there.
_VARIABLES = {
    "CHAOYING_AGENT_ID": "agent_id",
    "CHAOYING_KEY": "key",
    "CHAOYING_PID": "pid",
    "CHAOYING_VERSION": "version",
    "CHAOYING_ALGORITHM": "algorithm",
}
_OPTIONAL = {"CHAOYING_VERSION", "CHAOYING_ALGORITHM"}


def credentials_from(environ: Mapping[str, str]) -> Credentials:
    """Credentials out of a mapping of environment variables.

    Every variable that is missing or wrong is named in one :class:`ParameterError`.
    """
    if problems := environment_problems(environ):
        raise ParameterError(problems)
    given: dict[str, Any] = {
        field: environ[name] for name, field in _VARIABLES.items() if environ.get(name)
    }
    given["algorithm"] = SignAlgorithm(given.get("algorithm", SignAlgorithm.MD5))
    return Credentials(**given)


def environment_problems(environ: Mapping[str, str]) -> dict[str, str]:
    """What is missing or wrong, by variable; empty where :func:`credentials_from` would succeed."""
    problems = {}
    for name in _VARIABLES:
        value = environ.get(name)
        if not value and name not in _OPTIONAL:
            problems[name] = "is not set"
        elif value and not value.strip():
            problems[name] = "is blank"
        elif value and (rule := unclean(value) or _quoted(value)):
            problems[name] = rule
    if (environ.get("CHAOYING_ALGORITHM") or SignAlgorithm.MD5) not in set(SignAlgorithm):
        problems["CHAOYING_ALGORITHM"] = f"must be one of {', '.join(SignAlgorithm)}"
    return problems
