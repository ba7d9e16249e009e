"""Whoever is lost in the console is told where to go."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.sandbox.console_visitor import Visitor

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    made = Visitor()
    async with made.sandbox, made.client:
        yield made


class TestWays:
    """Addresses that are none, or not for a browser."""

    @pytest.mark.parametrize(
        ("path", "en", "zh"),
        [
            ("/console/nosuch", "There is no such page", "没有这个页面"),
            ("/console/" + "x" * 3000, "There is no such page", "没有这个页面"),
            ("/console/<script>", "There is no such page", "没有这个页面"),
            ("/console/static/nosuch/more", "There is no such page", "没有这个页面"),
            ("/", "This is the gateway’s own address", "这是网关地址"),
        ],
    )
    @pytest.mark.parametrize("language", ["en", "zh"])
    async def test_an_address_that_is_none(
        self, visitor: Visitor, path: str, en: str, zh: str, language: str
    ) -> None:
        """It is not there, and the page says in the visitor's language what is."""
        reply = await visitor.get(path, accept=BROWSER, **{"accept-language": language})
        assert reply.status_code == 404
        assert {"en": en, "zh": zh}[language] in reply.text
        main = reply.text.partition("<main")[2]
        assert 'href="/console/"' in main
        assert "<script>" not in main
        assert reply.headers["x-frame-options"] == "DENY"

    @pytest.mark.parametrize("language", ["en", "zh"])
    async def test_an_address_for_forms_says_so(self, visitor: Visitor, language: str) -> None:
        """Where a reload without the form would lead; and a form to a page that takes none."""
        heading = {"accept-language": language}
        reply = await visitor.get("/console/orders/new", **heading)
        assert reply.status_code == 405
        assert reply.headers["allow"] == "POST"
        assert {"en": "only takes what a form sends", "zh": "只接受表单提交"}[
            language
        ] in reply.text
        assert 'href="/console/"' in reply.text
        assert (await visitor.post("/console/messages")).status_code == 405

    async def test_programs_are_answered_in_plain_text(self, visitor: Visitor) -> None:
        """At the same address: by the gateway, which says where calls go."""
        for reply in (await visitor.get("/"), await visitor.client.post("/", content=b"")):
            assert reply.status_code == 404
            assert reply.headers["content-type"].startswith("text/plain")
            assert "/UnifiedPay/Gateway" in reply.text

    async def test_the_way_in_is_guarded_too(self) -> None:
        """Where a token is needed, the gateway's address leads a browser to the login."""
        visitor = Visitor(token="a-token-that-nobody-guesses")
        async with visitor.sandbox, visitor.client:
            for path in ("/", "/console/nosuch"):
                reply = await visitor.get(path, accept=BROWSER)
                assert reply.headers["location"] == "/console/login"
