"""What the doctor says: a verdict, its findings, and whose mistake each one is."""

from __future__ import annotations

from enum import StrEnum

import attrs

from chaoying_async.sansio.credentials import SignAlgorithm, SortOrder


class Side(StrEnum):
    """Where the mistake was made."""

    SIGNER = "signer"  #: by whoever computed the sign
    READER = "reader"  #: here: in the message, or the key, as they were handed to the doctor
    EITHER = "either"  #: the two disagree, and the message does not tell which one is right


@attrs.frozen(kw_only=True)
class Finding:
    """One mistake that explains the sign, or one thing worth knowing about it."""

    #: Its stable name, such as ``key-newline``; all of them are in ``KINDS``.
    mistake: str
    #: In English; :func:`~chaoying_async.sansio.doctor.explain` has the Chinese.
    what_happened: str
    what_to_do: str
    side: Side
    #: The names it touches, never values; empty when it is not about single fields.
    fields: tuple[str, ...] = ()
    #: The library takes such a sign all the same: a warning.
    accepted: bool = False
    #: Other mistakes that would have led to this very sign.
    also: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Verdict:
    """What is the matter with a signature. It holds no key, no sign and no personal value."""

    #: The sign belongs to this message and this key; findings are then warnings only.
    right: bool
    #: Nothing that the doctor knows leads to this sign.
    unexplained: bool
    findings: tuple[Finding, ...]
    #: The text that should be signed, without the key, personal values as ``***``.
    canonical: str
    #: The text that was signed, as far as the findings explain it; None when they do not.
    signed: str | None
    algorithm: SignAlgorithm
    order: SortOrder
    #: For comparing keys over the phone: characters, and the first 6 hex digits of its SHA-256.
    key_length: int
    key_fingerprint: str
