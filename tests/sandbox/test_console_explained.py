"""The console's page that explains an order: true, in both languages, and without consequence."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chaoying_async.sandbox import Deed, Fault
from chaoying_async.testing import FakeClock
from tests.factories import CANARIES
from tests.sandbox.console_visitor import ORDER, Visitor

EXPLAINED = ORDER.replace("/order?", "/order/explained?")


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    made = Visitor(clock=FakeClock())
    async with made.sandbox:
        yield made
        await made.client.aclose()


async def test_the_page_of_an_order_leads_to_its_explanation(visitor: Visitor) -> None:
    """And back; the address says which order of which merchant."""
    await visitor.pay()
    page = await visitor.page(f"{ORDER}A100011")
    address = EXPLAINED.replace("&", "&amp;")
    assert f"{address}A100011" in page
    assert f"{ORDER.replace('&', '&amp;')}A100011" in await visitor.page(f"{EXPLAINED}A100011")


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("PAID", "What is proven", "(M-16)", "No store was given", "audit log: pay of")),
        ("zh", ("PAID", "已证实", "（M-16）", "没有给出轮询存储", "审计日志：发送了 pay")),
    ],
)
async def test_it_says_what_is_proven_and_what_to_do(
    visitor: Visitor, language: str, words: tuple[str, ...]
) -> None:
    """How it stands, the next step with its rule, and what went over the wire."""
    await visitor.pay()
    page = await visitor.page(f"{EXPLAINED}A100011", language)
    assert [each for each in words if each not in page] == []
    assert not any(secret in page for secret in CANARIES)


@pytest.mark.parametrize(
    ("total", "standing"), [("1405", "OPEN"), ("1406", "UNPAID"), ("1403", "OPEN")]
)
async def test_looking_counts_as_no_query(visitor: Visitor, total: str, standing: str) -> None:
    """However often: an order that its second query finds paid stays open, and so do the dice."""
    await visitor.pay(total=total)
    gateway = visitor.sandbox._runtime.gateway
    before = gateway.ledger, dict(gateway.requests), gateway._rng.getstate()
    for _ in range(3):
        assert f">{standing}<" in await visitor.page(f"{EXPLAINED}A100011")
    assert before == (gateway.ledger, dict(gateway.requests), gateway._rng.getstate())


async def test_its_refunds_are_told(visitor: Visitor) -> None:
    """By the numbers in the books, which a shop would have written down."""
    await visitor.pay()
    await visitor.send(
        "refund",
        mch_id="00000001",
        paytype="WECHAT",
        out_trade_no="A100011",
        out_refund_no="TK-1",
        total_fee="1000",
        refund_fee="300",
        op_user_id="1",
    )
    assert "Refund TK-1: ask again later" in await visitor.page(f"{EXPLAINED}A100011")
    await visitor.sandbox.advance(5)
    page = await visitor.page(f"{EXPLAINED}A100011")
    assert "Of 10.00 yuan, 3.00 yuan came back" in page
    assert "(M-25)" in page


async def test_a_logged_answer_that_says_otherwise_is_told(visitor: Visitor) -> None:
    """Closed, said an answer; and then the customer paid all the same."""
    await visitor.pay(total="1411")
    fields = {"mch_id": "00000001", "paytype": "WECHAT", "out_trade_no": "A100011"}
    await visitor.sandbox.advance(20)
    await visitor.send("cancel", **fields, op_user_id="1")
    await visitor.send("orderquery", **fields)
    assert ">UNPAID<" in await visitor.page(f"{EXPLAINED}A100011")
    assert "(M-24)" in await visitor.page(f"{EXPLAINED}A100011")
    await visitor.sandbox.advance(30)
    page = await visitor.page(f"{EXPLAINED}A100011")
    assert ">PAID<" in page
    assert "said that it is over and unpaid" in page


async def test_a_fault_shows_in_what_was_logged(visitor: Visitor) -> None:
    """A proxy answered in place of the gateway, and the order is paid: both are told."""
    visitor.sandbox.faults.add(Fault.HTTP_500)
    await visitor.pay()
    page = await visitor.page(f"{EXPLAINED}A100011")
    assert ">PAID<" in page
    assert "was sent: answered HTTP 500" in page


async def test_there_is_no_page_for_an_order_that_is_not_there(visitor: Visitor) -> None:
    """404, as of the order's own page."""
    assert (await visitor.get(f"{EXPLAINED}NONE")).status_code == 404


async def test_what_a_person_did_is_explained_too(visitor: Visitor) -> None:
    """The customer paid by a button, and nobody was notified: settle or poll, says M-16."""
    await visitor.pay(total="1405")
    visitor.sandbox.act("A100011", Deed.CUSTOMER_PAYS)
    assert ">PAID<" in await visitor.page(f"{EXPLAINED}A100011")
