"""The dashboard of examples/observability: as Grafana imports it, and of metrics that there are.

Grafana is not in Debian, so it does not run here; test_real_prometheus.py runs every query.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from chaoying_async.observing.metric_table import MERCHANT_METRICS, METRICS
from tests.observing.prometheus_server import ALERTS, DASHBOARD

BOARD: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
PANELS: list[Any] = BOARD["panels"]
CHARTS = [panel for panel in PANELS if panel["type"] != "row"]
_NAME = re.compile(r"\bchaoying_[a-z_]+")
_WIDTH = 24


def expressions() -> Iterator[str]:
    """Every query of the dashboard."""
    for panel in CHARTS:
        yield from (target["expr"] for target in panel["targets"])


def metrics_in(text: str) -> set[str]:
    """The metrics that a text names; a histogram's and a summary's series are its own."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in _NAME.findall(text)}


def test_it_is_a_dashboard_that_grafana_imports() -> None:
    """A schema of Grafana 10 or 11, no id of somebody's installation, ids of panels once each."""
    assert BOARD["schemaVersion"] >= 38
    assert "id" not in BOARD
    assert BOARD["uid"]
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))
    assert {variable["name"] for variable in BOARD["templating"]["list"]} == {"datasource", "job"}


def test_every_panel_asks_the_chosen_prometheus_and_says_its_unit() -> None:
    """``${datasource}``, never the name that one installation gave it."""
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in CHARTS:
        assert panel["title"]
        assert panel["datasource"] == chosen
        assert panel["fieldConfig"]["defaults"]["unit"] in {"short", "s", "reqps", "percentunit"}
        letters = [target["refId"] for target in panel["targets"]]
        assert len(letters) == len(set(letters)) > 0
        for target in panel["targets"]:
            assert target["datasource"] == chosen
            assert 'job=~"$job"' in target["expr"]


def test_a_job_can_be_chosen_whatever_its_process_watches() -> None:
    """A process of notifications alone has no metric of calls; ``up`` is there for each job."""
    (job,) = [each for each in BOARD["templating"]["list"] if each["name"] == "job"]
    assert job["query"]["query"] == job["definition"] == 'label_values(up{job=~"chaoying.*"}, job)'


def test_orders_are_counted_in_whole_numbers() -> None:
    """``increase`` extrapolates: 3.07 orders are paid nowhere."""
    (paid,) = [panel for panel in CHARTS if panel["title"].startswith("Paid in 1 h")]
    assert paid["fieldConfig"]["defaults"]["decimals"] == 0


def test_panels_lie_beside_each_other_and_not_on_top() -> None:
    """Grafana would move what overlaps, each time in another way."""
    taken: dict[tuple[int, int], int] = {}
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= _WIDTH
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["id"]) == panel["id"]


def test_it_shows_every_metric_and_none_that_is_gone() -> None:
    """Those by merchant are off by default, and so is what would show them."""
    shown = metrics_in("\n".join(expressions()))
    assert shown == METRICS.keys() - MERCHANT_METRICS


def test_alert_rules_are_about_metrics_that_there_are() -> None:
    """A rule about a metric of another name is silent for ever."""
    assert metrics_in(ALERTS.read_text("utf-8")) - {"chaoying_async"} <= METRICS.keys()
