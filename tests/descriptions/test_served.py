"""Where the descriptions are to be had: from a sandbox, in its console, on the command line."""

from __future__ import annotations

import json

import httpx
import pytest
from click.testing import CliRunner

from chaoying_async.cli.command_line import chaoying
from chaoying_async.descriptions.asyncapi import asyncapi
from chaoying_async.descriptions.openapi import openapi
from chaoying_async.fieldwords import words_of
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.api.barcode import Pay
from chaoying_async.sansio.hosts import Hosts
from tests.sandbox.console_visitor import Visitor

TOKEN = "a-token-that-nobody-guesses"
BOTH = pytest.mark.parametrize(
    ("path", "document"), [("/openapi.json", openapi), ("/asyncapi.json", asyncapi)]
)


@BOTH
async def test_a_sandbox_serves_them_to_everybody(path: str, document: object) -> None:
    """Also without the token that the console asks for, and without being counted as a call."""
    visitor = Visitor(token=TOKEN)
    async with visitor.sandbox, visitor.client:
        reply = await visitor.get(path)
        assert reply.status_code == 200
        assert reply.headers["content-type"] == "application/json; charset=utf-8"
        assert callable(document)
        assert reply.json() == document()
        assert visitor.sandbox.requests == {}
        assert (await visitor.client.post(path)).status_code == 404


async def test_they_hold_nothing_of_the_sandbox() -> None:
    """No key, no order, no address: the same bytes from every sandbox."""
    visitor = Visitor()
    async with visitor.sandbox, visitor.client:
        await visitor.pay()
        text = (await visitor.get("/openapi.json")).text
        assert "A100011" not in text
        assert visitor.sandbox.credentials.key not in text


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_the_console_shows_every_call_and_leads_to_both(language: str) -> None:
    """With the words of the visitor's language, and nothing from elsewhere."""
    visitor = Visitor()
    async with visitor.sandbox, visitor.client:
        page = await visitor.page("/console/api", language)
    assert 'href="/openapi.json"' in page
    assert 'href="/asyncapi.json"' in page
    for request in REQUESTS:
        assert f'<details id="{request.endpoint.name}">' in page
        assert request.endpoint.title in page
    words = words_of(Pay, "attach")
    assert (words.chinese if language == "zh" else words.english) in page
    assert (words.english in page) == (language == "en")
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def printed(*words: str) -> httpx.Response | dict[str, object]:
    done = CliRunner().invoke(chaoying, ["describe", *words], env={"LANG": "C"})
    assert done.exit_code == 0, done.output
    read: dict[str, object] = json.loads(done.stdout)
    return read


def test_the_command_line_prints_them() -> None:
    """For production, for an address of one's own, and in one line for programs."""
    assert printed("openapi") == openapi(Hosts.document())
    assert printed("asyncapi") == asyncapi()
    url = "http://127.0.0.1:8080"
    assert printed("openapi", "--url", url) == openapi(Hosts.single(url))
    assert printed("openapi", "--hosts", "v3.2") == openapi(Hosts.v3_2())
    assert printed("asyncapi", "--json") == {"ok": True, "asyncapi": asyncapi()}
