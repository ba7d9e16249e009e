"""Frozen models."""

from __future__ import annotations

import copy
import pickle
import weakref
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from chaoying_async.sansio.paid import PaidOrder, PaidSource
from chaoying_async.sansio.values import Fen

VALUES: dict[str, Any] = {
    "mch_id": "7551000001",
    "out_trade_no": "A100011",
    "transaction_id": "T1",
    "out_transaction_id": "T2",
    "payable": Fen(1230),
    "paid": Fen(1200),
    "coupon_fee": Fen(30),
    "paytype": "WECHAT",
    "time_end": datetime(2026, 1, 1, tzinfo=UTC),
    "source": PaidSource.QUERY,
    "raw": {"a": "1"},
}


def test_an_order_can_be_copied_pickled_and_referred_to() -> None:
    """A copy is the order itself; what is pickled has no ``raw``."""
    made: Any = PaidOrder(**VALUES)
    assert {name: getattr(made, name) for name in VALUES} == VALUES
    assert copy.deepcopy(made) is made
    kept = pickle.loads(pickle.dumps(made))  # noqa: S301 - our own
    assert kept == attrs.evolve(made, raw={})
    assert weakref.ref(made)() is made


def test_an_order_is_frozen_and_slotted() -> None:
    """Nothing of it can be changed, and nothing hung on it."""
    made = PaidOrder(**VALUES)
    for name in (*VALUES, "other", "__class__"):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(made, name, None)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            delattr(made, name)
    assert not hasattr(made, "__dict__")
