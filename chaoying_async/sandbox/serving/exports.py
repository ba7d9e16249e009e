"""The environment variables with which another program uses a running sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from chaoying_async.sandbox.bank.ledger import MCH_ID
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.hosts import is_loopback

#: Who refunds and cancels, as the sandbox takes anybody.
OPERATOR = "till1"


def exports(credentials: Credentials, url: str) -> Mapping[str, str]:
    """Name and value of each, in the order in which they are shown."""
    parts = urlsplit(url)
    in_plain_text = parts.scheme == "http" and not is_loopback(parts.hostname or "")
    return {
        "CHAOYING_URL": url,
        **({"CHAOYING_ALLOW_HTTP": "1"} if in_plain_text else {}),
        "CHAOYING_AGENT_ID": credentials.agent_id,
        "CHAOYING_KEY": credentials.key,
        "CHAOYING_PID": credentials.pid,
        "CHAOYING_MCH_ID": MCH_ID,
        "CHAOYING_OP_USER_ID": OPERATOR,
    }
