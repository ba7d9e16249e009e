"""The console in process: every page in both languages, and what its buttons do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest

from chaoying_async import Credentials, Reply
from chaoying_async.fieldwords import words_of
from chaoying_async.sandbox import Fault, Status
from chaoying_async.sandbox.console.display import answered_fields
from chaoying_async.sandbox.console.site import LARGEST_FORM
from chaoying_async.sandbox.document.signature import signature
from chaoying_async.sandbox.speed import FastClock
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.api.merchant import GetMchSmsValidResult
from chaoying_async.sansio.model import fields_of, name_of, wire_name_of
from tests.factories import CREDENTIALS, KEY, OPENID
from tests.sandbox.console_visitor import ORDER, PAGES, Visitor, said
from tests.sandbox_calls import VALID


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    made = Visitor()
    async with made.sandbox, made.client:
        yield made


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
        for query, there in [
            ("q=b2", "B200022"),
            ("state=PAID", "A100011"),
            ("wallet=ALIPAY", "B"),
        ]:
            text = await visitor.page(f"/console/?{query}")
            assert "1–1 of 1 that fit the filter, 2 in all" in text
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

    async def test_every_field_says_what_it_is(self, visitor: Visitor) -> None:
        """In the language of the visitor, with the unit: the same words as in --help and docs."""
        await visitor.pay("A100011")
        for page in (f"{ORDER}A100011", "/console/message?id=1"):
            text = await visitor.page(page)
            assert '<dt title="The order amount in fen, before any coupon.">total_fee</dt>' in text
            text = await visitor.page(page, "zh")
            assert '<dt title="总金额，即订单金额，单位分">total_fee</dt>' in text
        assert '<dt title="订单应付金额，单位分，用它核对订单">base_fee</dt>' in text
        assert '<dt title="代理商编号">agent_id</dt>' in text
        assert '<dt title="通讯状态">state</dt>' in text

    async def test_a_field_is_known_by_its_name_in_the_message(self, visitor: Visitor) -> None:
        """``code`` of GetMchSMSValid is a number of minutes (C 26); of its refusal, a status."""
        await visitor.send("GetMchSMSValid", mobile="13800000000")
        await visitor.send("GetMchSMSValid")  # the number is missing
        minutes, status = words_of(GetMchSmsValidResult, "valid_minutes"), words_of(Reply, "code")
        assert "minutes" in minutes.english
        for page, words, value in ((1, minutes, "20"), (2, status, "20004")):
            for language, title in (("en", words.plain), ("zh", words.chinese)):
                text = await visitor.page(f"/console/message?id={page}", language)
                assert f'<dt title="{title}">code</dt><dd>{value}</dd>' in text

    def test_every_wire_name_has_the_words_of_its_field(self) -> None:
        """In every reply that names a field otherwise than its model does."""
        renamed = [
            (request, field)
            for request in REQUESTS
            for field in fields_of(request.result_type)
            if wire_name_of(field) not in ("", name_of(field))
        ]
        assert renamed
        for request, field in renamed:
            given = {"state": "SUCCESS", wire_name_of(field): "1"}
            shown = answered_fields(given, request.endpoint.name, "en", CREDENTIALS)
            words = words_of(request.result_type, name_of(field)).plain
            assert (wire_name_of(field), "1", words) in shown

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

    async def test_a_scanned_links_signature_is_read_as_the_gateway_reads_it(
        self, visitor: Visitor
    ) -> None:
        """The code's number, which stands in the path, may be signed along (C 97)."""
        own = {"agent_id": "13000000000000000", "version": "1.0"}
        fields = {**VALID["QrConfGet"], **own}
        for signed in (fields, {**fields, "code_number": "00000001"}):
            sign = signature(signed, visitor.sandbox.credentials)
            link = f"/qrpay/00000001?{urlencode({**fields, 'sign': sign})}"
            await visitor.get(link, **{"user-agent": "CySoftPayBox"})
        text = await visitor.page("/console/messages")
        assert text.count('class="badge sig-right"') == 2
        assert "/qrpay/00000001" in await visitor.page("/console/message?id=2")

    async def test_what_is_not_there_is_404(self, visitor: Visitor) -> None:
        """Orders, messages, files; and numbers that are none."""
        for path in (f"{ORDER}nobody", "/console/message?id=7", "/console/message?id=²"):
            reply = await visitor.get(path)
            assert reply.status_code == 404
            assert "There is no such page" in reply.text
        huge = "9" * 5000
        for path in (f"/console/doctor?message={huge}", "/console/static/site.py"):
            assert (await visitor.get(path)).status_code == 404

    async def test_the_root_leads_to_the_console(self, visitor: Visitor) -> None:
        """``/console`` without its slash too; what only begins like it is the gateway's."""
        assert said(await visitor.get("/console")) == "/console/"
        assert (await visitor.get("/consolex")).text.startswith("no such endpoint")

    async def test_a_fast_clock_says_so(self) -> None:
        """Times on the page are the sandbox's own."""
        fast = Visitor(clock=FastClock(50))
        async with fast.sandbox, fast.client:
            assert "runs 50 × as fast" in await fast.page("/console/")


class TestButtons:
    """What people do through the pages."""

    async def act(self, visitor: Visitor, path: str, number: str, **form: str) -> str:
        form = {"mch_id": "00000001", "out_trade_no": number, **form}
        reply = await visitor.post(path, form)
        return reply.text if reply.status_code == 422 else await visitor.page(said(reply))

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
            assert "only an open order" in text
            assert "“Notify again”" in text

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
        for wrong in ({"how": "x"}, {"wallet": "CASH"}, {"scenario": "1"}, {"scenario": "x"}):
            reply = await visitor.post("/console/orders/new", usual | wrong)
            assert reply.status_code == 400

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
            text = await visitor.page(said(reply))
            assert "Sent. The answer: accepted" in text
            assert ("although it is forged" in text) == (kind == "forged" or before > 2)
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
        assert "sign-placeholder" in await visitor.page("/console/doctor?message=1&of=reply")
        for wrong in ({"probability": "2"}, {"probability": "x"}, {"seconds": "-1"}):
            assert (await visitor.post(add, fault | wrong)).status_code == 422
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
            reply = await visitor.post("/console/faults/seed", {"seed": wrong})
            assert reply.status_code == 422

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
            assert (
                await visitor.post(path, {**order, "deed": "x", "call": "x"})
            ).status_code == 400
        reply = await visitor.post("/console/doctor", {"message": "x" * LARGEST_FORM})
        assert reply.status_code == 413


class TestDoctor:
    """The page that says why a signature is wrong."""

    async def test_a_bad_signature_leads_to_its_verdict(self, visitor: Visitor) -> None:
        """From the list of messages, in both languages."""
        await visitor.pay(spoil="yes")
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
