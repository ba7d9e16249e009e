"""Tells an amount in words: in yuan, or as the number of another currency that a message names.

The document knows CNY alone, in fen. What the number of another ``fee_type`` counts it does not
say, so such a number is shown as it came, and never as yuan.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from chaoying_async.sansio.enums import FeeType
from chaoying_async.sansio.values import Fen

_CODE = re.compile(r"[A-Za-z]{1,8}").fullmatch


def is_yuan(fee_type: str | None) -> bool:
    """Whether an amount with this ``fee_type`` is in fen; one that names none is (C 48)."""
    return fee_type in (None, "", FeeType.CNY)


def shown_code(fee_type: str | None) -> str:
    """The currency as it may be shown; "?" where it does not look like one."""
    if is_yuan(fee_type):
        return str(FeeType.CNY)
    return str(fee_type) if _CODE(str(fee_type)) else "?"


def fee_type_in(fields: Mapping[str, Any]) -> str | None:
    """The currency that a message names; None where it names none, which is CNY (C 48)."""
    return str(fields.get("fee_type") or "") or None


def fen_in_words(amount: int, fee_type: str | None = None) -> str:
    """``1230 fen``, or ``1230 (fee_type USD)``: in reasons and logs, which have no yuan."""
    return f"{amount} fen" if is_yuan(fee_type) else amount_in_words(amount, fee_type)


def figure(amount: int, fee_type: str | None = None) -> Decimal | int:
    """The number that stands before the unit: yuan, or as it came."""
    return Fen(amount).yuan if is_yuan(fee_type) else amount


def amount_in_words(amount: int, fee_type: str | None = None, spec: str = "") -> str:
    """``12.30 yuan``, or ``1230 (fee_type USD)``; ``spec`` formats the number."""
    number = format(figure(amount, fee_type), spec)
    return f"{number} yuan" if is_yuan(fee_type) else f"{number} (fee_type {shown_code(fee_type)})"
