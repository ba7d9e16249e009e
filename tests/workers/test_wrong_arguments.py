"""What is no query, no refund or no outcome is refused in words that say what to give."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chaoying_async import (
    FaceAuthCache,
    OrderQuery,
    Pay,
    refund_and_track,
    suggested_refund,
    wait_for_terminal,
)
from chaoying_async.exceptions import ParameterError
from chaoying_async.workers import BlockingGateway, paid_order_of
from tests.factories import AUTH_CODE, MCH_ID
from tests.pollers import Scripted, always, order
from tests.table import table
from tests.workers.fleets import ENDED, FleetWorld

PAY = Pay(out_trade_no="A100011", body="tea", total_fee=100, auth_code=AUTH_CODE, mch_id=MCH_ID)
QUERY = "query: must be OrderQuery(...) or RefundQuery(...), not "
REFUND = "refund: must be Refund(...), not "

#: What users gave, and what each is called.
WRONG: list[tuple[Any, str]] = [
    ("A100011", "str"),
    (None, "NoneType"),
    ({}, "dict"),
    (OrderQuery, "the class OrderQuery"),
    (PAY, "Pay"),
]
wrong = table(("given", "called"), WRONG, ids=lambda value: type(value).__name__)


@pytest.fixture
def world(tmp_path: Path) -> FleetWorld:
    return FleetWorld(f"sqlite:///{tmp_path}/fleet.db")


@wrong
async def test_a_fleet_waits_for_queries(world: FleetWorld, given: Any, called: str) -> None:
    """Nothing is written, whichever way it was handed over."""
    fleet = world.fleet()
    with pytest.raises(ParameterError, match=f"^{_literally(QUERY + called)}$"):
        fleet.watching(given, then=ENDED)
    with pytest.raises(ParameterError, match=f"^{_literally(QUERY + called)}$"):
        await fleet.watch(given, then=ENDED)
    with pytest.raises(ParameterError, match=f"^{_literally(QUERY + called)}$"):
        await fleet.watch_many([order(), given], then=ENDED)


@pytest.mark.parametrize("name", ["x" * 256, "a\0b", 7])
async def test_a_process_has_a_name_that_a_database_keeps(world: FleetWorld, name: Any) -> None:
    """A MariaDB that is not strict cuts it off, and takes the rest for another process."""
    rule = "must be text of at most 255 characters, without NUL"
    with pytest.raises(ParameterError, match=_literally(f"name: {rule}")):
        world.fleet(name=name)


async def test_a_fleet_sends_payments_and_refunds(world: FleetWorld) -> None:
    """Before anything is written or sent."""
    async with world.open(1) as (fleet,):
        for given, called in WRONG:
            with pytest.raises(ParameterError, match=_literally(REFUND + called)):
                await fleet.refund(given, then=ENDED)
        for given, called in WRONG[:-1]:
            words = f"pay: must be Pay(...) or FacePay(...), not {called}"
            with pytest.raises(ParameterError, match=_literally(words)):
                await fleet.checkout(given, then=ENDED)
    assert world.gateway.asked == []


@wrong
async def test_a_refund_is_a_refund(world: FleetWorld, given: Any, called: str) -> None:
    """``suggested_refund`` takes a paid order, ``refund_and_track`` a refund."""
    with pytest.raises(ParameterError, match=_literally(REFUND + called)):
        await refund_and_track(world.gateway, given)
    with pytest.raises(ParameterError, match="paid_order"):
        suggested_refund(given)


@wrong
async def test_only_a_terminals_request_is_repeated(
    world: FleetWorld, given: Any, called: str
) -> None:
    """Least of all a payment: it would be sent again after every lost reply."""
    words = f"request: must be PayBoxConfGet(...), not {called}"
    with pytest.raises(ParameterError, match=_literally(words)):
        await wait_for_terminal(world.gateway, given)
    words = f"request: must be GetFaceAuth(...), not {called}"
    with pytest.raises(ParameterError, match=_literally(words)):
        await FaceAuthCache(world.gateway).get(given)
    assert world.gateway.asked == []


def test_the_face_of_synchronous_code_says_the_same(world: FleetWorld) -> None:
    """In the caller's thread."""

    @asynccontextmanager
    async def opened() -> Any:
        yield Scripted(world.gateway.clock, always({}))

    calls: dict[str, Callable[[BlockingGateway], Callable[[Any], Any]]] = {
        QUERY: lambda gateway: gateway.watch,
        REFUND: lambda gateway: gateway.refund_and_track,
    }
    with BlockingGateway(opened, fleet=world.fleet) as gateway:
        for given, called in WRONG[:-1]:
            words = f"send takes a request such as Pay(...), not {called}"
            with pytest.raises(TypeError, match=_literally(words)):
                gateway.send(given)
        for words, call in calls.items():
            for given, called in WRONG[:-1]:
                with pytest.raises(ParameterError, match=_literally(words + called)):
                    call(gateway)(given)


@table(
    ("outcome", "problems"),
    [
        ({}, {"status": "is missing", "order": "is missing"}),
        ({"status": "PAID"}, {"order": "is missing"}),
        ({"order": None}, {"status": "is missing"}),
        (
            {"status": "PAID", "order": {}},
            {"order.mch_id": "is missing", "order.out_trade_no": "is missing"},
        ),
        (
            {"status": "PAID", "order": {"mch_id": MCH_ID, "paid": "1"}},
            {"order.out_trade_no": "is missing"},
        ),
        ({"status": "PAID", "order": "A100011"}, {"order": "must be a mapping, not str"}),
    ],
)
def test_an_outcome_that_is_none_names_every_field_it_lacks(
    outcome: dict[str, Any], problems: dict[str, str]
) -> None:
    """As a queue hands it over that stores something else, or a task that is called by hand."""
    with pytest.raises(ParameterError) as caught:
        paid_order_of(outcome)
    assert caught.value.problems == problems


@table("given", ["A100011", None, 5, [], PAY])
def test_an_outcome_is_a_mapping(given: Any) -> None:
    """What the task was called with as ``outcome=``."""
    with pytest.raises(ParameterError, match="outcome: must be the mapping that the task"):
        paid_order_of(given)


def test_an_order_that_cannot_be_read_is_refused() -> None:
    """An amount as a float is none."""
    order_ = {"mch_id": MCH_ID, "out_trade_no": "A100011", "payable": 1.5}
    with pytest.raises(ParameterError, match="order: cannot be read"):
        paid_order_of({"status": "PAID", "order": order_})


def _literally(text: str) -> str:
    return text.replace("(", r"\(").replace(")", r"\)").replace(".", r"\.")
