"""The signature doctor: which mistake makes this sign out of this message and this key.

"签名错误" says no more than that. The doctor makes the mistakes that people make, one after the
other, until the received sign comes out; the mistake that led to it is the answer::

    verdict = diagnose(body, credentials)
    print(explain(verdict, lang="zh"))

Pure: no clock or randomness, and no file but its own texts. The key, the sign and personal
values are in no field, repr or text of a verdict (M-27); do compare ``key_fingerprint`` with the
other side.

- ``verdict``: ``diagnose``: from a message, a key and a sign to a verdict.
- ``findings``: what a verdict holds, and a row of the tables of mistakes.
- ``lenient_reader``: reads a message as leniently as can be and notes what is wrong with it.
- ``search``: tries one mistake, then two at a time, until the sign comes out.
- ``field_mistakes``: what signers do to values, and which fields they sign.
- ``json_styles``: JSON inside a value, written again in another style.
- ``text_mistakes``: which fields are in the string to sign, in which order, joined how.
- ``key_mistakes``: the key, the bytes, the digest and how the digest is written.
- ``explain``: a verdict in words, from ``english.toml`` and ``chinese.toml``.
"""

from __future__ import annotations

from chaoying_async.sansio.doctor.explain import describe, explain
from chaoying_async.sansio.doctor.findings import Finding, Side, Verdict
from chaoying_async.sansio.doctor.verdict import KINDS, diagnose

__all__ = ["KINDS", "Finding", "Side", "Verdict", "describe", "diagnose", "explain"]
