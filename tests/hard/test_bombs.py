"""M-10, M-14: what is small on the wire and large unpacked never grows large in memory.

One process meets one bomb after another, so that the most that it held is a bound for each. Those
whose bound is the highest come last.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.sizes import cases

#: An engine, and how what the gateway packed is named.
REPLIES = cases(
    [
        *[("aiohttp", coding) for coding in ("GZip", "br", "gzip, gzip")],
        *[("httpx", "x-gzip"), ("user", "x-gzip")],
    ],
    more=[("aiohttp", "Deflate")],
)
#: How it is named, how many come at once, and the status of the answer.
NOTIFICATIONS = cases(
    [("gzip", 10, 413), ("br", 2, 400), ("zstd", 10, 400)], more=[("deflate", 20, 413)]
)


@pytest.fixture(scope="module")
def met() -> tuple[list[Any], list[Any]]:
    """How the replies ended, and how the notifications."""
    replies = [str(word) for engine, coding in REPLIES for word in (engine, coding, 10)]
    posts = [str(word) for coding, count, _ in NOTIFICATIONS for word in ("adapter", coding, count)]
    command = [sys.executable, "-m", "tests.hard.bombs", *replies, *posts]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return found[: len(REPLIES)], found[len(REPLIES) :]


def test_replies_that_unpack_to_128_mib_are_cut_off_within_their_limit(
    met: tuple[list[Any], list[Any]],
) -> None:
    """M-10: ten at once, from a gateway that packs although nobody asked it to; in each engine."""
    found, _ = met
    assert [one["ends"] for one in found] == [{"MalformedMessageError": 10} for _ in REPLIES]
    assert found[-1]["grown"] < 64


def test_an_unsigned_bomb_is_refused_by_the_aiohttp_adapter(
    met: tuple[list[Any], list[Any]],
) -> None:
    """M-14: whoever can reach the notify_url can send one; what counts is what it unpacks to.

    brotli's window alone is 16 MiB a sender, and aiohttp fills it before anybody can say no.
    """
    _, found = met
    assert [one["ends"] for one in found] == [
        {f"{status} fail": posts} for _, posts, status in NOTIFICATIONS
    ]
    assert found[-1]["grown"] < 100
