"""The console's long lists: every order, message and notification can be reached."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from chaoying_async.sandbox.console.paging import SIZE, Pages
from tests.sandbox.console_visitor import ORDER, Visitor


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    made = Visitor()
    async with made.sandbox, made.client:
        yield made


def listed(text: str) -> list[str]:
    """The orders of a page, in its order."""
    return re.findall(r'<tr id="order-\d+">.*?out_trade_no=(\w+)', text, re.DOTALL)


class TestPager:
    """However many rows there are, each is on one page."""

    async def test_every_order_is_on_one_page(self, visitor: Visitor) -> None:
        """Newest first, none twice, none left out."""
        total = 2 * SIZE + 3
        for number in range(total):
            await visitor.pay(f"A{number:06d}")
        seen = []
        for page in (1, 2, 3):
            text = await visitor.page(f"/console/?page={page}")
            assert f'aria-current="page">{page}</a>' in text
            seen += listed(text)
        assert seen == [f"A{number:06d}" for number in reversed(range(total))]
        assert f"1–{SIZE} of {total}<" in await visitor.page("/console/")
        assert f"第 1–{SIZE} 条，共 {total} 条" in await visitor.page("/console/", "zh")

    async def test_the_links_keep_the_filter(self, visitor: Visitor) -> None:
        """Else page 2 of the paid orders would be page 2 of all."""
        for number in range(SIZE + 4):
            await visitor.pay(f"A{number:06d}", "1406" if number < 2 else "1000")
        text = await visitor.page("/console/?state=PAID&q=a0")
        assert f"1–{SIZE} of {SIZE + 2} that fit the filter, {SIZE + 4} in all" in text
        assert 'href="/console/?q=a0&amp;state=PAID&amp;page=2"' in text
        text = await visitor.page("/console/?state=PAID&q=a0&page=2")
        assert listed(text) == ["A000003", "A000002"]
        assert 'href="/console/?q=a0&amp;state=PAID"' in text

    @pytest.mark.parametrize(
        ("asked", "number"),
        [
            *[("", 1), ("1", 1), ("2", 2), ("3", 3), ("4", 3), ("1000000", 3), ("9" * 5000, 1)],
            *[("0", 1), ("-1", 1), ("abc", 1), ("1.5", 1), ("²", 1), ("２", 1)],
        ],
    )
    def test_any_number_leads_to_a_page(self, asked: str, number: int) -> None:
        """The first for nonsense, the last for what lies behind it."""
        pages = Pages.of("/console/", {}, asked, 2 * SIZE + 1)
        assert pages.number == number
        assert 0 < len(range(2 * SIZE + 1)[pages.part]) <= SIZE

    def test_many_pages_have_few_links(self) -> None:
        """The first, the last, and those around; one page needs none."""
        many = Pages.of("/", {}, "500", SIZE * 1000)
        assert many.links == (1, 0, 498, 499, 500, 501, 502, 0, 1000)
        assert Pages.of("/", {}, "", SIZE).links == ()
        assert Pages.of("/", {}, "", 0).links == ()

    async def test_messages_and_notifications_have_pages_too(self, visitor: Visitor) -> None:
        """With the same links."""
        for number in range(SIZE + 1):
            await visitor.preorder(f"A{number:06d}", "1000")
        await visitor.sandbox.advance(3)
        for page in ("messages", "notifications"):
            first = await visitor.page(f"/console/{page}")
            assert f'href="/console/{page}?page=2"' in first
            assert "A000000" not in first
            second = await visitor.page(f"/console/{page}?page=2")
            assert "A000000" in second
            assert "A000001" not in second


class TestOrdersOfMessages:
    """Every message that is about an order shows which, and leads there."""

    async def test_a_refundquery_shows_its_order(self, visitor: Visitor) -> None:
        """It names a refund, an orderquery maybe the platform's number: both lead to the order."""
        await visitor.pay("A100011", "2000")
        await visitor.refund("A100011", "R1000001", "100")
        ledger = visitor.sandbox.ledger
        refund, order = next(iter(ledger.refunds.values())), ledger.order("A100011")
        common = {"mch_id": "00000001", "paytype": "WECHAT"}
        await visitor.send("refundquery", out_refund_no="R1000001", **common)
        await visitor.send("refundquery", refund_id=refund.refund_id, **common)
        await visitor.send("orderquery", transaction_id=order.transaction_id, **common)
        text = await visitor.page("/console/messages?q=a100011")
        assert text.count('<tr id="message-') == 5
        assert text.count('out_trade_no=A100011"><span class="number">A100011</span></a>') == 5
        happened = (await visitor.page(f"{ORDER}A100011")).partition("What happened")[2]
        assert happened.count("refundquery: ") == 2
        assert happened.count("orderquery: ") == 1
        assert 'out_trade_no=A100011">' in await visitor.page("/console/message?id=3")

    async def test_a_number_that_leads_nowhere_leads_nowhere(self, visitor: Visitor) -> None:
        """Unknown refunds; refunds and orders of another merchant; orders that were not made."""
        await visitor.pay("A100011", "2000")
        await visitor.refund("A100011", "R1000001", "100")
        order = visitor.sandbox.ledger.order("A100011")
        other = {"mch_id": "00000002", "paytype": "WECHAT"}
        await visitor.send("refundquery", out_refund_no="nobody", mch_id="00000001")
        await visitor.send("refundquery", out_refund_no="R1000001", **other)
        await visitor.send("orderquery", transaction_id=order.transaction_id, **other)
        await visitor.send("orderquery", out_trade_no="A100099", **other)
        text = await visitor.page("/console/messages")
        assert text.count('data-label="Order">–<') == 3
        assert text.count('data-label="Order"><span class="number">A100099</span><') == 1
        assert text.count('out_trade_no=A100011">') == 2
