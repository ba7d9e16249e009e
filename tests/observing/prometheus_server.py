"""A real Prometheus: Debian's package, on the loopback, in a directory of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.servers import Server, find_program

FOLDER = Path(__file__).parents[2] / "examples" / "observability"
ALERTS = FOLDER / "alerts.yml"
DASHBOARD = FOLDER / "dashboard.json"


class PrometheusServer(Server):
    """Scrapes ``targets`` (job -> ``host:port``) twice a second, and evaluates our rules."""

    name = "prometheus"
    account = "prometheus"

    def __init__(self, targets: Mapping[str, str]) -> None:
        self.prometheus = find_program("prometheus", "prometheus")
        self.targets = targets
        self._client = httpx.Client(trust_env=False, timeout=10)
        super().__init__()

    def prepare(self) -> None:
        shutil.copy(ALERTS, self.directory)
        settings = {
            "global": {"scrape_interval": "500ms", "evaluation_interval": "1s"},
            "rule_files": [ALERTS.name],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [target]}]}
                for job, target in self.targets.items()
            ],
        }
        # JSON is YAML too.
        (self.directory / "prometheus.yml").write_text(json.dumps(settings), "utf-8")

    def command(self) -> Sequence[str]:
        return (
            self.prometheus,
            f"--config.file={self.directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        )

    def answers(self) -> bool:
        try:
            return self._get("/-/ready").is_success
        except httpx.TransportError:
            return False

    def query(self, expression: str) -> list[Any]:
        """The series that an expression gives now; an error of PromQL fails the test."""
        answer = self._get("/api/v1/query", query=expression).json()
        assert answer["status"] == "success", (expression, answer)
        found: list[Any] = answer["data"]["result"]
        return found

    def rules(self) -> list[Any]:
        """Our rules, with their health and state."""
        groups = self._get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _get(self, path: str, **params: str) -> httpx.Response:
        url = f"http://127.0.0.1:{self.port}{path}"
        return self._client.get(url, params=params)

    def stop(self) -> None:
        self._client.close()
        super().stop()
