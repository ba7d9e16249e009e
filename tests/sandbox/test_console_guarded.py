"""What the console must not do: show secrets or markup, and let strangers in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import httpx
import pytest

from chaoying_async import SystemClock
from chaoying_async.sandbox import Sandbox, Status
from chaoying_async.sandbox.console import site
from chaoying_async.sandbox.console.journal import Journal
from chaoying_async.sandbox.console.live import Bell
from chaoying_async.sandbox.document.http_messages import HttpRequest, HttpResponse
from chaoying_async.sandbox.serving.security import (
    COOKIE,
    LASTS,
    OF_ONE,
    WINDOW,
    AccessGuard,
    Guesses,
    Logins,
    is_loopback,
    new_token,
)
from chaoying_async.testing import FakeClock
from tests.factories import AUTH_CODE, CANARIES, KEY, OPENID
from tests.sandbox.console_visitor import EVERYWHERE, ORDER, OURS, PAGES, Visitor, said

TOKEN = "a-token-that-nobody-guesses"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    made = Visitor()
    async with made.sandbox, made.client:
        yield made


class TestSecrets:
    """M-27 on every page."""

    async def test_no_secret_is_on_any_page(self, visitor: Visitor) -> None:
        """Not the key, nor a payment code, nor who paid, in whatever form they came."""
        await visitor.pay()
        await visitor.pay("A100013", spoil="yes")
        buyer = {"trade_type": "JSPAY", "sub_appid": "wx1", "buyer_id": OPENID}
        await visitor.preorder("A100012", "1000", **buyer)
        await visitor.send(
            "authcodetoopenid", mch_id="00000001", sub_appid="wx1", auth_code=AUTH_CODE
        )
        await visitor.sandbox.advance(3)
        await visitor.preorder("A100014", "1000", attach=f"{KEY} openid={OPENID}", **{KEY: KEY})
        xml = "<xml><openid>oBuyerInXml</openid></xml>"
        await visitor.client.post("/UnifiedPay/Gateway", content=xml)
        visitor.merchant.answer = visitor.merchant.heard[-1]  # quotes what it was sent
        form = {"mch_id": "00000001", "out_trade_no": "A100012", "kind": "again"}
        await visitor.post("/console/notify", form)
        numbers = range(1, len(visitor.console.journal) + 1)
        pages = [*PAGES, f"{ORDER}A100014"]
        pages += [f"/console/message?id={number}" for number in numbers]
        pages += [f"/console/doctor?message={number}" for number in numbers]
        pages += [f"/console/doctor?message={number}&of=reply" for number in numbers]
        ours = "oHmbktxFlpoEPo2Ol5GOJniV2q-A"  # whom the sandbox says to have paid
        for path in pages:
            text = await visitor.page(path)
            secrets = (*CANARIES, ours, "oBuyerInXml")
            assert not [secret for secret in secrets if secret in text], path
        assert "***" in await visitor.page("/console/message?id=1")
        assert KEY not in repr(list(visitor.console.journal))

    async def test_what_people_wrote_is_never_markup(self, visitor: Visitor) -> None:
        """Order numbers, attachments, paths, field names, answers: all are text."""
        await visitor.pay(attach=SCRIPT, body=f"'\"{SCRIPT}")
        await visitor.pay(SCRIPT, spoil="yes")
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
        request, response = HttpRequest(method="GET", path="/"), HttpResponse(200, "", b"")
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
            (right, {"origin": "https://127.0.0.1"}),
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
            for broken in (
                "chaoying_console=",
                "chaoying_console=x",
                "a=\x01; =;",
                '"',
                "=" * 9000,
            ):
                assert said(await visitor.get("/console/", cookie=broken)) == "/console/login"

    async def test_logging_out_ends_it_on_the_server(self) -> None:
        """In every tab, and for whoever has copied the cookie; other logins and cookies go on."""
        visitor = Visitor(token=TOKEN)
        async with visitor.sandbox, visitor.client:
            old, other = [await _logged_in(visitor) for _ in range(2)]
            assert (await visitor.get("/console/", cookie=old)).status_code == 200
            others = "; ".join(f"of_another_program_{n}={'x' * 50}" for n in range(200))
            assert (await visitor.get("/console/", cookie=f"{others}; {old}")).status_code == 200
            await visitor.post("/console/logout", cookie=old)
            for path in ("/console/", "/console/events"):
                assert said(await visitor.get(path, cookie=old)) == "/console/login"
            assert (await visitor.get("/_sandbox/books", cookie=old)).status_code == 401
            post = await visitor.post("/console/faults/seed", {"seed": "7"}, cookie=old)
            assert post.status_code == 401
            assert (await visitor.get("/console/", cookie=other)).status_code == 200

    async def test_a_stream_ends_with_its_login(self) -> None:
        """Who has logged out hears nothing more in the tabs that are still open."""
        clock = FakeClock()
        guard = AccessGuard(EVERYWHERE, TOKEN, clock=clock)
        headers = {"cookie": f"{COOKIE}={guard.login()}"}
        bell = Bell(clock)
        stream = bell.stream(lambda: guard.still_admits(headers))
        await anext(stream)
        bell.ring()
        assert "changed" in await clock.run(anext(stream))
        guard.logout(headers)
        with pytest.raises(StopAsyncIteration):
            await clock.run(anext(stream))

    async def test_a_login_ends_by_itself(self) -> None:
        """After twelve hours, here and in the browser; by a new one, and with the process."""
        clock = FakeClock()
        visitor = Visitor(token=TOKEN)
        visitor.guard._logins = Logins(clock)
        async with visitor.sandbox, visitor.client:
            reply = await visitor.post("/console/login", {"token": TOKEN})
            assert f"Max-Age={LASTS:.0f}" in reply.headers["set-cookie"]
            first = reply.headers["set-cookie"].partition(";")[0]
            second = await visitor.post("/console/login", {"token": TOKEN}, cookie=first)
            cookie = second.headers["set-cookie"].partition(";")[0]
            visitor.client.cookies.clear()
            assert cookie != first
            assert said(await visitor.get("/console/", cookie=first)) == "/console/login"
            await clock.advance(LASTS - 1)
            assert (await visitor.get("/console/", cookie=cookie)).status_code == 200
            await clock.advance(1)
            assert said(await visitor.get("/console/", cookie=cookie)) == "/console/login"
        restarted = AccessGuard(EVERYWHERE, TOKEN)
        assert not restarted.admits({"cookie": f"{COOKIE}={visitor.guard.login()}"})

    def test_logins_are_bounded(self) -> None:
        """A program that logs in again and again ends its own oldest ones."""
        logins = Logins(FakeClock())
        values = [logins.new() for _ in range(150)]
        assert sum(map(logins.holds, values)) == 100
        assert logins.holds(values[-1])
        assert not logins.holds("")

    async def test_a_token_is_not_guessed_at_for_long(self) -> None:
        """Five wrong ones of an address in a minute: then each is told to wait, but the right one.

        The owner may be behind the guesser's address: a published Docker port, a proxy. The token
        is too long to be guessed; what was counted is only what a guesser costs.
        """
        clock = FakeClock()
        visitor = Visitor(token=TOKEN, clock=clock)
        visitor.guard._guesses = Guesses(clock)
        async with visitor.sandbox, visitor.client:
            for _ in range(OF_ONE):
                assert (await visitor.post("/console/login", {"token": "guess"})).status_code == 401
            for token in ("guess", "", TOKEN[:-1], f"{TOKEN}x", TOKEN.swapcase()):
                reply = await visitor.post("/console/login", {"token": token})
                assert reply.status_code == 429
                assert "wait a minute" in reply.text
                assert "set-cookie" not in reply.headers
                for path in ("/console/", "/_sandbox/books"):
                    bearer = await visitor.get(path, authorization=f"Bearer {token}")
                    assert bearer.status_code == 429
            for path in ("/console/", "/_sandbox/books"):
                bearer = await visitor.get(path, authorization=f"Bearer {TOKEN}")
                assert bearer.status_code == 200
            assert said(await visitor.post("/console/login", {"token": TOKEN})) == "/console/"
            reply = await visitor.post("/console/login", {"token": "guess"})
            assert reply.status_code == 429  # the right one has not made the wrong ones forgotten
            await visitor.pay()
            assert visitor.sandbox.requests == {"pay": 1}  # the gateway itself is open as ever
            await clock.advance(WINDOW)
            assert (await visitor.post("/console/login", {"token": "guess"})).status_code == 401

    async def test_who_has_logged_in_stays_in_whatever_others_guess(self) -> None:
        """A cookie is no guess; wrong bearer tokens count like wrong logins."""
        visitor = Visitor(token=TOKEN)
        async with visitor.sandbox, visitor.client:
            await visitor.post("/console/login", {"token": TOKEN})
            cookie = {"cookie": f"{COOKIE}={visitor.guard.login()}"}
            visitor.client.cookies.clear()
            for _ in range(OF_ONE):
                wrong = await visitor.get("/_sandbox/books", authorization="Bearer guess")
                assert wrong.status_code == 401
            held_up = await visitor.get("/_sandbox/books", authorization="Bearer guess")
            assert held_up.status_code == 429
            assert (await visitor.get("/console/", **cookie)).status_code == 200

    async def test_nobody_is_locked_out_by_others(self) -> None:
        """Fifty wrong tokens of ten addresses, or of ten thousand: the owner's right one counts."""
        visitor = Visitor(token=TOKEN)
        async with visitor.sandbox, visitor.client:
            for number in range(10_000):
                assert not visitor.guard.is_token("guess", f"10.{number // 250}.{number % 250}.1")
            reply = await visitor.post("/console/login", {"token": TOKEN})
            assert said(reply) == "/console/"
            bearer = {"authorization": f"Bearer {TOKEN}"}
            assert (await visitor.get("/_sandbox/books", **bearer)).status_code == 200

    @pytest.mark.parametrize(
        ("guesser", "same", "other"),
        [
            ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"),
            ("fe80::1%eth0", "fe80::2", "::1"),
            ("::ffff:10.0.0.1", "10.0.0.1", "::ffff:10.0.0.2"),
            ("", "", "testclient"),
        ],
    )
    def test_guesses_are_counted_by_sender(self, guesser: str, same: str, other: str) -> None:
        """One IPv4 address, or one network of IPv6; a minute heals, however many came in it."""
        clock = FakeClock()
        guard = AccessGuard(EVERYWHERE, TOKEN, clock=clock)
        wrong = {"authorization": "Bearer guess"}
        for _ in range(OF_ONE):
            assert not guard.holds_up(wrong, same)
            assert not guard.is_token("guess", guesser)
        assert guard.holds_up(wrong, same)
        assert not guard.holds_up(wrong, other)
        asyncio.run(clock.advance(WINDOW / 2))
        for _ in range(1000):
            assert not guard.is_token("guess", same)
            assert guard.is_token(TOKEN, same)
        asyncio.run(clock.advance(WINDOW / 2))
        assert not guard.holds_up(wrong, same)

    @pytest.mark.parametrize("address", ["", "172.17.0.1", "10.0.0.1", "::1"])
    def test_strangers_behind_the_owners_address_do_not_keep_him_out(self, address: str) -> None:
        """A published Docker port, a reverse proxy, a server that names no client: all are one."""
        guard = AccessGuard(EVERYWHERE, TOKEN, clock=FakeClock())
        for number in range(1000):
            guard.admits({"authorization": f"Bearer guess {number}"}, address)
        right = {"authorization": f"Bearer {TOKEN}"}
        assert not guard.holds_up(right, address)
        assert guard.admits(right, address)
        assert guard.is_token(TOKEN, address)
        assert [len(times) for times in guard._guesses._wrong.values()] == [OF_ONE]

    def test_nothing_is_counted_where_no_token_is_asked_for(self) -> None:
        """On loopback."""
        guard = AccessGuard("127.0.0.1", clock=FakeClock())
        assert not guard.is_token("guess", "127.0.0.1")
        assert not guard._guesses._wrong

    def test_who_guessed_is_remembered_boundedly(self) -> None:
        """However many senders there are; who goes on is not forgotten first."""
        guard = AccessGuard(EVERYWHERE, TOKEN, clock=FakeClock())
        for number in range(10_500):
            guard.is_token("guess", f"10.0.{number // 250}.{number % 250}")
            if number % 10 == 0:
                guard.is_token("guess", "10.9.9.9")
        assert len(guard._guesses._wrong) == 10_000
        assert guard.too_many("10.9.9.9")

    async def test_what_a_proxy_says_is_not_believed(self) -> None:
        """Else a guesser would have as many addresses as he can write down."""
        async with (
            Sandbox(clock=SystemClock()) as sandbox,
            sandbox.serve(token=TOKEN) as url,
            httpx.AsyncClient(base_url=url, trust_env=False) as client,
        ):
            said = []
            for number in range(OF_ONE + 1):
                told = {"x-forwarded-for": f"10.0.0.{number}", "authorization": "Bearer guess"}
                said.append((await client.get("/_sandbox/books", headers=told)).status_code)
        assert said == [401] * OF_ONE + [429]

    def test_a_reachable_host_needs_a_good_token(self) -> None:
        """None, or one that can be guessed, is refused before anything listens."""
        with pytest.raises(ValueError, match="a token is needed"):
            AccessGuard(EVERYWHERE)
        with pytest.raises(ValueError, match="at least 16"):
            AccessGuard(EVERYWHERE, "short")
        assert TOKEN not in repr(AccessGuard(EVERYWHERE, TOKEN))
        assert new_token() != new_token()
        assert [is_loopback(each) for each in ("::1", "LOCALHOST", "10.0.0.1", "a")] == [
            *(True, True),
            *(False, False),
        ]

    async def test_serving_elsewhere_without_a_token_fails_at_once(self) -> None:
        """As an error of the caller's, and nothing listens."""
        async with Sandbox(clock=SystemClock()) as sandbox:
            with pytest.raises(ValueError, match="a token is needed"):
                async with sandbox.serve(host=EVERYWHERE):
                    pass


async def _logged_in(visitor: Visitor) -> str:
    """The cookie of a new login, as a browser sends it."""
    visitor.client.cookies.clear()
    reply = await visitor.post("/console/login", {"token": TOKEN})
    visitor.client.cookies.clear()
    return reply.headers["set-cookie"].partition(";")[0]
