"""Whether a request may reach the books: its signature, agent, version, fields and merchant.

The order is the gateway's: a wrong signature is answered 20002 whatever the fields say.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from chaoying_async.sandbox.bank.entities import Ledger
from chaoying_async.sandbox.document.draft_reply import DraftReply, refusal
from chaoying_async.sandbox.document.endpoints import TRADES
from chaoying_async.sandbox.document.requirements import problems
from chaoying_async.sandbox.document.signature import is_signed
from chaoying_async.sansio.credentials import Credentials

#: Versions that are answered with state VER: too old (C 28).
TOO_OLD = frozenset({"0", "0.0"})

_ENABLED = "20"


def refused(
    endpoint: str,
    fields: Mapping[str, str],
    credentials: Credentials,
    ledger: Ledger,
    now: datetime,
) -> DraftReply | None:
    """The refusal of a request that may not reach the books; None for a request that may.

    ``endpoint`` is empty where the request names none.
    """
    if not is_signed(fields, credentials):
        return refusal("20002")
    if fields.get("agent_id") != credentials.agent_id:
        return refusal("20012", "agent_id is not known")
    if fields.get("version") in TOO_OLD:
        return DraftReply(state="VER", code="", msg="版本过低")
    if not endpoint:
        return refusal("20004", "method is not known")
    if wrong := problems(endpoint, fields):
        return refusal("20004", "; ".join(f"{name} {words}" for name, words in wrong.items()))
    return _without_merchant(endpoint, fields, ledger, now)


def _without_merchant(
    endpoint: str, fields: Mapping[str, str], ledger: Ledger, now: datetime
) -> DraftReply | None:
    if "mch_id" not in fields:
        return None
    merchant = ledger.merchants.get(fields["mch_id"])
    if merchant is None:
        return refusal("20005", "mch_id is not known")
    if endpoint not in TRADES:
        return None
    if merchant.state_at(now) != _ENABLED:
        return refusal("20005", "the merchant is not enabled")
    return None if merchant.can_trade else refusal("20013")
