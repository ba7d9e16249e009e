"""The alert rules of examples/observability: when each of them fires, and when it does not."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.observing.alert_cases import CASES, AlertCase, Series
from tests.observing.prometheus_server import ALERTS
from tests.servers import Servers, find_program

yaml: Any = pytest.importorskip("yaml")

RULES: dict[str, Any] = {
    rule["alert"]: rule
    for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    for rule in group["rules"]
}


PAGES = ("operations.md", "operations.zh-CN.md")
_ROW = re.compile(r"^\| `(Chaoying\w+)` \| (\w+) \| .+ \|$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_the_page_says_what_to_do_about_every_alert(page: str) -> None:
    """In the order of the rules, with the severity that they have."""
    text = (ALERTS.parents[2] / "docs" / page).read_text("utf-8")
    wanted = [(name, rule["labels"]["severity"]) for name, rule in RULES.items()]
    assert _ROW.findall(text) == wanted


@pytest.fixture
def promtool(servers: Servers) -> str:
    """Prometheus's own tool."""
    return servers.found(lambda: find_program("promtool", "prometheus"))


def told(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_finds_no_fault_in_the_rules(promtool: str) -> None:
    """Every rule can be read, and none is there twice."""
    assert f"{len(RULES)} rules found" in told(promtool, "check", "rules", ALERTS)


def test_every_rule_says_in_both_languages_what_is_wrong_and_whom_it_wakes() -> None:
    """A page is for the night, a ticket for the next day; there is a case for each rule below."""
    assert RULES.keys() == CASES.keys()
    for rule in RULES.values():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "summary_zh"}
        assert rule["annotations"]["summary"].endswith((".", "?"))
        assert rule["annotations"]["summary_zh"].endswith(("。", "？"))


def test_every_alert_fires_when_it_should_and_is_silent_when_it_should_be(
    promtool: str, tmp_path: Path
) -> None:
    """``promtool test rules``: each rule fires for its own job alone, and for no quiet one."""
    fires = _world({name: case.fires for name, case in CASES.items()})
    fires["alert_rule_test"] = [
        _at(name, case.at, _expected(name, case)) for name, case in CASES.items()
    ]
    quiet = _world({name: case.silent for name, case in CASES.items()})
    quiet["alert_rule_test"] = [
        _at(name, minute, []) for name, case in CASES.items() for minute in case.silent_at
    ]
    assert "SUCCESS" in _tested(promtool, tmp_path, fires, quiet)


def test_a_wrong_case_would_be_noticed(promtool: str, tmp_path: Path) -> None:
    """An alert that is said to fire and does not makes promtool fail."""
    name = "ChaoyingCallbacksDark"
    wrong = _world({name: CASES[name].silent})
    wrong["alert_rule_test"] = [_at(name, CASES[name].at, _expected(name, CASES[name]))]
    with pytest.raises(AssertionError, match="FAILED"):
        _tested(promtool, tmp_path, wrong)


def _tested(promtool: str, folder: Path, *worlds: Any) -> str:
    path = folder / "alerts_test.yml"
    document = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": worlds}
    path.write_text(json.dumps(document), "utf-8")
    return told(promtool, "test", "rules", path)


def _world(series_of: Mapping[str, Series]) -> dict[str, Any]:
    """The series of several rules beside each other, each under a job of its own."""
    series = [
        {"series": each.replace('job="chaoying"', f'job="{_job(name)}"'), "values": values}
        for name, all_series in series_of.items()
        for each, values in all_series.items()
    ]
    return {"interval": "1m", "input_series": series}


def _job(name: str) -> str:
    return f"chaoying-{name}"


def _at(name: str, minute: int, alerts: list[Any]) -> Any:
    return {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": alerts}


def _expected(name: str, case: AlertCase) -> list[Any]:
    labels = {"job": _job(name), "severity": RULES[name]["labels"]["severity"], **case.labels}
    return [{"exp_labels": labels, "exp_annotations": RULES[name]["annotations"]}]
