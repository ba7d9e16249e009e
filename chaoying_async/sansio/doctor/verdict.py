"""From a message, a key and a sign to a verdict."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import attrs

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.credentials import Credentials, PreviousKey, SignAlgorithm, SortOrder
from chaoying_async.sansio.doctor.explain import describe
from chaoying_async.sansio.doctor.field_mistakes import FIELDS, FieldsWay
from chaoying_async.sansio.doctor.findings import Finding, Mistake, Side, Verdict
from chaoying_async.sansio.doctor.key_mistakes import (
    ALGORITHMS,
    ENCODINGS,
    JOINS,
    KEYS,
    SHAPES,
    KeyWay,
)
from chaoying_async.sansio.doctor.lenient_reader import Pairs, SignedText, read_message
from chaoying_async.sansio.doctor.search import Evidence, Match, TextRecipe, explain_sign, render
from chaoying_async.sansio.doctor.text_mistakes import ORDERS, SELECTS, TEXTS
from chaoying_async.sansio.redact import MASK, is_hidden, masked_text, shown_names
from chaoying_async.sansio.signing import ambiguity

#: What is seen without trying anything, and who did it.
SEEN: Mapping[str, Side] = {
    "sign-missing": Side.SIGNER,
    "sign-misnamed": Side.SIGNER,
    "sign-unclean": Side.SIGNER,
    "sign-placeholder": Side.SIGNER,
    "sign-shape": Side.EITHER,
    "sign-lowercase": Side.SIGNER,
    "body-not-utf8": Side.SIGNER,
    "duplicate-names": Side.SIGNER,
    "ambiguous": Side.SIGNER,
    "unexplained": Side.EITHER,
}
_CLOSURES = ("previous-key", "field-as-key", "field-not-sent")
_TABLES: tuple[Iterable[Mistake[Any]], ...] = (
    FIELDS, SELECTS, ORDERS, TEXTS, KEYS, ALGORITHMS, JOINS, ENCODINGS, SHAPES,
)  # fmt: skip
#: Every mistake that can be named, in a fixed order.
KINDS: tuple[str, ...] = (
    *SEEN,
    *_CLOSURES,
    *dict.fromkeys(mistake.name for table in _TABLES for mistake in table),
)

_NAMES_OF_SIGN = frozenset({"sign", "signature", "signs", "sig", "signstr", "sign_str"})
_HEX = re.compile(r"[0-9A-Fa-f]+").fullmatch
_AROUND_SIGN = " \t\r\n\"'`,;\ufeff"
_LENGTHS = {
    SignAlgorithm.MD5: 32,
    SignAlgorithm.SHA1: 40,
    SignAlgorithm.SHA256: 64,
    SignAlgorithm.HMAC_SHA256: 64,
}


def diagnose(
    message: bytes | str | Mapping[str, str],
    key: str | Credentials,
    *,
    sign: str | None = None,
    algorithm: SignAlgorithm | None = None,
    order: SortOrder | None = None,
    now: datetime | None = None,
    strict: bool = False,
) -> Verdict:
    """Which mistake makes this sign out of this message and this key.

    ``message`` is a body as it came (a form, a query with or without its URL, a JSON reply) or its
    decoded fields; bytes tell most. The sign to be explained is the message's own, or ``sign``,
    which the other side computed for it. ``algorithm`` and ``order`` are the credentials' own, or
    MD5 and ASCII. A previous key counts as right before its end, and not without a ``now``.

    ``Verdict.right`` says what :func:`~chaoying_async.sansio.signing.verify` would, ambiguous
    messages excepted: those are right, with a warning. With ``strict`` nothing is merely accepted,
    neither a sign in lower case nor the other order of names: that is how a gateway may see it.

    Every mistake is tried alone, then the common ones two at a time, within a fixed amount of work:
    up to 50 ms for a message of usual size, a few hundred at the limit of 64 KiB. A message that
    cannot be read is a :class:`~chaoying_async.exceptions.MalformedMessageError`, an empty key a
    :class:`~chaoying_async.exceptions.ParameterError`.
    """
    known = _Known(key, algorithm, order)
    del key  # should the message be unreadable, the traceback holds none (M-27)
    found = read_message(message)
    received, seen, found = _sign_of(found, sign)
    case = Evidence(
        message=found,
        key=known.key.encode(),
        algorithm=known.algorithm,
        order=known.order,
        received=received,
        told=sign is not None,
        fields=(*FIELDS, *known.fields()),
        keys=(*known.key_rows(found, now), *KEYS),
    )
    match = explain_sign(case) if received else None
    names = [*seen, *found.problems, *_beside(found, received, match, known.algorithm)]
    if match is not None and any(step.mistake.name in _TELLS_WHICH for step in match.steps):
        names.remove("duplicate-names")
    findings = [finding(name, SEEN[name]) for name in names]
    if match is not None:
        findings = [*_explained(case, match, known.secrets), *findings]
    findings = [attrs.evolve(one, accepted=one.accepted and not strict) for one in findings]
    return Verdict(
        right=match is not None and all(one.accepted for one in findings),
        unexplained="unexplained" in names,
        findings=tuple(findings),
        canonical=_shown(case, case.rule().plan, known.secrets),
        signed=None if match is None else _shown(case, match.line.plan, known.secrets),
        algorithm=known.algorithm,
        order=known.order,
        key_length=len(known.key),
        key_fingerprint=hashlib.sha256(known.key.encode()).hexdigest()[:6],
    )


def finding(
    name: str,
    side: Side,
    *,
    fields: tuple[str, ...] = (),
    accepted: bool = False,
    also: tuple[str, ...] = (),
) -> Finding:
    """A finding with its English words."""
    happened, to_do = describe(name)
    return Finding(
        mistake=name,
        what_happened=happened,
        what_to_do=to_do,
        side=side,
        fields=fields,
        accepted=accepted or name in _WARNINGS,
        also=also,
    )


_TELLS_WHICH = frozenset({"duplicate-last", "duplicate-first", "duplicate-joined"})
_WARNINGS = frozenset({"sign-lowercase", "ambiguous"})


class _Known:
    """The key, its algorithm and name order; its repr shows nothing of them."""

    __slots__ = ("algorithm", "key", "order", "owner", "previous")

    def __init__(
        self, key: str | Credentials, algorithm: SignAlgorithm | None, order: SortOrder | None
    ) -> None:
        owner = key if isinstance(key, Credentials) else None
        text = key.key if isinstance(key, Credentials) else key
        if not isinstance(text, str) or not text or _lone(text):
            raise ParameterError({"key": "must be text that is not empty"})
        self.key = text
        self.owner = owner
        self.previous: tuple[PreviousKey, ...] = owner.previous_keys if owner else ()
        self.algorithm = algorithm or (owner.algorithm if owner else SignAlgorithm.MD5)
        self.order = order or (owner.sort_order if owner else SortOrder.ASCII)

    def __repr__(self) -> str:
        return "_Known(key=***)"

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.key, *(previous.key for previous in self.previous))

    def fields(self) -> Iterator[Mistake[FieldsWay]]:
        """The mistake of signing fields of the credentials that were not sent."""
        if self.owner is not None:
            given = {name: getattr(self.owner, name) for name in ("agent_id", "pid", "version")}
            yield Mistake("field-not-sent", Side.SIGNER, _not_sent(given), common=True)

    def key_rows(self, message: SignedText, now: datetime | None) -> Iterator[Mistake[KeyWay]]:
        """The mistakes of signing with a previous key, or with a field instead of the key."""
        for previous in self.previous:
            yield Mistake(
                "previous-key",
                Side.EITHER,
                _instead(previous.key),
                common=True,
                accepted=now is not None and now < previous.until,
            )
        names = ("agent_id", "pid", "mch_id")
        values = [value for name, value in message.pairs if name in names and value]
        values += [getattr(self.owner, name) for name in names[:2]] if self.owner else []
        yield Mistake("field-as-key", Side.SIGNER, *map(_instead, values))


def _lone(text: str) -> bool:
    """Whether a text holds half a surrogate pair, which UTF-8 lacks."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _instead(other: str) -> KeyWay:
    return lambda _key: (other.encode(),)


def _not_sent(given: Mapping[str, str]) -> FieldsWay:
    def way(message: SignedText) -> Iterator[Pairs]:
        there = {name for name, _ in message.pairs}
        missing = [(name, value) for name, value in given.items() if name not in there]
        for pair in missing:
            yield (*message.pairs, pair)
        yield (*message.pairs, *missing)

    return way


def _sign_of(message: SignedText, told: str | None) -> tuple[str, list[str], SignedText]:
    """The sign to be explained, what is odd about it, and the message without a misnamed one."""
    seen: list[str] = []
    received = dict(message.pairs).get("sign", "") if told is None else told
    if told is None and not received:
        other = next((name for name, value in message.pairs if _misnamed(name) and value), None)
        if other is not None:
            seen.append("sign-misnamed")
            received = dict(message.pairs)[other]
            rest = tuple(pair for pair in message.pairs if pair[0] != other)
            message = attrs.evolve(message, pairs=rest)
    clean = received.strip(_AROUND_SIGN)
    if clean != received:
        seen.append("sign-unclean")
    if not clean:
        seen.append("sign-missing")
    return clean, seen, message


def _misnamed(name: str) -> bool:
    return name.strip().lower().replace("amp;", "").strip("\ufeff") in _NAMES_OF_SIGN


def _beside(
    message: SignedText, received: str, match: Match | None, algorithm: SignAlgorithm
) -> Iterator[str]:
    """The names of further findings about a sign, whether it is explained or not."""
    if not received:
        return
    if match is None:
        if not received.strip("0"):
            yield "sign-placeholder"
        elif _HEX(received) is None or len(received) != _LENGTHS[algorithm]:
            yield "sign-shape"
        else:
            yield "unexplained"
        return
    if _HEX(received) is not None and received != received.upper():
        yield "sign-lowercase"
    fields = dict(message.pairs)
    right = all(step.mistake.accepted for step in match.steps)
    if right and any(ambiguity(name, value, fields) for name, value in fields.items()):
        yield "ambiguous"


def _explained(case: Evidence, match: Match, secrets: tuple[str, ...]) -> Iterator[Finding]:
    for step in match.steps:
        names = _touched(case.message.pairs, match.line.plan.pairs) if step.part == "pairs" else ()
        yield finding(
            step.mistake.name,
            step.mistake.side,
            fields=shown_names(names, secrets),
            accepted=step.mistake.accepted,
            also=match.also,
        )


def _touched(received: Pairs, signed: Pairs) -> tuple[str, ...]:
    """Names whose value was another one when it was signed, or that only one side has."""
    changed = {name for name, _ in set(received) ^ set(signed)} - {"sign"}
    return tuple(dict.fromkeys(name for name, _ in (*received, *signed) if name in changed))


def _shown(case: Evidence, line: TextRecipe, secrets: tuple[str, ...]) -> str:
    shown = tuple(
        (name, MASK if value and is_hidden(name) else value) for name, value in line.pairs
    )
    text = render(case.message, attrs.evolve(line, pairs=shown))
    return masked_text(text, case.message.pairs, secrets)
