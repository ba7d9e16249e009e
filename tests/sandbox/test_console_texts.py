"""The console's words in two languages, and how pages hear of changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import httpx
import pytest

from chaoying_async import SystemClock
from chaoying_async.sandbox import Fault, Sandbox, Status
from chaoying_async.sandbox.bank.entities import RefundState
from chaoying_async.sandbox.bank.scenarios import REFUND_SCENARIOS, SCENARIOS
from chaoying_async.sandbox.console import site
from chaoying_async.sandbox.console.live import Bell
from chaoying_async.sandbox.console.words import TEXTS, preferred
from chaoying_async.sandbox.serving.events import EVENTS
from chaoying_async.testing import FakeClock
from tests.house.test_chinese_pages import INSTEAD

CONSOLE = Path(site.__file__).parent
ENGLISH, CHINESE = TEXTS["en"], TEXTS["zh"]
#: Beginnings of names that are put together where they are asked for.
_COMPOSED = (
    "refund-state.",
    *("scenario.", "refund.", "fault.", "state.", "event.", "noted.", "said.", "error."),
    *("signature.", "message.cut.", "doctor.side.", "orders.how."),
)


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

    def test_chinese_uses_the_agreed_words(self) -> None:
        """Those of the Chinese pages; a reply is 响应, the answer to a notification 应答."""
        instead = {**INSTEAD, "医生": "签名诊断", "应答丢失|应答 [0-9]": "响应"}
        odd = {
            f"{name}: {word} -> {better}"
            for name, text in CHINESE.items()
            for word, better in instead.items()
            if re.search(word, text)
        }
        assert odd == set()

    def test_every_text_that_is_asked_for_exists(self) -> None:
        """In templates and code; and whatever is composed of a name and a number."""
        asked = set(_asked())
        assert asked <= ENGLISH.keys()
        assert {f"scenario.{number}" for number in SCENARIOS} <= ENGLISH.keys()
        assert {f"refund.{number}" for number in REFUND_SCENARIOS} <= ENGLISH.keys()
        assert {f"fault.{fault}" for fault in Fault} <= ENGLISH.keys()
        assert {f"event.{event}" for event in EVENTS} <= ENGLISH.keys()
        assert {f"state.{status}" for status in Status} <= ENGLISH.keys()
        assert {f"refund-state.{state}" for state in RefundState} <= ENGLISH.keys()

    def test_no_text_is_left_over(self) -> None:
        """What nobody asks for is taken out."""
        composed = _COMPOSED
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


_CALLS = re.compile(r"""\bt\(((?:"[^"]*"|'[^']*'|[^()"'])*)""").findall
_NAMES = re.compile(r"""["']([a-z-]+(?:\.[a-z-]+)*)["']""").findall


def _blanks(text: str) -> set[str | None]:
    return {field for _, field, _, _ in Formatter().parse(text) if field}


def _asked() -> Iterator[str]:
    """Names in quotes: all in the code that are texts, and all that templates hand to ``t``."""
    for path in CONSOLE.rglob("*.py"):
        if path.stem not in {"english", "chinese"}:
            quoted = re.findall(r'"([a-z-]+(?:\.[a-z-]+)*)"', path.read_text("utf-8"))
            yield from (name for name in quoted if name in ENGLISH)
    for path in CONSOLE.glob("templates/*.html"):
        for call in _CALLS(path.read_text("utf-8")):
            plain = re.sub(r"""["'][^"']*["'] ~""", "", call.partition(",")[0])
            yield from _NAMES(plain)
