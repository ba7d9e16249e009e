"""Refunds in the console: partial ones are seen in the list, and how each of them ended."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from tests.sandbox.console_visitor import ORDER, Visitor

ANSWERED = 'class="badge refund-'


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    made = Visitor()
    async with made.sandbox, made.client:
        await made.pay("A100011", "2000")
        await made.pay("A100012", "2000")
        yield made


class TestRefunds:
    """The refunds of an order of 20 yuan."""

    async def test_the_list_shows_each_refund(self, visitor: Visitor) -> None:
        """With its amount, as it stands now, in words; none at an order that has none."""
        for number, fee in ("R1000001", "100"), ("R1000002", "502"), ("R1000003", "504"):
            await visitor.refund("A100011", number, fee)
        await visitor.sandbox.advance(1)
        text = await visitor.page("/console/")
        assert text.count("refund-processing") == 3
        assert "data-waiting" in text
        await visitor.sandbox.advance(10)
        text = await visitor.page("/console/")
        for badge in (
            '<span class="badge refund-success">¥1.00 refunded</span>',
            '<span class="badge refund-fail">¥5.02 not refunded</span>',
            '<span class="badge refund-change">¥5.04 to be paid out by hand</span>',
        ):
            assert badge in text
        assert text.count(ANSWERED) == 3
        assert "data-waiting" not in text
        assert "¥1.00 退款成功" in await visitor.page("/console/", "zh")

    async def test_many_refunds_do_not_fill_the_list(self, visitor: Visitor) -> None:
        """The latest few, and how many earlier ones there are; the order's page has all."""
        for number in range(9):
            await visitor.refund("A100011", f"R100000{number}", f"{number + 1}00")
        text = await visitor.page("/console/")
        assert text.count(ANSWERED) == 3
        assert "¥9.00 in progress" not in text  # 45 yuan would be more than 20: refused
        assert "¥5.00 in progress" in text
        assert "and 2 earlier" in text
        assert (await visitor.page(f"{ORDER}A100011")).count(ANSWERED) == 5

    async def test_the_order_says_how_each_refund_ends(self, visitor: Visitor) -> None:
        """What will become of it, then what became of it, also among what happened."""
        for number, fee in ("R1000002", "502"), ("R1000005", "505"):
            await visitor.refund("A100011", number, fee)
        page = f"{ORDER}A100011"
        text = await visitor.page(page)
        assert "not refunded at " in text
        assert "stays as it is" in text
        assert "Refund R1000002" not in text
        await visitor.sandbox.advance(10)
        text = await visitor.page(page)
        assert re.search(r'data-label="Ends">\d\d-\d\d\xa0\d\d:\d\d:\d\d<', text)
        happened = text.partition("What happened")[2]
        assert "Refund R1000002 of ¥5.02: not refunded" in happened
        assert "Refund R1000005" not in happened
        assert "退款 R1000002，¥5.02：退款失败" in await visitor.page(page, "zh")
