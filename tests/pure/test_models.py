"""Frozen models, however they were made."""

from __future__ import annotations

import copy
import pickle
import weakref
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from chaoying_async.sansio.model import fields_of
from chaoying_async.sansio.paid import PaidOrder, PaidSource, make_paid_order
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


def test_an_order_made_by_position_is_like_any_other() -> None:
    """The short way to make one skips nothing that a caller could see."""
    made: Any = make_paid_order(*VALUES.values())
    named: Any = PaidOrder(**VALUES)
    assert {name: getattr(made, name) for name in VALUES} == VALUES
    assert (type(made), made, hash(made), repr(made)) == (
        PaidOrder,
        named,
        hash(named),
        repr(named),
    )
    assert attrs.evolve(made, paid=None) == attrs.evolve(named, paid=None)
    assert copy.deepcopy(made) is made
    kept = pickle.loads(pickle.dumps(made))  # noqa: S301 - our own
    assert kept == pickle.loads(pickle.dumps(named))  # noqa: S301 - our own
    assert weakref.ref(made)() is made


def test_an_order_made_by_position_is_frozen_and_slotted() -> None:
    """Nothing of it can be changed, and nothing hung on it."""
    made = make_paid_order(*VALUES.values())
    for name in (*VALUES, "other", "__class__"):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(made, name, None)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            delattr(made, name)
    assert not hasattr(made, "__dict__")


def test_an_order_made_by_position_needs_every_value() -> None:
    """In the fields' own order; and there is no validator that would not have run."""
    assert [field.alias for field in fields_of(PaidOrder)] == list(VALUES)
    assert not [each for each in fields_of(PaidOrder) if each.validator]
    with pytest.raises(TypeError):
        make_paid_order(*list(VALUES.values())[1:])
