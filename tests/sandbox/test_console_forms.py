"""The console's forms: what is wrong is said in red, and nobody has to type it again."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from html import unescape

import pytest

from chaoying_async.sandbox import Fault
from chaoying_async.sandbox.console import site
from chaoying_async.sandbox.console.amounts import fen_of
from tests.sandbox.console_visitor import ORDER, OURS, Visitor, said

NEW = "/console/orders/new"
FORM = {
    "mch_id": "00000002",
    "how": "pay",
    "wallet": "ALIPAY",
    "yuan": "1",
    "scenario": "406",
    "notify_url": "http://shop.invalid/notify",
}
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    made = Visitor()
    async with made.sandbox, made.client:
        yield made


def banner(text: str) -> str:
    """The sentence in red; empty if there is none."""
    found = re.search(r'<p class="problem" id="said" role="alert"[^>]*>([^<]*)</p>', text)
    return unescape(found[1]) if found else ""


def value(text: str, name: str) -> str:
    """The value that stands in a field."""
    field = re.search(rf'<input id="{name}"[^>]*>', text)
    assert field is not None
    found = re.search(r' value="([^"]*)"', field[0])
    return unescape(found[1]) if found else ""


class TestNewOrder:
    """The form above the list."""

    async def test_it_stands_above_the_list(self, visitor: Visitor) -> None:
        """Open while there is no order, else one click away."""
        assert '<details class="panel" id="new" open>' in await visitor.page("/console/")
        await visitor.pay()
        text = await visitor.page("/console/")
        assert '<details class="panel" id="new">' in text
        assert text.index(f'action="{NEW}"') < text.index('id="orders"')

    @pytest.mark.parametrize("language", ["en", "zh"])
    @pytest.mark.parametrize(
        ("wrong", "en", "zh"),
        [
            ({"yuan": "1.234"}, "An amount is", "金额"),
            ({"yuan": "1,20"}, "An amount is", "金额"),
            ({"yuan": f"'\"{SCRIPT}"}, "An amount is", "金额"),
            ({"yuan": "9" * 5000}, "An amount is", "金额"),
            ({"yuan": "１２"}, "An amount is", "金额"),
            ({"notify_url": "ftp://x"}, "notify_url", "notify_url"),
            ({"mch_id": "00000099"}, "20005", "20005"),
            ({"mch_id": SCRIPT}, "2000", "2000"),
            ({"scenario": "416"}, "20013", "20013"),
        ],
    )
    async def test_it_keeps_what_was_typed(
        self, visitor: Visitor, wrong: dict[str, str], en: str, zh: str, language: str
    ) -> None:
        """Whoever refuses it: the console itself or the gateway."""
        typed = FORM | wrong
        if typed["scenario"] == "416":
            typed |= {"how": "pay", "wallet": "WECHAT"}
        reply = await visitor.post(NEW, typed, **{"accept-language": language})
        assert reply.status_code == 422
        assert {"en": en, "zh": zh}[language] in banner(reply.text)
        assert SCRIPT not in reply.text
        assert value(reply.text, "yuan") == typed["yuan"]
        assert value(reply.text, "notify_url") == typed["notify_url"]
        for choice in ("pay", typed["scenario"]):
            assert f'<option value="{choice}" selected>' in reply.text
        assert f"<option selected>{typed['wallet']}</option>" in reply.text
        assert ("<option selected>00000002</option>" in reply.text) == ("mch_id" not in wrong)
        assert '<details class="panel" id="new" open>' in reply.text
        assert visitor.sandbox.ledger.orders == {}

    async def test_a_refused_form_can_be_reloaded(self, visitor: Visitor) -> None:
        """It names its page's address, for the script and for choosing a language."""
        reply = await visitor.post(NEW, FORM | {"yuan": "x"})
        assert 'data-address="/console/"' in reply.text
        assert '<input type="hidden" name="back" value="/console/">' in reply.text

    async def test_an_order_that_was_made_is_shown(self, visitor: Visitor) -> None:
        """Even if its reply was lost: a second try would make a second order."""
        visitor.sandbox.faults.add(Fault.RESET_AFTER)
        text = await visitor.page(said(await visitor.post(NEW, FORM)))
        assert "connection was cut" in banner(text)
        assert len(visitor.sandbox.ledger.orders) == 1


class TestOneOrder:
    """The forms on the page of an order."""

    async def test_a_refund_that_is_refused_keeps_its_amount(self, visitor: Visitor) -> None:
        """What is no amount, and what the gateway refuses; the page then says what is left."""
        await visitor.pay()
        form = {"mch_id": "00000001", "out_trade_no": "A100011", "call": "refund"}
        await visitor.post("/console/order/call", {**form, "yuan": "4"})
        for typed, words in (("-1", "An amount is"), ("6.01", "20008"), (SCRIPT, "An amount")):
            reply = await visitor.post("/console/order/call", {**form, "yuan": typed})
            assert reply.status_code == 422
            assert words in banner(reply.text)
            assert value(reply.text, "refund-yuan") == typed
            assert 'aria-invalid="true"' in reply.text
        assert f'data-address="{ORDER}A100011"'.replace("&", "&amp;") in reply.text

    async def test_a_refund_whose_reply_is_lost_is_not_offered_again(
        self, visitor: Visitor
    ) -> None:
        """It was made: its page is shown, in which a reload sends nothing."""
        await visitor.pay()
        visitor.sandbox.faults.add(Fault.RESET_AFTER)
        form = {"mch_id": "00000001", "out_trade_no": "A100011", "call": "refund", "yuan": "4"}
        text = await visitor.page(said(await visitor.post("/console/order/call", form)))
        assert "connection was cut" in banner(text)
        assert "RA10001101" in text
        assert value(text, "refund-yuan") == "6.00"

    async def test_good_news_is_not_red(self, visitor: Visitor) -> None:
        """How an order stands is no error, whatever it is; a shop that takes a forgery is one."""
        form = FORM | {"how": "scan", "yuan": "14.05", "scenario": ""}
        text = await visitor.page(said(await visitor.post(NEW, form)))
        assert 'class="said" id="said" role="status"' in text
        key = next(iter(visitor.sandbox.ledger.orders))
        order = {"mch_id": key[0], "out_trade_no": key[1]}
        for call, red in (("orderquery", False), ("cancel", False), ("cancel", False)):
            reply = await visitor.post("/console/order/call", {**order, "call": call})
            assert bool(banner(await visitor.page(said(reply)))) == red, call
        for answer, red in ((b"success", True), (b"no", False)):
            visitor.merchant.answer = answer
            reply = await visitor.post("/console/notify", {**order, "kind": "forged"})
            assert bool(banner(await visitor.page(said(reply)))) == red, answer

    async def test_a_cancel_that_is_refused_is_red(self, visitor: Visitor) -> None:
        """After a refund, it is."""
        await visitor.pay()
        order = {"mch_id": "00000001", "out_trade_no": "A100011"}
        await visitor.post("/console/order/call", {**order, "call": "refund", "yuan": "1"})
        reply = await visitor.post("/console/order/call", {**order, "call": "cancel"})
        assert "20011" in banner(await visitor.page(said(reply)))


class TestOtherForms:
    """The other forms that somebody types into."""

    async def test_faults_keep_what_was_typed(self, visitor: Visitor) -> None:
        """Probability, seconds, seed."""
        fault = {"fault": "slow", "probability": "2", "endpoint": "pay", "seconds": "<b>"}
        reply = await visitor.post("/console/faults/add", fault)
        assert reply.status_code == 422
        assert "A probability is 0 to 1" in banner(reply.text)
        assert value(reply.text, "probability") == "2"
        assert value(reply.text, "seconds") == "<b>"
        assert '<option value="slow" selected>' in reply.text
        assert "<option selected>pay</option>" in reply.text
        reply = await visitor.post("/console/faults/seed", {"seed": "x"})
        assert value(reply.text, "seed") == "x"

    async def test_a_wrong_token_is_red(self) -> None:
        """In the same place as any other error."""
        visitor = Visitor(token="a-token-that-nobody-guesses")
        async with visitor.sandbox, visitor.client:
            reply = await visitor.post("/console/login", {"token": "wrong"})
            assert reply.status_code == 401
            assert banner(reply.text) == "That is not the token."
            assert 'aria-describedby="said"' in reply.text

    async def test_the_doctor_says_what_it_cannot_read(self, visitor: Visitor) -> None:
        """With the status of every form that is refused."""
        for message in ("", "<html>"):
            reply = await visitor.post("/console/doctor", {"message": message})
            assert reply.status_code == 422
            assert 'role="alert"' in reply.text


OLD = "of-the-process-before"
KEY_TYPED = "a-key-that-somebody-typed"
TOKEN = "a-token-that-nobody-guesses"
ORDERED = {"mch_id": "00000001", "out_trade_no": "A100012"}
PASTED = "mch_id=9&total_fee=100&sign=0"
#: Forms, and what of them stands in the page that comes back.
SENT: dict[str, tuple[dict[str, str], list[str]]] = {
    NEW: (FORM, ['value="http://shop.invalid/notify"', 'value="406" selected', "ALIPAY"]),
    "/console/order/act": (ORDERED | {"deed": "CUSTOMER_PAYS"}, ["A100012"]),
    "/console/order/call": (ORDERED | {"call": "refund", "yuan": "1.23"}, ['value="1.23"']),
    "/console/notify": (
        ORDERED | {"kind": "duplicate", "from": "order"},
        ['<option value="duplicate" selected>'],
    ),
    "/console/faults/add": (
        {"fault": "slow", "probability": "0.25", "endpoint": "pay", "seconds": "7"},
        ['value="0.25"', 'value="7"', '<option value="slow" selected>'],
    ),
    "/console/faults/remove": ({"plan": "all"}, []),
    "/console/faults/seed": ({"seed": "12345"}, ['value="12345"']),
    "/console/scenario": ({"of": "refund", "scenario": "502"}, ['value="502" selected']),
    "/console/doctor": (
        {"message": PASTED, "key": KEY_TYPED, "sign": "typed-00ff", "order": "ASCII"},
        [PASTED.replace("&", "&amp;"), 'value="typed-00ff"', "<option selected>ASCII</option>"],
    ),
}


def every_banner(text: str) -> str:
    """All that is said in red."""
    return " ".join(
        map(unescape, re.findall(r'class="problem"[^>]*role="alert"[^>]*>([^<]*)', text))
    )


class TestAfterARestart:
    """A form of the process before does nothing, and nobody has to type it again."""

    def test_every_form_that_is_typed_into_comes_back(self) -> None:
        """Two have nothing that was typed."""
        assert site._POSTS.keys() - site._AGAIN.keys() == {"/console/logout", "/console/language"}
        assert site._AGAIN.keys() - SENT.keys() == {"/console/login"}

    @pytest.mark.parametrize("language", ["en", "zh"])
    @pytest.mark.parametrize("path", SENT)
    async def test_it_comes_back_as_it_was_sent(
        self, visitor: Visitor, path: str, language: str
    ) -> None:
        """With what happened, with this process's token, and without a key."""
        await visitor.preorder()
        visitor.sandbox.faults.add(Fault.HTTP_502)
        before = visitor.sandbox.ledger
        form, kept = SENT[path]
        reply = await visitor.post(
            path, form | {"form_token": OLD}, **{"accept-language": language}
        )
        assert reply.status_code == 403
        words = {"en": "the sandbox was restarted", "zh": "沙箱重启过"}
        assert words[language] in every_banner(reply.text)
        assert not [each for each in kept if each not in reply.text]
        assert f'name="form_token" value="{visitor.guard.form_token}"' in reply.text
        assert KEY_TYPED not in reply.text
        assert visitor.sandbox.ledger == before
        assert len(visitor.sandbox.faults.plans) == 1
        assert visitor.merchant.heard == []

    async def test_a_form_of_another_site_does_not_come_back(self, visitor: Visitor) -> None:
        """Else anybody could lay a filled form before somebody."""
        for headers in ({"origin": "http://evil.invalid"}, {"sec-fetch-site": "cross-site"}):
            reply = await visitor.post(NEW, FORM | {"form_token": OLD}, **headers)
            assert reply.status_code == 403
            assert "shop.invalid" not in reply.text

    async def test_a_form_of_nobody_knows_where_does_not_come_back(self, visitor: Visitor) -> None:
        """A browser says where a form comes from, one way or the other; else it is refused."""
        form = FORM | {"form_token": OLD}
        for headers, comes_back in (
            ({}, False),
            ({"origin": "https://127.0.0.1"}, False),
            ({"origin": "http://127.0.0.1"}, True),
            ({"sec-fetch-site": "same-origin"}, True),
            # Behind what has TLS: the browser compared the schemes itself.
            ({"origin": "https://127.0.0.1", "sec-fetch-site": "same-origin"}, True),
        ):
            reply = await visitor.client.post(NEW, data=form, headers=headers)
            assert reply.status_code == 403
            assert ("shop.invalid" in reply.text) == comes_back, headers

    async def test_an_order_that_is_gone_is_said_to_be(self, visitor: Visitor) -> None:
        """A sandbox without a file forgets its orders."""
        form = ORDERED | {"form_token": OLD, "call": "refund", "yuan": "1"}
        assert (await visitor.post("/console/order/call", form)).status_code == 404

    @pytest.mark.parametrize("path", SENT)
    async def test_a_login_that_has_ended_brings_the_form_along(self, path: str) -> None:
        """A restart ends all logins: after the next one, the form stands there as it was sent."""
        visitor = Visitor(token=TOKEN)
        async with visitor.sandbox, visitor.client:
            await visitor.preorder()
            form, kept = SENT[path]
            reply = await visitor.post(path, form | {"form_token": OLD})
            assert reply.status_code == 401
            assert "your login has ended" in banner(reply.text)
            for secret in (KEY_TYPED, PASTED, PASTED.replace("&", "&amp;"), "typed-00ff"):
                assert secret not in reply.text  # a message may hold a buyer, and it was not asked
            wrong = await visitor.post("/console/login", _fields(reply.text) | {"token": "guess"})
            assert banner(wrong.text) == "That is not the token."
            reply = await visitor.post("/console/login", _fields(wrong.text) | {"token": TOKEN})
            assert reply.status_code == 200
            assert "You are logged in again" in every_banner(reply.text)
            pasted = form.keys() & {"message", "sign"}
            assert [each for each in kept if each not in reply.text] == kept[: len(pasted)]
            cookie = reply.headers["set-cookie"].partition(";")[0]
            assert (await visitor.get("/console/", cookie=cookie)).status_code == 200
            assert visitor.merchant.heard == []

    async def test_a_program_without_a_token_is_refused_as_before(self) -> None:
        """So is what no login form of ours can have brought along."""
        visitor = Visitor(token=TOKEN)
        async with visitor.sandbox, visitor.client:
            reply = await visitor.client.post(NEW, data=FORM)
            assert (reply.status_code, reply.text) == (401, "The token is needed.")
            reply = await visitor.client.post(
                NEW, content=b"x" * (site.LARGEST_FORM + 1), headers=OURS
            )
            assert (reply.status_code, reply.text) == (401, "The token is needed.")
            for kept in ("", "x", "[]", "[" * 5000, '{"yuan": 1}'):
                for sent_to in ("/console/logout", "/console/order/call", ""):
                    form = {"token": TOKEN, "sent_to": sent_to, "kept": kept}
                    assert said(await visitor.post("/console/login", form)) == "/console/"

    @pytest.mark.parametrize("path", SENT)
    async def test_a_text_that_no_page_can_hold_is_left_out(self, path: str) -> None:
        """Half a pair of surrogates: no browser sends it, but JSON can spell it."""
        visitor = Visitor(token=TOKEN)
        async with visitor.sandbox, visitor.client:
            await visitor.preorder()
            form, _kept = SENT[path]
            for name in form:
                kept = json.dumps(form | {name: "\ud800", "\udfff": "x"})
                sent = {"token": TOKEN, "sent_to": path, "kept": kept}
                reply = await visitor.post("/console/login", sent)
                assert reply.status_code in (200, 303), name
                assert "set-cookie" in reply.headers

    async def test_the_login_form_asks_again(self) -> None:
        """The token itself never comes back."""
        visitor = Visitor(token=TOKEN)
        async with visitor.sandbox, visitor.client:
            reply = await visitor.post("/console/login", {"token": TOKEN, "form_token": OLD})
            assert reply.status_code == 403
            assert "the sandbox was restarted" in banner(reply.text)
            assert TOKEN not in reply.text


def _fields(text: str) -> dict[str, str]:
    """The hidden fields of the login form, but for its own token."""
    found = re.findall(r'<input type="hidden" name="(sent_to|kept)" value="([^"]*)"', text)
    return {name: unescape(value) for name, value in found}


def says(text: str, name: str) -> str:
    """The sentence below a field."""
    found = re.search(rf'id="{name}-says"[^>]*>([^<]*)<', text)
    assert found is not None
    return unescape(found[1])


class TestAmounts:
    """What an amount sets off is said where it is typed."""

    async def test_the_amount_that_stands_there_is_explained(self, visitor: Visitor) -> None:
        """14.05, which is never paid; and each that can be picked."""
        text = await visitor.page("/console/")
        assert value(text, "yuan") == "14.05"
        never = "¥14.05 → scenario 405: the customer walks away and never pays"
        assert says(text, "yuan") == never
        assert '<option value="4.06" label="scenario 406: fails at once' in text
        text = await visitor.page("/console/", "zh")
        assert says(text, "yuan") == "¥14.05 → 场景 405：顾客离开，始终不支付"

    @pytest.mark.parametrize(
        ("yuan", "scenario", "words"),
        [
            ("1", "", "¥1.00 → no scenario of its own: paid at once"),
            ("10", "", "¥10.00 → no scenario of its own: paid at once"),
            ("4.04", "", "¥4.04 → scenario 404:"),
            ("1234.04", "", "¥1234.04 → scenario 404:"),
            ("14.05", "406", ""),  # explained where it was picked
            ("x", "", ""),
            ("0", "", ""),
        ],
    )
    async def test_what_was_typed_is_explained(
        self, visitor: Visitor, yuan: str, scenario: str, words: str
    ) -> None:
        """Also when the form comes back."""
        form = FORM | {"yuan": yuan, "scenario": scenario, "notify_url": "x"}
        found = says((await visitor.post(NEW, form)).text, "yuan")
        assert found.startswith(words)
        assert bool(found) == bool(words)

    async def test_refunds_are_explained_too(self, visitor: Visitor) -> None:
        """By their own scenarios."""
        await visitor.pay("A100011", "1502")
        text = await visitor.page(f"{ORDER}A100011")
        assert says(text, "refund-yuan") == "¥15.02 → scenario 502: FAIL after 5 s"
        assert '<option value="5.04" label="scenario 504: CHANGE' in text

    async def test_a_scenario_for_everything_is_said_there(self, visitor: Visitor) -> None:
        """It wins over the amount, so it is what is explained."""
        await visitor.pay()
        for of, scenario in (("pay", "406"), ("refund", "507")):
            await visitor.post("/console/scenario", {"of": of, "scenario": scenario})
        for page, name, number in (
            ("/console/", "yuan", "406"),
            (f"{ORDER}A100011", "refund-yuan", "507"),
        ):
            found = says(await visitor.page(page), name)
            assert found.startswith("Whatever the amount, as chosen")
            assert f"scenario {number}:" in found

    @pytest.mark.parametrize(
        ("typed", "fen"),
        [("1", 100), (" 0.5 ", 50), ("4.03", 403), ("1.234", 0), ("-1", 0), ("１", 0), ("", 0)],
    )
    def test_amounts_are_read_exactly(self, typed: str, fen: int) -> None:
        """What is no amount is 0."""
        assert fen_of(typed) == fen
