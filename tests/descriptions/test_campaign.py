"""schemathesis against a sandbox: calls that somebody else's tool makes from the description.

Of one endpoint in three; ``FULL=1`` makes an hour of all. By hand, against any sandbox whose
settings are exported::

    SCHEMATHESIS_HOOKS=tests.descriptions.signing_hooks schemathesis run $CHAOYING_URL/openapi.json
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from chaoying_async.sandbox import Fault, Sandbox
from chaoying_async.sandbox.document.draft_reply import DraftReply, success
from chaoying_async.sandbox.speed import FastClock
from tests.descriptions.signing_hooks import AGENT, KEY
from tests.descriptions.validity import CALLS
from tests.sizes import FULL, sampled

pytestmark = [pytest.mark.tools, pytest.mark.outside, pytest.mark.timeout(4000 if FULL else 400)]

ROOT = Path(__file__).parents[2]
#: What is systematic: a thousand calls; then what is random, as much of it as an hour has.
EVERYTHING = ("--phases", "coverage,fuzzing", "-n", "100000", "--max-time", "3600")
CALLED = EVERYTHING if FULL else ("--phases", "coverage")
ENDPOINTS = [*sampled(CALLS, every=3, start=2)]  # pay is one of them
#: What an answer has to be: no 500, a documented status and type, and what its schema says.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "no_undocumented_field",
)


async def ran(sandbox: Sandbox, *options: str, of: Collection[str] = ()) -> tuple[int, str]:
    """The tool's exit code, and what it says; ``of``: about these calls alone."""
    settings = {
        **{name: text for name, text in os.environ.items() if not name.startswith("CHAOYING_")},
        KEY: sandbox.credentials.key,
        AGENT: sandbox.credentials.agent_id,
        "SCHEMATHESIS_HOOKS": "tests.descriptions.signing_hooks",
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
    }
    chosen = [word for name in of for word in ("--include-operation-id", name)]
    folder = TemporaryDirectory()  # of its own: what it finds is kept, and tried first next time
    async with sandbox, sandbox.serve() as url:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
            *("--checks", ",".join(CHECKS), "--suppress-health-check", "all", "--seed", "1"),
            *("--continue-on-failure", "--no-shrink", *chosen, *options),
            cwd=folder.name,
            env=settings,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
            folder.cleanup()
    assert process.returncode is not None
    return process.returncode, said.decode(errors="replace")


async def test_no_call_that_it_makes_finds_a_fault() -> None:
    """No 500, no undocumented answer; its calls come as far as orders, in an hour paid ones."""
    sandbox = Sandbox(clock=FastClock(1000))
    code, said = await ran(sandbox, *CALLED, of=ENDPOINTS)
    assert code == 0, said
    assert "No issues found" in said
    assert f"Tested: {len(ENDPOINTS)}" in said
    assert {*ENDPOINTS} <= sandbox.requests.keys()
    assert sandbox.books.orders > 0
    assert sandbox.books.received > 0 or not FULL


@pytest.mark.skipif(not FULL, reason="the same tool once more, four seconds; with FULL=1")
async def test_it_would_find_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that are wrong on purpose: a 500, a paid order without its amount, a new field."""
    sandbox = Sandbox(clock=FastClock(1000))
    sandbox.faults.add(Fault.HTTP_500, endpoints=["cancel"])
    wrong = {
        "orderquery": success({}),
        "GetMchInfo": DraftReply(fields={"mch_id": "1", "surprise": "1"}),
    }
    gateway = sandbox._runtime.gateway
    right = gateway._carried_out
    monkeypatch.setattr(
        gateway,
        "_carried_out",
        lambda endpoint, *rest: wrong.get(endpoint) or right(endpoint, *rest),
    )
    code, said = await ran(
        sandbox, "--phases", "fuzzing", "-n", "3", of=["cancel", "orderquery", "GetMchInfo"]
    )
    assert code == 1, said
    assert "Server error: 1" in said
    assert "Response violates schema: 1" in said
    assert "in no schema: surprise" in said
