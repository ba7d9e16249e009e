"""The console in process: every page, both languages, and everybody who has no business there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from string import Formatter
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from chaoying_async import Credentials, SystemClock
from chaoying_async.sandbox import Fault, Sandbox, Status
from chaoying_async.sandbox.console import site
from chaoying_async.sandbox.console.chinese import CHINESE
from chaoying_async.sandbox.console.english import ENGLISH
from chaoying_async.sandbox.console.journal import Journal
from chaoying_async.sandbox.console.live import Bell
from chaoying_async.sandbox.console.security import Guard, is_loopback, new_token
from chaoying_async.sandbox.console.site import LARGEST_FORM, Console
from chaoying_async.sandbox.console.texts import preferred
from chaoying_async.sandbox.gateway import Request, Response
from chaoying_async.sandbox.scenarios import REFUND_SCENARIOS, SCENARIOS
from chaoying_async.sandbox.signatures import signature
from chaoying_async.sandbox.speed import FastClock
from chaoying_async.testing import FakeClock
from tests.factories import AUTH_CODE, CANARIES, KEY, OPENID

CONSOLE = Path(site.__file__).parent
TOKEN = "a-token-that-nobody-guesses"
ORDER = "/console/order?mch_id=00000001&out_trade_no="
SCRIPT = "<script>alert(1)</script>"
OURS = {"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1"}


class Merchant(httpx.AsyncBaseTransport):
    """Where notifications go; answers what it is told to."""

    def __init__(self) -> None:
        self.answer = b"success"
        self.heard: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.heard.append(await request.aread())
        return httpx.Response(200, content=self.answer)


class Visitor:
    """A browser at a console, and a shop beside it."""

    def __init__(self, *, token: str | None = None, clock: Any = None, kept: int = 500) -> None:
        self.merchant = Merchant()
        self.sandbox = Sandbox(
            clock=clock,
            credentials=Credentials(agent_id="13000000000000000", key=KEY, pid="sandbox"),
            notify_transport=self.merchant,
        )
        self.guard = Guard("0.0.0.0" if token else "127.0.0.1", token)
        app = self.sandbox.app
        self.console = Console(self.sandbox._runtime, self.guard, kept=kept)
        app.console, app.guard = self.console, self.guard
        transport = httpx.ASGITransport(app)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def page(self, path: str, language: str = "en") -> str:
        reply = await self.get(path, **{"accept-language": language})
        assert reply.status_code == 200, (path, reply.status_code)
        return reply.text

    async def post(
        self, path: str, form: dict[str, str] | None = None, **headers: str
    ) -> httpx.Response:
        form = {"form_token": self.guard.form_token, **(form or {})}
        return await self.client.post(path, data=form, headers=OURS | headers)

    async def send(self, endpoint: str, *, spoil: bool = False, **fields: str) -> None:
        """A signed call of a shop's."""
        given = {"agent_id": "13000000000000000", "pid": "shop", "version": "1.0", **fields}
        path = "/Open/WECHAT_PreOrder" if endpoint == "WECHAT_PreOrder" else "/UnifiedPay/Gateway"
        if path == "/UnifiedPay/Gateway":
            given["method"] = endpoint
        sign = signature(given, self.sandbox.credentials)
        given["sign"] = sign[::-1] if spoil else sign
        kind = {"content-type": "application/x-www-form-urlencoded"}
        await self.client.post(path, content=urlencode(given), headers=kind)

    async def pay(self, number: str = "A100011", total: str = "1000", **more: str) -> None:
        common = {"mch_id": "00000001", "body": "b", "auth_code": AUTH_CODE}
        await self.send("pay", out_trade_no=number, total_fee=total, **{**common, **more})

    async def preorder(self, number: str = "A100012", total: str = "1405", **more: str) -> None:
        common = {"mch_id": "00000001", "body": "b", "trade_type": "NATIVE", "product_id": "1"}
        fields = {**common, "notify_url": "http://shop.invalid/notify", **more}
        await self.send("WECHAT_PreOrder", out_trade_no=number, total_fee=total, **fields)


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    made = Visitor()
    async with made.sandbox, made.client:
        yield made


def said(reply: httpx.Response) -> str:
    assert reply.status_code == 303, reply.text
    return reply.headers["location"]


PAGES = [
    "/console/",
    "/console/?q=A1000&state=PAID&wallet=WECHAT",
    "/console/messages",
    "/console/messages?bad=1&endpoint=pay&q=A1",
    "/console/message?id=1",
    "/console/message?id=2",
    "/console/notifications",
    "/console/faults",
    "/console/doctor",
    "/console/doctor?message=1",
    "/console/doctor?message=1&of=reply",
    f"{ORDER}A100011",
    f"{ORDER}A100012",
]


class TestPages:
    """Each one, as a person meets it."""

    @pytest.mark.parametrize("language", ["en", "zh-CN,zh;q=0.9"])
    async def test_every_page_is_there_in_both_languages(
        self, visitor: Visitor, language: str
    ) -> None:
        """No page fails, with or without orders, and each says which language it is in."""
        for path in ("/console/", "/console/messages", "/console/notifications", "/console/faults"):
            await visitor.page(path, language)
        await visitor.pay()
        await visitor.preorder()
        visitor.sandbox.customer_pays("A100012")
        visitor.sandbox.faults.add(Fault.SLOW, probability=0.1, endpoints=["pay"])
        await visitor.sandbox.advance(0)
        for path in PAGES:
            text = await visitor.page(path, language)
            assert f'lang="{"zh-CN" if "zh" in language else "en"}"' in text.partition("<head>")[0]
            assert text.count("<h1>") == 1

    async def test_the_language_can_be_switched(self, visitor: Visitor) -> None:
        """The switch outlives the page, and leads nowhere but back into the console."""
        reply = await visitor.post("/console/language", {"language": "zh", "back": PAGES[2]})
        assert said(reply) == "/console/messages?"
        assert "报文" in await visitor.page("/console/messages", "en")
        away = ("https://evil.invalid/", "//evil.invalid/console/", "/console/\\evil", "http://[")
        for back in away:
            reply = await visitor.post("/console/language", {"language": "en", "back": back})
            assert said(reply) == "/console/"
        reply = await visitor.post("/console/language", {"language": "tlh", "back": ""})
        assert "set-cookie" not in reply.headers

    async def test_the_list_is_filtered(self, visitor: Visitor) -> None:
        """By a part of the number, by state, by wallet; and the newest comes first."""
        await visitor.pay("A100011")
        await visitor.pay("B200022", "1406", auth_code="280000000000001111")
        everything = await visitor.page("/console/")
        assert everything.index("B200022") < everything.index("A100011")
        for query, there in [("q=b2", "B200022"), ("state=PAID", "A100011"), ("wallet=ALIPAY", "B")]:
            text = await visitor.page(f"/console/?{query}")
            assert "1 of 2 orders" in text
            assert f">{there}" in text
        assert "No order fits" in await visitor.page("/console/?q=nothing")

    async def test_an_order_shows_its_life(self, visitor: Visitor) -> None:
        """The request, what the ledger did, each notification, in the order in which they came."""
        visitor.merchant.answer = b"fail"
        await visitor.preorder("A100012", "1405")
        assert "nothing happens until somebody acts" in await visitor.page(f"{ORDER}A100012")
        visitor.sandbox.customer_pays("A100012")
        await visitor.sandbox.advance(15)
        text = await visitor.page(f"{ORDER}A100012")
        steps = ("WECHAT_PreOrder: SUCCESS", "Order made", "Paid", "attempt 1: 200", "attempt 2:")
        places = [text.index(step, text.index("What happened")) for step in steps]
        assert places == sorted(places)
        assert "<svg" in text
        assert "weixin://wxpay" in text

    async def test_what_an_order_will_do_by_itself_is_said(self, visitor: Visitor) -> None:
        """At a moment, or at a query."""
        await visitor.pay("A100401", "401")
        await visitor.pay("A100403", "403")
        assert "paid at 01-01" in (await visitor.page(f"{ORDER}A100401")).replace("12-31", "01-01")
        assert "paid at query 2 (so far 0)" in await visitor.page(f"{ORDER}A100403")
        await visitor.sandbox.advance(10)  # nobody asks, and the page knows
        assert 'class="badge paid"' in await visitor.page(f"{ORDER}A100401")

    async def test_notifications_say_when_the_next_one_comes(self, visitor: Visitor) -> None:
        """The next try while there is one, then that it is done, or given up."""
        visitor.merchant.answer = b"no"
        await visitor.preorder()
        visitor.sandbox.customer_pays("A100012")
        await visitor.sandbox.advance(0)
        text = await visitor.page("/console/notifications")
        assert "200, not success" in text
        assert "0 ms" in text
        assert re.search(r'data-label="Next try">\d\d-\d\d \d\d:\d\d:\d\d<', text)
        await visitor.sandbox.advance(20_000)
        text = await visitor.page("/console/notifications")
        assert text.count('data-label="Next try">given up<') == 1
        assert text.count('data-label="Next try">see the later attempt<') == 11

    async def test_what_is_not_there_is_404(self, visitor: Visitor) -> None:
        """Orders, messages, files; and numbers that are none."""
        for path in (f"{ORDER}nobody", "/console/message?id=7", "/console/message?id=²"):
            reply = await visitor.get(path)
            assert reply.status_code == 404
            assert "There is no such page" in reply.text
        huge = "9" * 5000
        for path in (f"/console/doctor?message={huge}", "/console/static/site.py", "/console/x"):
            assert (await visitor.get(path)).status_code == 404

    async def test_the_root_leads_to_the_console(self, visitor: Visitor) -> None:
        """``/console`` without its slash too; what only begins like it is the gateway's."""
        assert said(await visitor.get("/console")) == "/console/"
        assert (await visitor.get("/consolex")).text == "no such endpoint"

    async def test_a_fast_clock_says_so(self) -> None:
        """Times on the page are the sandbox's own."""
        fast = Visitor(clock=FastClock(50))
        async with fast.sandbox, fast.client:
            assert "runs 50 × as fast" in await fast.page("/console/")


class TestButtons:
    """What people do through the pages."""

    async def act(self, visitor: Visitor, path: str, number: str, **form: str) -> str:
        form = {"mch_id": "00000001", "out_trade_no": number, **form}
        location = said(await visitor.post(path, form))
        return await visitor.page(location)

    @pytest.mark.parametrize(
        ("deed", "status"),
        [
            ("CUSTOMER_PAYS", Status.PAID),
            ("CUSTOMER_DECLINES", Status.FAILED),
            ("GATEWAY_CLOSES", Status.CLOSED),
            ("CUSTOMER_LEAVES", Status.OPEN),
        ],
    )
    async def test_deeds_change_an_open_order(
        self, visitor: Visitor, deed: str, status: Status
    ) -> None:
        """Paying, a wrong password, giving up, expiring; and nothing once it is over."""
        await visitor.preorder("A100012", "1000")
        text = await self.act(visitor, "/console/order/act", "A100012", deed=deed)
        assert "Done." in text
        await visitor.sandbox.advance(5)  # a customer who left does not pay after 2 s
        assert visitor.sandbox.ledger.order("A100012").status is status
        if status is not Status.OPEN:
            text = await self.act(visitor, "/console/order/act", "A100012", deed=deed)
            assert "Only an open order" in text

    async def test_the_cashier_queries_refunds_and_cancels(self, visitor: Visitor) -> None:
        """Through the gateway itself, whose answer is shown, refusals too."""
        await visitor.pay()
        call = "/console/order/call"
        text = await self.act(visitor, call, "A100011", call="orderquery")
        assert "answers orderquery: SUCCESS 10000" in text
        text = await self.act(visitor, call, "A100011", call="refund", yuan="4")
        assert "RA10001101" in text
        assert 'value="6.00"' in text
        text = await self.act(visitor, call, "A100011", call="refund", yuan="6.01")
        assert "20008" in text
        text = await self.act(visitor, call, "A100011", call="refund", yuan="-1")
        assert "An amount is a number of yuan" in text
        text = await self.act(visitor, call, "A100011", call="cancel")
        assert "20011" in text

    async def test_orders_are_made_with_a_scenario(self, visitor: Visitor) -> None:
        """By scan or by code, with either wallet; what is wrong in the form is said."""
        form = {"mch_id": "00000001", "yuan": "1", "scenario": "405", "notify_url": ""}
        for how in ("scan", "pay"):
            for wallet in ("WECHAT", "ALIPAY"):
                given = {**form, "how": how, "wallet": wallet}
                location = said(await visitor.post("/console/orders/new", given))
                assert "405 the customer walks away" in await visitor.page(location)
        assert len(visitor.sandbox.ledger.orders) == 4
        usual = {**form, "how": "scan", "wallet": "WECHAT", "scenario": ""}
        for wrong, name in [({"yuan": "1.234"}, "amount"), ({"notify_url": "ftp://x"}, "url")]:
            reply = await visitor.post("/console/orders/new", usual | wrong)
            assert f"said={name}" in said(reply)
        for wrong in ({"how": "x"}, {"wallet": "CASH"}, {"scenario": "1"}, {"scenario": "x"}):
            reply = await visitor.post("/console/orders/new", usual | wrong)
            assert reply.status_code == 400
        refused = {**usual, "mch_id": "00000099"}
        reply = await visitor.post("/console/orders/new", refused)
        assert "20005" in await visitor.page(said(reply))

    async def test_notifications_are_sent_by_hand(self, visitor: Visitor) -> None:
        """The true one again, a forged one, any wrong one; not one about an open order."""
        await visitor.preorder()
        form = {"mch_id": "00000001", "out_trade_no": "A100012"}
        again = {**form, "kind": "again", "from": "order"}
        assert (await visitor.post("/console/notify", again)).status_code == 400
        visitor.sandbox.customer_pays("A100012")
        await visitor.sandbox.advance(0)
        assert "/console/order?" in said(await visitor.post("/console/notify", again))
        for kind, times in [("forged", 1), ("duplicate", 2), ("unreadable", 1)]:
            before = len(visitor.merchant.heard)
            reply = await visitor.post("/console/notify", {**form, "kind": kind})
            assert "Sent. The answer: accepted" in await visitor.page(said(reply))
            assert len(visitor.merchant.heard) == before + times
        before = len(visitor.merchant.heard)
        assert "done" in said(await visitor.post("/console/notify", {**form, "kind": "late"}))
        await visitor.sandbox.advance(60)
        assert len(visitor.merchant.heard) == before + 1
        text = await visitor.page("/console/notifications")
        assert "forged" in text
        assert "by hand" in text
        await visitor.pay()  # has no notify_url
        form["out_trade_no"] = "A100011"
        assert (await visitor.post("/console/notify", {**form, "kind": "x"})).status_code == 400

    async def test_faults_are_switched_on_and_off(self, visitor: Visitor) -> None:
        """With probability, endpoint and seconds; the page shows which fault struck."""
        add = "/console/faults/add"
        fault = {"fault": "wrong-sign", "probability": "1", "endpoint": "pay", "seconds": ""}
        assert "done" in said(await visitor.post(add, fault))
        await visitor.pay()
        assert "signed wrongly" in await visitor.page("/console/message?id=1")
        assert "unexplained" in await visitor.page("/console/doctor?message=1&of=reply")
        for wrong in ({"probability": "2"}, {"probability": "x"}, {"seconds": "-1"}):
            assert "said=fault" in said(await visitor.post(add, fault | wrong))
        for wrong in ({"fault": "x"}, {"endpoint": "x"}):
            assert (await visitor.post(add, fault | wrong)).status_code == 400
        remove = "/console/faults/remove"
        await visitor.post(remove, {"plan": "0", "fault": "slow"})  # another one stands there now
        assert len(visitor.sandbox.faults.plans) == 1
        await visitor.post(remove, {"plan": "0", "fault": "wrong-sign"})
        assert visitor.sandbox.faults.plans == []
        await visitor.post(add, fault)
        await visitor.post(remove, {"plan": "all"})
        assert visitor.sandbox.faults.plans == []
        assert (await visitor.post(remove, {"plan": "3"})).status_code == 404

    async def test_the_same_seed_breaks_the_same_requests(self, visitor: Visitor) -> None:
        """Set from the page, and only to a whole number."""
        visitor.sandbox.faults.add(Fault.HTTP_502, probability=0.5)
        runs = []
        for run in ("A", "B"):
            assert "done" in said(await visitor.post("/console/faults/seed", {"seed": "5"}))
            for number in range(12):
                await visitor.pay(f"{run}{number:06d}")
            known = visitor.sandbox.ledger.orders
            runs.append([("00000001", f"{run}{number:06d}") in known for number in range(12)])
        assert runs[0] == runs[1]
        assert len(set(runs[0])) == 2
        for wrong in ("", "x", "1.5", "inf"):
            assert "said=fault" in said(await visitor.post("/console/faults/seed", {"seed": wrong}))

    async def test_a_scenario_can_be_chosen_for_everything(self, visitor: Visitor) -> None:
        """Whatever the amount says, until it is taken back; for refunds too."""
        choose = "/console/scenario"
        await visitor.post(choose, {"of": "pay", "scenario": "406"})
        await visitor.pay("A100001")
        assert visitor.sandbox.ledger.order("A100001").status is Status.FAILED
        await visitor.post(choose, {"of": "pay", "scenario": ""})
        await visitor.pay("A100002")
        assert visitor.sandbox.ledger.order("A100002").status is Status.PAID
        await visitor.post(choose, {"of": "refund", "scenario": "507"})
        text = await self.act(visitor, "/console/order/call", "A100002", call="refund", yuan="1")
        assert "20008" in text
        for wrong in ({"of": "pay", "scenario": "501"}, {"of": "refund", "scenario": "x"}):
            assert (await visitor.post(choose, wrong)).status_code == 400

    async def test_a_client_cannot_choose_a_scenario_that_way(self, visitor: Visitor) -> None:
        """The name under which the choice travels is taken out of what arrives."""
        await visitor.pay(**{"(scenario)": "406"})
        order = visitor.sandbox.ledger.order("A100011")
        assert order.status is Status.PAID
        assert "(scenario)" not in order.asked

    async def test_forms_that_make_no_sense_are_refused(self, visitor: Visitor) -> None:
        """Unknown orders and deeds; forms larger than any message."""
        await visitor.pay()
        order = {"mch_id": "00000001", "out_trade_no": "A100011"}
        for path in ("/console/order/act", "/console/order/call"):
            assert (await visitor.post(path, {"mch_id": "x"})).status_code == 404
            assert (await visitor.post(path, {**order, "deed": "x", "call": "x"})).status_code == 400
        reply = await visitor.post("/console/doctor", {"message": "x" * LARGEST_FORM})
        assert reply.status_code == 413


class TestDoctor:
    """The page that says why a signature is wrong."""

    async def test_a_bad_signature_leads_to_its_verdict(self, visitor: Visitor) -> None:
        """From the list of messages, in both languages."""
        await visitor.pay(spoil=True)  # type: ignore[arg-type]
        text = await visitor.page("/console/messages")
        assert "20002" in text
        link = re.search(r'href="(/console/doctor\?message=\d+)"', text)
        assert link is not None
        assert "Verdict on message 1" in await visitor.page(link[1])
        assert "诊断结果" in await visitor.page(link[1], "zh")

    async def test_a_pasted_message_is_examined(self, visitor: Visitor) -> None:
        """With a key of its own or the sandbox's; neither key nor message come back."""
        key = "another-key-0123456789abcdef0123"
        fields = {"body": "b", "mch_id": "9", "total_fee": "100", "openid": OPENID}
        other = Credentials(agent_id="1", key=key, pid="p")
        lower = urlencode({**fields, "sign": signature(fields, other).lower()})
        reply = await visitor.post("/console/doctor", {"message": lower, "key": key})
        assert "sign-lowercase" in reply.text
        assert "The signature is wrong, and this explains it" in reply.text
        sign = signature(fields, visitor.sandbox.credentials)
        message = {"message": urlencode(fields), "sign": sign, "algorithm": "MD5", "order": ""}
        right = await visitor.post("/console/doctor", message)
        assert "The signature is right." in right.text
        for text in (reply.text, right.text):
            assert not any(secret in text for secret in (key, KEY, OPENID, sign, sign.lower()))

    async def test_what_cannot_be_read_is_said(self, visitor: Visitor) -> None:
        """Nothing, nonsense, algorithms that do not exist."""
        for message, words in [("", "Paste a message first"), ("<html>", "cannot be read")]:
            reply = await visitor.post("/console/doctor", {"message": message})
            assert words in reply.text
        wrong = {"message": "a=1", "algorithm": "ROT13"}
        assert (await visitor.post("/console/doctor", wrong)).status_code == 400
        await visitor.client.get("/")
        assert "cannot be read" in await visitor.page("/console/doctor?message=1")


class TestSecrets:
    """M-27 on every page."""

    async def test_no_secret_is_on_any_page(self, visitor: Visitor) -> None:
        """Not the key, nor a payment code, nor who paid, in whatever form they came."""
        await visitor.pay()
        await visitor.pay("A100013", spoil=True)  # type: ignore[arg-type]
        buyer = {"trade_type": "JSPAY", "sub_appid": "wx1", "buyer_id": OPENID}
        await visitor.preorder("A100012", "1000", **buyer)
        await visitor.send("authcodetoopenid", mch_id="00000001", sub_appid="wx1", auth_code=AUTH_CODE)
        await visitor.sandbox.advance(3)
        visitor.merchant.answer = visitor.merchant.heard[-1]  # quotes what it was sent
        form = {"mch_id": "00000001", "out_trade_no": "A100012", "kind": "again"}
        await visitor.post("/console/notify", form)
        numbers = range(1, len(visitor.console.journal) + 1)
        pages = [*PAGES]
        pages += [f"/console/message?id={number}" for number in numbers]
        pages += [f"/console/doctor?message={number}&of=reply" for number in numbers]
        ours = "oHmbktxFlpoEPo2Ol5GOJniV2q-A"  # whom the sandbox says to have paid
        for path in pages:
            text = await visitor.page(path)
            assert not [secret for secret in (*CANARIES, ours) if secret in text], path
        assert "***" in text
        assert KEY not in repr(list(visitor.console.journal))

    async def test_what_people_wrote_is_never_markup(self, visitor: Visitor) -> None:
        """Order numbers, attachments, paths, field names, answers: all are text."""
        await visitor.pay(attach=SCRIPT, body=f"'\"{SCRIPT}")
        await visitor.pay(f"{SCRIPT}", spoil=True)  # type: ignore[arg-type]
        await visitor.pay("A100019", **{SCRIPT: SCRIPT})
        await visitor.client.get(f"/{SCRIPT}")
        visitor.merchant.answer = SCRIPT.encode()
        await visitor.preorder("A100012", "1000", attach=SCRIPT)
        await visitor.sandbox.advance(3)
        paths = [*PAGES, f"{ORDER}A100019"]
        paths += [f"/console/message?id={number}" for number in (3, 4, 5)]
        paths += [f"/console/?{urlencode({'q': SCRIPT})}", f"/console/messages?q={SCRIPT}"]
        paths += [f"/console/?said={SCRIPT}", "/console/doctor?message=2"]
        for path in paths:
            text = await visitor.page(path)
            assert "<script>" not in text, path
        assert "&lt;script&gt;" in await visitor.page("/console/message?id=1")

    async def test_the_journal_is_bounded(self) -> None:
        """It remembers the latest, finds them by number, and forgets the rest."""
        journal = Journal(3)
        request, response = Request(method="GET", path="/"), Response(200, "", b"")
        for _ in range(5):
            journal.add(FakeClock().now(), request, response, None)
        assert [entry.number for entry in journal] == [3, 4, 5]
        assert [journal.find(n) is not None for n in range(7)] == [False] * 3 + [True] * 3 + [False]
        few = Visitor(kept=2)
        async with few.sandbox, few.client:
            for number in range(4):
                await few.pay(f"A10001{number}")
            assert len(few.console.journal) == 2
            assert (await few.get("/console/message?id=1")).status_code == 404


class TestStrangers:
    """Who gets in, and which posts count."""

    async def test_posts_of_other_sites_are_refused(self, visitor: Visitor) -> None:
        """Without the form's token, from another origin, or by the browser's own word."""
        await visitor.preorder()
        form = {"mch_id": "00000001", "out_trade_no": "A100012", "deed": "CUSTOMER_PAYS"}
        right = {**form, "form_token": visitor.guard.form_token}
        act = "/console/order/act"
        for given, headers in [
            (form, OURS),
            ({**form, "form_token": "guess"}, OURS),
            (right, {"origin": "http://evil.invalid"}),
            (right, {"origin": "null"}),
            (right, {"origin": "http://127.0.0.1:81"}),
            (right, {"sec-fetch-site": "cross-site"}),
            (right, {"sec-fetch-site": "same-site"}),
        ]:
            reply = await visitor.client.post(act, data=given, headers=headers)
            assert reply.status_code == 403
        assert visitor.sandbox.ledger.order("A100012").status is Status.OPEN
        assert (await visitor.client.post(act, data=right)).status_code == 303

    async def test_nothing_changes_by_get(self, visitor: Visitor) -> None:
        """Addresses that change something know no other method."""
        for path in site._POSTS.keys() - site._PAGES.keys():
            assert (await visitor.get(path)).status_code == 405

    async def test_every_answer_carries_the_headers(self, visitor: Visitor) -> None:
        """No inline script, no frame, nothing kept, nothing told to others; errors too."""
        for path in ("/console/", "/console/static/console.js", "/console/nowhere", "/console"):
            headers = (await visitor.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert headers["cache-control"] == "no-store"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "same-origin"
        text = "".join([await visitor.page(path) for path in ("/console/", "/console/faults")])
        assert not re.search(r"<style|style=|\son[a-z]+=|javascript:|https?://(?!127)", text)

    async def test_on_loopback_only_loopback_names_are_answered(self, visitor: Visitor) -> None:
        """A page whose name was made to point here reaches neither console nor control."""
        for path in ("/console/", "/_sandbox/books"):
            assert (await visitor.get(path, host="evil.invalid")).status_code == 403
            assert (await visitor.get(path, host="[::1")).status_code == 403
            for host in ("localhost:1", "127.0.0.1", "[::1]:80", "127.8.9.1"):
                assert (await visitor.get(path, host=host)).status_code == 200

    async def test_elsewhere_a_token_is_needed(self) -> None:
        """Pages send to the login form, everything else is refused; the gateway stays open."""
        visitor = Visitor(token=TOKEN)
        async with visitor.sandbox, visitor.client:
            assert said(await visitor.get("/console/")) == "/console/login"
            assert said(await visitor.get("/console/events")) == "/console/login"
            assert (await visitor.post("/console/faults/remove")).status_code == 401
            assert (await visitor.get("/_sandbox/books")).status_code == 401
            bearer = {"authorization": f"Bearer {TOKEN}"}
            assert (await visitor.get("/_sandbox/books", **bearer)).status_code == 200
            assert (await visitor.get("/console/", **bearer)).status_code == 200
            for wrong in ("Bearer x", TOKEN, f"Basic {TOKEN}", "Bearer"):
                assert (await visitor.get("/console/", authorization=wrong)).status_code == 303
            await visitor.pay()
            assert visitor.sandbox.requests == {"pay": 1}

    async def test_logging_in_leaves_a_cookie_that_is_not_the_token(self) -> None:
        """Only this browser's own, out of reach of scripts; logging out forgets it."""
        visitor = Visitor(token=TOKEN)
        async with visitor.sandbox, visitor.client:
            login = await visitor.page("/console/login")
            assert "Log in" in login
            wrong = await visitor.post("/console/login", {"token": "guess"})
            assert wrong.status_code == 401
            assert "That is not the token." in wrong.text
            reply = await visitor.post("/console/login", {"token": f" {TOKEN} "})
            cookie = reply.headers["set-cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=strict" in cookie
            assert TOKEN not in cookie
            assert "others can reach it" in await visitor.page("/console/")
            assert said(await visitor.post("/console/logout")) == "/console/login"
            assert said(await visitor.get("/console/")) == "/console/login"
            for broken in ("chaoying_console=", "chaoying_console=x", "a=\x01; =;"):
                assert said(await visitor.get("/console/", cookie=broken)) == "/console/login"

    def test_a_reachable_host_needs_a_good_token(self) -> None:
        """None, or one that can be guessed, is refused before anything listens."""
        with pytest.raises(ValueError, match="a token is needed"):
            Guard("0.0.0.0")
        with pytest.raises(ValueError, match="at least 16"):
            Guard("0.0.0.0", "short")
        assert TOKEN not in repr(Guard("0.0.0.0", TOKEN))
        assert new_token() != new_token()
        assert [is_loopback(each) for each in ("::1", "LOCALHOST", "10.0.0.1", "a")] == [
            *(True, True),
            *(False, False),
        ]

    async def test_serving_elsewhere_without_a_token_fails_at_once(self) -> None:
        """As an error of the caller's, and nothing listens."""
        async with Sandbox(clock=SystemClock()) as sandbox:
            with pytest.raises(ValueError, match="a token is needed"):
                async with sandbox.serve(host="0.0.0.0"):
                    pass


class TestLive:
    """Pages hear of changes."""

    async def test_a_change_reaches_who_listens(self) -> None:
        """At once; while nothing changes there is a tick, and an end when the server ends."""
        clock = FakeClock()
        bell = Bell(clock)
        stream = bell.stream()
        assert await anext(stream) == "retry: 1000\n\n"
        bell.ring()
        assert "event: changed" in await anext(stream)
        waiting = clock.run(anext(stream))
        assert "event: tick" in await waiting
        bell.close()
        assert [each async for each in stream] == []

    async def test_the_server_ends_while_browsers_listen(self) -> None:
        """A stream that is open does not hold it up, and says what happened before."""
        async with Sandbox(clock=SystemClock()) as sandbox:
            async with sandbox.serve(console=True) as url, httpx.AsyncClient() as client:
                assert (await client.get(f"{url}/console/")).status_code == 200
                async with client.stream("GET", f"{url}/console/events") as stream:
                    lines = stream.aiter_lines()
                    assert await anext(lines) == "retry: 1000"
                    sandbox._runtime.gateway.requests.clear()
                    await client.get(f"{url}/nothing")
                    assert "event: changed" in [await anext(lines), await anext(lines)]
            assert sandbox._runtime.watcher is None
            async with sandbox.serve() as url, httpx.AsyncClient() as client:
                assert (await client.get(f"{url}/console/")).status_code == 404


class TestTexts:
    """Two languages, both complete."""

    def test_both_tables_hold_the_same_names(self) -> None:
        """With the same values to fill in, and nothing empty."""
        assert ENGLISH.keys() == CHINESE.keys()
        for name in ENGLISH:
            both = [_blanks(table[name]) for table in (ENGLISH, CHINESE)]
            assert both[0] == both[1], name
            assert all(table[name].strip() for table in (ENGLISH, CHINESE))

    def test_chinese_is_chinese(self) -> None:
        """A text that was forgotten would still be in English."""
        alike = {name for name in ENGLISH if ENGLISH[name] == CHINESE[name]}
        assert alike == set()
        plain = {name for name in CHINESE if not re.search(r"[\u4e00-\u9fff]", CHINESE[name])}
        assert plain == {"other-language", "order.request"}

    def test_every_text_that_is_asked_for_exists(self) -> None:
        """In templates and code; and whatever is composed of a name and a number."""
        asked = set(_asked())
        assert asked <= ENGLISH.keys()
        assert {f"scenario.{number}" for number in SCENARIOS} <= ENGLISH.keys()
        assert {f"refund.{number}" for number in REFUND_SCENARIOS} <= ENGLISH.keys()
        assert {f"fault.{fault}" for fault in Fault} <= ENGLISH.keys()
        assert {f"state.{status}" for status in Status} <= ENGLISH.keys()

    def test_no_text_is_left_over(self) -> None:
        """What nobody asks for is taken out."""
        composed = ("scenario.", "refund.", "fault.", "state.", "event.", "noted.", "said.")
        composed += ("error.", "signature.", "message.cut.", "doctor.side.", "orders.how.")
        asked = set(_asked())
        unused = {name for name in ENGLISH if name not in asked and not name.startswith(composed)}
        assert unused == set()

    @pytest.mark.parametrize(
        ("header", "language"),
        [
            ("", "en"),
            ("zh", "zh"),
            ("fr, zh-TW;q=0.3", "zh"),
            ("zh;q=0.2, en;q=0.9", "en"),
            ("zh;q=0, de", "en"),
            ("zh;q=1.2.3, ;;, *", "en"),
        ],
    )
    def test_the_browser_chooses_the_language(self, header: str, language: str) -> None:
        """The one that it likes best of ours; English if it likes neither."""
        assert preferred(header) == language


def _blanks(text: str) -> set[str | None]:
    return {field for _, field, _, _ in Formatter().parse(text) if field}


def _asked() -> Iterator[str]:
    """Names in quotes: all in the code that are texts, and all that templates hand to ``t``."""
    for path in CONSOLE.glob("*.py"):
        if path.stem not in {"english", "chinese"}:
            quoted = re.findall(r'"([a-z-]+(?:\.[a-z-]+)*)"', path.read_text("utf-8"))
            yield from (name for name in quoted if name in ENGLISH)
    for path in CONSOLE.glob("templates/*.html"):
        for call in re.findall(r"""\bt\(((?:"[^"]*"|'[^']*'|[^()"'])*)""", path.read_text("utf-8")):
            plain = re.sub(r"""["'][^"']*["'] ~""", "", call.partition(",")[0])
            yield from re.findall(r"""["']([a-z-]+(?:\.[a-z-]+)*)["']""", plain)
