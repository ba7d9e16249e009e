"""The card with what to export, and the lines that ``chaoying sandbox`` prints."""

from __future__ import annotations

from html import unescape

import httpx
import pytest

from chaoying_async.sandbox import Sandbox
from chaoying_async.sandbox.console.site import Console
from chaoying_async.sandbox.serving.exports import exports
from chaoying_async.sandbox.serving.security import AccessGuard
from tests.factories import KEY
from tests.sandbox.console_visitor import Visitor


class TestExports:
    """Whoever looks at the console can connect a program."""

    async def test_the_card_has_the_address_that_the_browser_used(self) -> None:
        """With the sandbox's own key, which is worth nothing, for two kinds of shells."""
        async with Sandbox(seed=7) as sandbox:
            app = sandbox.app
            app.guard = AccessGuard("127.0.0.1")
            app.console = Console(sandbox._runtime, app.guard)
            transport = httpx.ASGITransport(app)
            url = "http://localhost:8123"
            async with httpx.AsyncClient(transport=transport, base_url=url) as client:
                text = unescape((await client.get("/console/")).text)
            assert "export CHAOYING_URL=http://localhost:8123\n" in text
            for name, value in exports(sandbox.credentials, url).items():
                assert f"export {name}={value}\n" in text
                assert f"$env:{name} = '{value}'\n" in text
            assert sandbox.credentials.key in text

    async def test_a_key_that_was_handed_in_is_not_shown(self) -> None:
        """It may be worth something (M-27)."""
        visitor = Visitor()
        async with visitor.sandbox, visitor.client:
            text = await visitor.page("/console/")
            assert KEY not in text
            assert "export CHAOYING_KEY=...\n" in text
            assert "put it in place of the dots" in text

    @pytest.mark.parametrize("host", ["x;rm -rf", "a'b", "$(id)", "", "x" * 300, "<b>", "[::1"])
    async def test_a_strange_host_is_not_repeated(self, host: str) -> None:
        """What stands in the header goes into a shell: only names and addresses do."""
        visitor = Visitor(token="a-token-that-nobody-guesses")
        async with visitor.sandbox, visitor.client:
            headers = {"authorization": "Bearer a-token-that-nobody-guesses", "host": host}
            text = unescape((await visitor.client.get("/console/", headers=headers)).text)
            assert "export CHAOYING_URL=http://127.0.0.1" in text
            if host:
                assert host not in text.partition('id="connect"')[2].partition("</details>")[0]

    @pytest.mark.parametrize(
        ("url", "needed"),
        [
            ("http://127.0.0.1:8000", False),
            ("http://[::1]:8000", False),
            ("http://box:8000", True),
            ("https://box", False),
        ],
    )
    def test_plain_http_to_another_machine_is_allowed_by_name(self, url: str, needed: bool) -> None:
        """A session refuses it otherwise."""
        assert ("CHAOYING_ALLOW_HTTP" in exports(Sandbox().credentials, url)) == needed
