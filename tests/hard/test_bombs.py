"""M-10, M-14: what is small on the wire and large unpacked never grows large in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.sizes import cases


def met(*arguments: str) -> Any:
    command = [sys.executable, "-m", "tests.hard.bombs", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("coding", cases(["GZip", "br", "gzip, gzip"], more=["Deflate"]))
def test_replies_that_unpack_to_128_mib_are_cut_off_within_their_limit(coding: str) -> None:
    """M-10: ten at once, from a gateway that packs although nobody asked it to."""
    found = met("aiohttp", coding, "10")
    assert found["ends"] == {"MalformedMessageError": 10}
    assert found["grown"] < 64


@pytest.mark.parametrize("kind", ["httpx", "user"])
def test_the_other_engines_are_bounded_alike(kind: str) -> None:
    """M-10: one way of unpacking for all of them."""
    found = met(kind, "x-gzip", "10")
    assert found["ends"] == {"MalformedMessageError": 10}
    assert found["grown"] < 64


@pytest.mark.parametrize(
    ("coding", "posts", "status"),
    cases([("gzip", 10, 413), ("br", 2, 400), ("zstd", 10, 400)], more=[("deflate", 20, 413)]),
)
def test_an_unsigned_bomb_is_refused_by_the_aiohttp_adapter(
    coding: str, posts: int, status: int
) -> None:
    """M-14: whoever can reach the notify_url can send one; what counts is what it unpacks to.

    brotli's window alone is 16 MiB a sender, and aiohttp fills it before anybody can say no.
    """
    found = met("adapter", coding, str(posts))
    assert found["ends"] == {f"{status} fail": posts}
    assert found["grown"] < 100
