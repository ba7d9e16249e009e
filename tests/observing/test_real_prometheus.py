"""A real Prometheus scrapes a shop and a fleet's process: rules and dashboard get their numbers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.observing.prometheus_server import PrometheusServer
from tests.observing.test_dashboard import expressions
from tests.servers import Servers, free_port

pytest.importorskip("prometheus_client")
pytestmark = pytest.mark.outside

ROOT = Path(__file__).parents[2]
#: What Grafana puts in, for a scrape twice a second.
VARIABLES = {"$__rate_interval": "10s", "$job": ".+"}
#: The fleet asks nobody: it has no orders.
NOWHERE = {
    "CHAOYING_URL": "http://127.0.0.1:9",
    "CHAOYING_AGENT_ID": "1",
    "CHAOYING_KEY": "a key of no gateway",
    "CHAOYING_PID": "p",
    "CHAOYING_MCH_ID": "00000001",
}


@contextmanager
def started(folder: Path, *command: str) -> Iterator[None]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHAOYING_")}
    path = os.pathsep.join([str(ROOT), kept.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env={**kept, **NOWHERE, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.kill()


def until(holds: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.2)


def filled(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


@pytest.fixture(scope="module")
def prometheus(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrometheusServer]:
    """It has seen customers that were told of in both ways, and the fleet's process."""
    folder = tmp_path_factory.mktemp("watched")
    shop, fleet = free_port(), free_port()
    targets = {"chaoying": f"127.0.0.1:{shop}", "chaoying-fleet": f"127.0.0.1:{fleet}"}
    server = servers.found(lambda: PrometheusServer(targets))
    whole = ("--whole-fleet", "0.5")
    store = ("--store", "fleet.db", "--shards", "4")
    with ExitStack() as stack:
        stack.callback(server.stop)
        stack.enter_context(
            started(folder, str(ROOT / "examples" / "watched_shop.py"), "--port", str(shop))
        )
        stack.enter_context(
            started(folder, "-m", "chaoying_async", "poller", *store, "--port", str(fleet), *whole)
        )
        server.start()
        until(lambda: server.query('chaoying_paid_orders_total{source="query"} > 0'))
        until(lambda: server.query("sum(chaoying_fleet_shards_served) == 4"))
        until(lambda: server.query("sum(max by (shard) (chaoying_fleet_whole_served)) == 4"))
        until(lambda: server.query("max by (worker) (chaoying_fleet_worker_shards) == 4"))
        until(lambda: server.query("rate(chaoying_paid_orders_total[10s]) > 0"))
        yield server


def test_every_query_of_the_dashboard_gives_series(prometheus: PrometheusServer) -> None:
    """PromQL takes each of them, and something is drawn."""
    wanted = [filled(expression) for expression in expressions()]
    with suppress(AssertionError):  # which ones do not come is said below
        until(lambda: all(prometheus.query(each) for each in wanted))
    assert [each for each in wanted if not prometheus.query(each)] == []


def test_every_alert_rule_evaluates_and_none_wakes_anybody(prometheus: PrometheusServer) -> None:
    """A shop that does well, beside a forger and an on_paid that fails once, is no alarm."""
    until(lambda: all(rule["health"] != "unknown" for rule in prometheus.rules()))
    rules = prometheus.rules()
    assert len(rules) > 20
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []


def test_prometheus_knows_the_metrics_by_their_kind_and_words(prometheus: PrometheusServer) -> None:
    """What it was told of a counter and of a histogram is in its metadata."""
    found = prometheus._get("/api/v1/metadata").json()["data"]
    assert found["chaoying_call_duration_seconds"][0]["type"] == "histogram"
    counters = [name for name in found if name.startswith("chaoying_decisions")]
    assert [found[name][0]["type"] for name in counters] == ["counter"]
    assert found["chaoying_poller_lag_seconds"][0]["help"]
