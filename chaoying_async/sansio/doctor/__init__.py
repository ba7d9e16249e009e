"""The signature doctor: which mistake makes this sign out of this message and this key.

"签名错误" says no more than that. The doctor makes the mistakes that people make, one after the
other, until the sign that came is the one that comes out; the mistake that did it is the answer::

    verdict = diagnose(body, credentials)
    print(explain(verdict, lang="zh"))

Pure: no I/O, clock or randomness. The key, the sign and personal values are in no field, repr or
text of a verdict (M-27); do compare ``key_fingerprint`` with the other side.

==============  ====================================================================
``message``     reading a body, as leniently as can be
``fields``      mistakes about fields: values, and which of them are signed
``innerjson``   JSON inside a value, written in another style
``lines``       mistakes about the string to sign: selection, order, joining
``keys``        mistakes about the key, the bytes, the digest and how that is written
``search``      one mistake, then two at a time
``verdict``     ``diagnose``
``explain``     a verdict in words, from ``english`` and ``chinese``
==============  ====================================================================
"""

from __future__ import annotations

from chaoying_async.sansio.doctor.explain import describe, explain
from chaoying_async.sansio.doctor.findings import Finding, Side, Verdict
from chaoying_async.sansio.doctor.verdict import KINDS, diagnose

__all__ = ["KINDS", "Finding", "Side", "Verdict", "describe", "diagnose", "explain"]
