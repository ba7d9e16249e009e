"""The sandbox's own endpoints below ``/_sandbox/``, asked by hand."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx
import pytest

from chaoying_async import parse_notification
from chaoying_async.sandbox import Sandbox


@asynccontextmanager
async def asked(made: Sandbox) -> AsyncGenerator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(made.app)
    base, headers = "http://sandbox/_sandbox/", {"X-Sandbox": "1"}
    async with httpx.AsyncClient(transport=transport, base_url=base, headers=headers) as client:
        yield client


class TestControl:
    """The sandbox's own endpoints, asked by hand."""

    @pytest.mark.parametrize(
        ("what", "wish", "words"),
        [
            ("act", {"deed": "ROB"}, "CUSTOMER_PAYS"),
            ("act", {"deed": "CUSTOMER_PAYS"}, "out_trade_no"),
            ("act", [], "JSON object"),
            ("notify", {"event": "party"}, "duplicate"),
            ("notify", {"event": "paid", "late": -1, "notify_url": "http://x/"}, "late"),
            ("notify", {"event": "paid", "total_fee": True}, "total_fee"),
            ("notify", {"event": "paid", "notify_url": "file:///etc"}, "notify_url"),
            ("resend", {}, "out_trade_no"),
            ("faults", {"plans": "all"}, "plans"),
            ("faults", {"plans": ["meteor"]}, "FAULT"),
            ("faults", {"plans": [], "seed": "seven"}, "seed"),
        ],
    )
    async def test_what_makes_no_sense_is_400(self, what: str, wish: Any, words: str) -> None:
        """And says what would."""
        async with Sandbox() as made, asked(made) as client:
            reply = await client.post(what, json=wish)
        assert reply.status_code == 400
        assert words in reply.json()["problem"]

    async def test_without_a_merchant_it_is_the_first_that_is_enabled(self) -> None:
        """Named in the answer, in whatever order the books list them."""
        wish = {"event": "late", "notify_url": "http://shop.test/"}
        async with Sandbox() as made, asked(made) as client:
            told = (await client.post("notify", json=wish)).json()
            assert told["mch_id"] == made.mch_id == "00000001"
            gateway = made.app.control.runtime.gateway
            merchants = gateway.ledger.merchants
            disabled = attrs.evolve(merchants["00000001"], state="30")
            books = attrs.evolve(gateway.ledger, merchants=merchants.put("00000001", disabled))
            gateway.ledger = books
            told = (await client.post("notify", json=wish)).json()
        assert (told["mch_id"], told["order"]) == ("00000002", None)

    async def test_a_page_of_another_site_cannot_post(self) -> None:
        """The header that a form cannot send is missing."""
        async with Sandbox() as made, asked(made) as client:
            del client.headers["X-Sandbox"]
            assert (await client.post("faults", json={"plans": []})).status_code == 403
            assert (await client.get("faults")).status_code == 404
            assert (await client.post("nothing", json={})).status_code == 404

    async def test_with_a_token_everything_needs_it(self) -> None:
        """The books too; the gateway itself does not."""
        async with Sandbox() as made, asked(made) as client:
            made.app.control.token = "a-token-of-the-tests"
            assert (await client.get("books")).status_code == 401
            bearer = {"Authorization": "Bearer a-token-of-the-tests"}
            assert (await client.get("books", headers=bearer)).status_code == 200
            assert (await client.get("http://sandbox/Mch/PayBoxConfGet")).status_code == 200

    async def test_a_late_one_comes_later(self) -> None:
        """Announced at once, delivered on the sandbox's clock; forgeries are marked as such."""
        got: list[bytes] = []

        def shop(request: httpx.Request) -> httpx.Response:
            got.append(request.content)
            return httpx.Response(200, content=b"success")

        made = Sandbox(notify_transport=httpx.MockTransport(shop))
        wish = {"notify_url": "http://shop.test/", "out_trade_no": "A1", "mch_id": "00000002"}
        async with made, asked(made) as client:
            late = (await client.post("notify", json={**wish, "event": "late"})).json()
            assert (late["deliveries"], got) == ([], [])
            await made.advance(60)
            alipay = {**wish, "event": "paid", "kind": "ALIPAY", "total_fee": 1230}
            await client.post("notify", json=alipay)
            await client.post("notify", json={**wish, "event": "forged"})
            first, second = (parse_notification(each, made.credentials) for each in got[:2])
            assert (first.wallet, first.out_trade_no, first.mch_id) == ("WECHAT", "A1", "00000002")
            assert (second.wallet, second.total_fee) == ("ALIPAY", 1230)
            assert [each.forged for each in made.deliveries] == [False, False, True]
