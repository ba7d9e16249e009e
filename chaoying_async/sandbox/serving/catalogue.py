"""The list for ``chaoying sandbox --scenarios``: what can be made to happen, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from chaoying_async.sandbox.bank.ledger import MERCHANTS
from chaoying_async.sandbox.bank.merchants import PASSWORD
from chaoying_async.sandbox.bank.scenarios import (
    REFUND_SCENARIOS,
    SCENARIOS,
    RefundScenario,
    Scenario,
)
from chaoying_async.sandbox.bank.services import CONFIGURED_AT, NEVER_CONFIGURED
from chaoying_async.sandbox.serving.faults import Fault


def lines(said: Callable[[str], str] = str) -> Iterator[str]:
    """The list, for a terminal; ``said`` puts a sentence into the user's language."""
    yield said("Payments, by the last three digits of total_fee (fen): 4.03 or 14.03 yuan is 403.")
    yield said("A payment code, face code or buyer id that ends in 0000 and the number wins:")
    yield "130000000000000403."
    yield from _rows(SCENARIOS, said)
    yield ""
    yield said("Refunds, by the last three digits of refund_fee:")
    yield from _rows(REFUND_SCENARIOS, said)
    yield ""
    yield said("Everything else:")
    yield from (f"  {what:22} {said(how)}" for what, how in _OTHERS)
    yield ""
    yield said("Faults, for --fault [ENDPOINT/]FAULT[:PROBABILITY[:SECONDS]]:")
    yield f"  {', '.join(Fault)}"


def as_record() -> dict[str, Any]:
    """The list for a program: scenarios by number, with name and effect, and the faults."""
    return {
        "payments": _told(SCENARIOS),
        "refunds": _told(REFUND_SCENARIOS),
        "others": dict(_OTHERS),
        "faults": list(Fault),
    }


def _told(table: Mapping[int, Scenario | RefundScenario]) -> dict[int, dict[str, str]]:
    return {number: {"name": each.name, "says": each.says} for number, each in table.items()}


def _rows(
    table: Mapping[int, Scenario | RefundScenario], said: Callable[[str], str]
) -> Iterator[str]:
    for number, scenario in sorted(table.items()):
        shown = str(number) if number else "other"
        yield f"  {shown:>5}  {scenario.name:22} {said(scenario.says)}"


_MERCHANTS = {merchant.mch_id: merchant for merchant in MERCHANTS}
_OTHERS = (
    ("mch_id", f"{', '.join(_MERCHANTS)}; 00000013 cannot trade (20013), 00000030 is disabled"),
    ("mch_id, new", "Mch_Reg makes one, which is enabled after a minute"),
    ("version 0.0", "is too old: state VER"),
    ("mobile, username", f"{', '.join(filter(None, (m.mobile for m in MERCHANTS)))}"),
    ("valid", "the last four digits of the mobile number, for 20 minutes"),
    ("password", PASSWORD),
    ("op_device_id", f"configured at poll {CONFIGURED_AT}; never if it ends in {NEVER_CONFIGURED}"),
    ("scanned link", "/qrpay/ and a mch_id, as in /qrpay/00000001?op_shop_id=1"),
)
