"""The container of the sandbox: its Dockerfile's own steps, carried out without a daemon."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaoying_async.cli.commands.sandbox import sandbox
from chaoying_async.sandbox import Sandbox
from chaoying_async.sandbox.serving.exports import exports
from chaoying_async.sandbox.serving.security import SHORTEST_TOKEN
from tests.examples.dockerfile import Image, Step, steps, words
from tests.examples.shops import EXAMPLES, ROOT
from tests.servers import free_port
from tests.sizes import FULL

pytestmark = pytest.mark.tools

FOLDER = EXAMPLES / "sandbox_container"
STEPS = steps(FOLDER / "Dockerfile")
OPTIONS = {name for parameter in sandbox.params for name in parameter.opts}
TOKEN = "only-for-this-test-0001"
PUBLIC = "http://sandbox:8080"
#: Seconds; `docker stop` kills after ten.
AT_ONCE = 5.0


def only(name: str) -> str:
    (value,) = (step.value for step in STEPS if step.name == name)
    return value


def stages() -> list[list[Step]]:
    found: list[list[Step]] = []
    for step in STEPS:
        if step.name == "FROM":
            found.append([])
        found[-1].append(step)
    return found


def test_the_base_is_pinned_and_the_same_in_both_stages() -> None:
    """To a release of Python and of Debian: `latest` would be another image tomorrow."""
    bases = {step.value.partition(" ")[0] for step in STEPS if step.name == "FROM"}
    (base,) = bases
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", base)


HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))


@pytest.mark.skipif(HADOLINT is None, reason="hadolint has no wheel for this machine")
def test_hadolint_finds_no_fault() -> None:
    """Every rule of it is on."""
    done = subprocess.run(
        [str(HADOLINT), "--no-color", str(FOLDER / "Dockerfile")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


def test_nothing_of_the_build_is_in_the_image() -> None:
    """The last stage takes the environment alone: no sources, no compiler, no cache."""
    _, last = stages()
    copied = [step.value for step in last if step.name == "COPY"]
    assert copied == ["--from=build /opt/chaoying /opt/chaoying"]
    assert "--no-cache-dir" in next(step.value for step in STEPS if step.name == "RUN")
    listed = (FOLDER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    let_in = {line.removeprefix("!") for line in listed if line.startswith("!")}
    named = {
        name for step in stages()[0] if step.name == "COPY" for name in step.value.split()[:-1]
    }
    assert let_in == named
    assert "*" in listed
    assert all((ROOT / name).exists() for name in named)


def test_it_runs_as_a_number_that_is_not_root() -> None:
    """Kubernetes' ``runAsNonRoot`` cannot look a name up."""
    user, group = only("USER").split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert "useradd" not in str(STEPS)


def test_its_options_exist() -> None:
    """Those of the image, and those of the compose file."""
    entry = words(only("ENTRYPOINT"))
    assert entry[:2] == ["chaoying", "sandbox"]
    assert {word for word in entry if word.startswith("--")} <= OPTIONS
    assert entry[-1] == only("EXPOSE")
    assert f":{only('EXPOSE')}/" in only("HEALTHCHECK")
    for service in compose().values():
        given = {word for word in service["command"] if word.startswith("--")}
        assert given <= OPTIONS


def compose() -> dict[str, Any]:
    yaml: Any = pytest.importorskip("yaml")
    services: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))[
        "services"
    ]
    return services


def test_compose_gives_the_shop_what_the_sandbox_prints() -> None:
    """The key of its seed, and its address by the name of the service."""
    services = compose()
    command, shop = services["sandbox"]["command"], services["shop"]
    seed = int(command[command.index("--seed") + 1])
    url = command[command.index("--public-url") + 1]
    told = dict(exports(Sandbox(seed=seed).credentials, url))
    assert {**shop["environment"], **told} == shop["environment"]
    assert url == "http://sandbox:8080"
    assert shop["depends_on"]["sandbox"]["condition"] == "service_healthy"
    assert (FOLDER / shop["volumes"][0].partition(":")[0]).resolve() == EXAMPLES / "node_shop.mjs"


def test_compose_gives_the_sandbox_no_more_than_it_needs() -> None:
    """No capability, nothing to write to but /tmp, and a port for this machine alone."""
    service = compose()["sandbox"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    token = re.findall(r":-([^}]+)\}", service["environment"]["CHAOYING_SANDBOX_TOKEN"])[0]
    assert len(token) >= SHORTEST_TOKEN
    built = service["build"]
    assert (FOLDER / built["context"]).resolve() == ROOT
    assert ROOT / built["dockerfile"] == FOLDER / "Dockerfile"


# --------------------------------------------------------------------------- its steps, carried out


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The image's files. With ``FULL=1`` pip fetches what the package needs; else it is borrowed.

    Not below pytest's own folder, which other accounts may not enter.
    """
    folder = Path(tempfile.mkdtemp(prefix="chaoying-image-", dir="/tmp"))
    folder.chmod(0o755)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {"PATH": path, "HOME": str(folder), "PYTHONUTF8": "1"}
    if not FULL:
        borrowed = os.pathsep.join(site.getsitepackages())
        (place := folder / "opt" / "chaoying").mkdir(parents=True)
        (place / "ensurepip.py").touch()  # pip as well: venv, which runs this there, makes none
        environment |= {
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # as pip wants it: 0 is "none"
            "PIP_NO_INDEX": "1",
            "PYTHONPATH": borrowed,
        }
    made = Image(folder=folder, context=ROOT, environment=environment)
    try:
        made.build(STEPS)
        yield made
    finally:
        shutil.rmtree(folder)


def settings(image: Image, port: int) -> Mapping[str, str]:
    """What runs in the container sees: the image's ENV, and what `docker run -e` gives."""
    del port
    pairs = dict(re.findall(r"(\w+)=(\S+)", only("ENV")))
    path = image.here(pairs.pop("PATH")).replace("$PATH", "/usr/bin:/bin")
    borrowed = {name: image.environment[name] for name in ("PYTHONPATH",) if not FULL}
    return {**pairs, **borrowed, "PATH": path, "CHAOYING_SANDBOX_TOKEN": TOKEN}


def not_root(command: list[str]) -> list[str]:
    """The command as the image's user; as whoever we are where we are not root."""
    if os.geteuid() != 0:
        return command
    user, group = only("USER").split(":")
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *command]


@contextlib.contextmanager
def started(image: Image, port: int) -> Iterator[subprocess.Popen[str]]:
    entry = [str(port) if word == only("EXPOSE") else word for word in words(only("ENTRYPOINT"))]
    process = subprocess.Popen(
        not_root([*entry, "--seed", "1", "--public-url", PUBLIC]),
        cwd="/",
        env=settings(image, port),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def is_healthy(image: Image, port: int) -> bool:
    _, _, check = only("HEALTHCHECK").partition(" CMD ")
    command = words(check.replace(f":{only('EXPOSE')}/", f":{port}/"))
    done = subprocess.run(
        not_root(command), env=settings(image, port), capture_output=True, check=False, timeout=30
    )
    return done.returncode == 0


def lines_of(process: subprocess.Popen[str]) -> list[str]:
    """What it prints until it is ready: the last line is the token."""
    assert process.stdout is not None
    found: list[str] = []
    while not found or "CHAOYING_SANDBOX_TOKEN=" not in found[-1]:
        line = process.stdout.readline()
        assert line, found
        found.append(line.strip())
    return found


def test_the_steps_make_a_sandbox_that_a_shop_can_use(image: Image) -> None:
    """It starts as not root, says how it is reached, is healthy, and ends at once on SIGTERM."""
    port = free_port()
    assert not is_healthy(image, port)
    with started(image, port) as process:
        printed = lines_of(process)
        given = dict(re.findall(r"^export (\w+)=(.*)$", "\n".join(printed), re.MULTILINE))
        assert given["CHAOYING_URL"] == PUBLIC
        assert given["CHAOYING_ALLOW_HTTP"] == "1"
        assert given["CHAOYING_KEY"] == Sandbox(seed=1).credentials.key
        assert given["CHAOYING_SANDBOX_TOKEN"] == TOKEN
        assert is_healthy(image, port)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            assert len(client.get("/openapi.json").json()["paths"]) == 19
            assert client.get("/_sandbox/books").status_code == 401
            headers = {"authorization": f"Bearer {TOKEN}"}
            assert client.get("/_sandbox/books", headers=headers).status_code == 200
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=AT_ONCE)
        assert "Traceback" not in said
    assert (image.folder / "data").stat().st_mode & 0o7777 == 0o1777
