"""What the doctor says: a verdict and its findings; and a row of the tables of mistakes."""

from __future__ import annotations

from enum import StrEnum
from typing import Generic, TypeVar

import attrs

from chaoying_async.sansio.credentials import SignAlgorithm, SortOrder

W = TypeVar("W")


class Side(StrEnum):
    """Where the mistake was made."""

    SIGNER = "signer"
    """The mistake was made by whoever computed the sign."""
    READER = "reader"
    """The mistake was made here: in the message, or the key, as they were handed to the doctor."""
    EITHER = "either"
    """The two disagree, and the message does not tell which one is right."""


@attrs.frozen(kw_only=True)
class Finding:
    """One mistake that explains the sign, or one thing worth knowing about it."""

    mistake: str
    """Its stable name, such as ``key-newline``; all of them are in ``KINDS``."""
    what_happened: str
    """The mistake in a sentence, in English; :func:`~chaoying_async.sansio.doctor.explain` has the
    Chinese.
    """
    what_to_do: str
    """What to do about it, in English."""
    side: Side
    """Where the mistake was made."""
    fields: tuple[str, ...] = ()
    """The names it touches, never values; empty when it is not about single fields."""
    accepted: bool = False
    """Whether the library takes such a sign all the same: it is a warning then."""
    also: tuple[str, ...] = ()
    """Other mistakes that would have led to this very sign."""


@attrs.frozen(kw_only=True)
class Verdict:
    """What is the matter with a signature. It holds no key, no sign and no personal value."""

    right: bool
    """Whether the sign belongs to this message and this key; findings are then warnings only."""
    unexplained: bool
    """Whether nothing that the doctor knows leads to this sign."""
    findings: tuple[Finding, ...]
    """The mistakes that explain the sign, or warnings about one that is right."""
    canonical: str
    """The text that should be signed, without the key, personal values as ``***``."""
    signed: str | None
    """The text that was signed, as far as the findings explain it; None when they do not."""
    algorithm: SignAlgorithm
    """The algorithm that the message should be signed with."""
    order: SortOrder
    """The order of names that the message should be signed in."""
    key_length: int
    """How many characters the key has, for comparing keys over the phone."""
    key_fingerprint: str
    """The first 6 hex digits of the key's SHA-256, for the same."""


class Mistake(Generic[W]):
    """One mistake; ``ways`` are functions that make it, of one shape for each table.

    ``common`` mistakes are also tried two at a time. ``accepted`` ones are no error to the library.
    ``when_told`` limits a row to signs that the message's receiver computed (True) or that came
    with the message (False).
    """

    def __init__(
        self,
        name: str,
        side: Side,
        *ways: W,
        common: bool = False,
        accepted: bool = False,
        when_told: bool | None = None,
    ) -> None:
        self.name, self.side, self.ways = name, side, ways
        self.common, self.accepted, self.when_told = common, accepted, when_told

    def __repr__(self) -> str:
        return f"Mistake({self.name!r})"  # its ways may hold a key
