"""The files of examples/deployment say what the program does, in the words of their programs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaoying_async.cli.commands.poller import GRACE, poller

FOLDER = Path(__file__).parents[2] / "examples" / "deployment"
UNIT = (FOLDER / "chaoying-poller.service").read_text("utf-8")
OPTIONS = {name for parameter in poller.params for name in parameter.opts}


def options_of(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def setting(name: str) -> str:
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    return str(value)


def test_systemd_starts_a_poller_and_gives_it_time_to_end() -> None:
    """Its options exist, it comes back, and it is not killed before --grace is over."""
    words = setting("ExecStart").split()
    assert words[0].endswith("/chaoying")
    assert words[1] == "poller"
    assert options_of(words) <= OPTIONS
    assert setting("Restart") == "always"
    assert float(setting("TimeoutStopSec")) > GRACE
    assert "CHAOYING_KEY=" not in UNIT


@pytest.mark.tools
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_itself_finds_no_fault(tmp_path: Path) -> None:
    """``systemd-analyze verify``."""
    copy = tmp_path / "chaoying-poller.service"
    program = setting("ExecStart").split()[0]
    copy.write_text(UNIT.replace(program, sys.executable), "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "chaoying-poller" in line]
    assert said == [], done.stderr


def test_kubernetes_asks_for_health_and_gives_a_poller_time_to_end() -> None:
    """Paths and port are those that the poller serves; the key comes from a Secret."""
    yaml: Any = pytest.importorskip("yaml")
    text = (FOLDER / "chaoying-poller.yaml").read_text("utf-8")
    deployment, budget = yaml.safe_load_all(text)
    assert (deployment["apiVersion"], deployment["kind"]) == ("apps/v1", "Deployment")
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert budget["spec"]["selector"]["matchLabels"] == labels
    assert pod["spec"]["terminationGracePeriodSeconds"] > GRACE
    (container,) = pod["spec"]["containers"]
    assert container["command"] == ["chaoying", "poller"]
    assert options_of(container["args"]) <= OPTIONS
    (port,) = container["ports"]
    assert f"--port={port['containerPort']}" in container["args"]
    probes = {"livenessProbe": "/health", "readinessProbe": "/ready"}
    for probe, path in probes.items():
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}
    assert "env" not in container
