"""What differs between one shop and the next."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime

import attrs

from chaoying_async import Credentials, Hosts, PollSchedule, credentials_from_env


@attrs.frozen(kw_only=True)
class Settings:
    """All that the shop is told from outside; the key is in ``credentials`` and never shows."""

    credentials: Credentials
    mch_id: str
    hosts: Hosts
    database_url: str
    #: Without a path or query; the gateway posts to ``{shop_url}/notify``.
    shop_url: str
    #: From when a code expires to when it is asked about.
    schedule: Callable[[datetime], PollSchedule] = PollSchedule.preorder
    #: Seconds between two looks for orders that nobody asks about yet.
    look_every: float = 30.0

    @classmethod
    def from_env(cls) -> Settings:
        """From the environment, as the package's docstring lists it."""
        gateway = os.environ.get("CHAOYING_URL")
        return cls(
            credentials=credentials_from_env(),
            mch_id=os.environ["CHAOYING_MCH_ID"],
            hosts=Hosts.single(gateway) if gateway else Hosts.document(),
            database_url=os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///shop.db"),
            shop_url=os.environ.get("SHOP_URL", "http://127.0.0.1:8000"),
        )
