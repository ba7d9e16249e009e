"""examples/observability/json_logs.py: every line is JSON, with fields of the call, and masked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("structlog")
pytestmark = pytest.mark.outside

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "examples" / "observability" / "json_logs.py"


def lines() -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(RECIPE)],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "130000000000001111" not in done.stdout  # the payment code
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_librarys_lines_and_the_programs_are_json_of_one_form() -> None:
    """Two calls of the library, with their fields, and one event of the program."""
    pay, query, paid = lines()
    assert {pay["logger"], query["logger"]} == {"chaoying_async"}
    for line, endpoint in ((pay, "pay"), (query, "orderquery")):
        assert (line["endpoint"], line["order"]) == (endpoint, "A1000101")
        assert (line["outcome"], line["state"], line["level"]) == ("RESULT", "SUCCESS", "info")
        assert line["elapsed"] >= 0
        assert line["request_id"] == "r-1"
        assert line["event"].startswith(f"{endpoint} A1000101 RESULT")
    assert (paid["logger"], paid["event"], paid["fen"]) == ("shop", "paid", 1230)
    assert all(line["timestamp"].endswith("Z") for line in (pay, query, paid))
