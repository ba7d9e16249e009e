"""Code-table fields of requests: a member of the table, or ``Undocumented("...")``."""

from __future__ import annotations

from typing import Annotated

from chaoying_async.sansio.api.field_rules import CodeRule
from chaoying_async.sansio.enums import IsMinipg, LimitPay, PayType, TradeType, Undocumented

PayTypeValue = Annotated[PayType | Undocumented, CodeRule(PayType)]
TradeTypeValue = Annotated[TradeType | Undocumented, CodeRule(TradeType)]
IsMinipgValue = Annotated[IsMinipg | Undocumented, CodeRule(IsMinipg)]
LimitPayValue = Annotated[LimitPay | Undocumented, CodeRule(LimitPay)]
