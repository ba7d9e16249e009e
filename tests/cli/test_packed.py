"""The command line in one file: as a zip archive, and frozen by PyInstaller.

Both are made of copies of the packages that are installed here, so that no index is asked. Neither
may see the environment of the tests: the archive runs on a bare Python, the other one on its own.
Freezing takes a minute and a half: ``FULL=1``; what our hook tells PyInstaller is looked at always.
The demo, which is two processes, and most pages of help are for ``FULL=1`` too.
"""

from __future__ import annotations

import json
import runpy
import shutil
import sqlite3
import subprocess
import zipapp
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path

import httpx
import pytest

import chaoying_async
from chaoying_async.cli import main
from chaoying_async.cli.command_line import _FILES
from tests.cli import packed
from tests.cli.packed import output_of
from tests.sizes import FULL, cases

pytestmark = [pytest.mark.tools, pytest.mark.slow, pytest.mark.timeout(900)]

#: Commands, each of which is a process here; the help of those behind comes from the same rooms.
HELP = cases(
    ["send orderquery"],
    more=[
        *(
            "",
            "sandbox",
            "inbox list",
            "doctor",
            "demo",
            "trigger",
            "listen",
            "check",
            "query",
            "refund-query",
            "watch",
            "sign",
        ),
        *("poller", "send", "verify", "inbox"),
    ],
)


def _archive(directory: Path) -> tuple[str, ...]:
    """As docs/deployment.md makes one, with a bare Python to run it."""
    packed.install(directory / "app", "sandbox", "sql", compiled=True)
    archive = directory / "chaoying.pyz"
    # Not `main="chaoying_async.cli:main"`: zipapp would throw the exit code away.
    shutil.copy(packed.PACKAGE / "__main__.py", directory / "app")
    zipapp.create_archive(directory / "app", archive)
    return str(packed.BARE_PYTHON), "-I", str(archive)


def _frozen(directory: Path) -> tuple[str, ...]:
    """As docs/deployment.md freezes it: PyInstaller finds what it needs by the entry point."""
    python = packed.environment(directory / "env", "sandbox", "sql", also=("pyinstaller",))
    program = directory / "run.py"
    program.write_text(
        "import sys\n\nfrom chaoying_async.cli import main\n\nsys.exit(main())\n", "utf-8"
    )
    places = [f"--{name}path={directory / name}" for name in ("dist", "work", "spec")]
    made = ("-m", "PyInstaller", "--log-level=ERROR", "--name=chaoying", *places, program)
    subprocess.run(
        [str(word) for word in (python, *made)], env=packed.without_settings(), check=True
    )
    return (str(directory / "dist" / "chaoying" / "chaoying"),)


PROGRAMS = cases(
    [pytest.param(_archive, id="zipapp")], more=[pytest.param(_frozen, id="pyinstaller")]
)


@pytest.fixture(scope="module", params=PROGRAMS)
def program(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, ...]:
    made: tuple[str, ...] = request.param(tmp_path_factory.mktemp("packed"))
    return made


@contextmanager
def _sandbox(program: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """A sandbox that the packed program serves, and what it told."""
    with subprocess.Popen(
        [*program, "sandbox", "--json", "--port", "0"],
        env=packed.without_settings(),
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def test_pyinstaller_is_told_of_all_that_it_cannot_see() -> None:
    """Modules that are imported by name, files that are no modules, and our own metadata."""
    (ours,) = (
        point.load()
        for point in entry_points(group="pyinstaller40")
        if point.value.startswith("chaoying_async.")
    )
    (folder,) = ours()
    told = runpy.run_path(str(Path(folder, "hook-chaoying_async.py")))
    by_name = {f"chaoying_async.cli.commands.{file}" for file in _FILES.values()}
    by_name |= {*chaoying_async._LATER.values(), "aiosqlite", "asyncpg", "aiomysql", "psycopg"}
    assert by_name - {*told["hiddenimports"]} == set()
    found = {Path(file) for file, _ in told["datas"]}
    files = {
        file
        for file in packed.PACKAGE.rglob("*")
        if file.is_file() and file.suffix not in {".py", ".pyc"}
    }
    assert files - found == set()
    assert any(file.name.endswith(".dist-info") for file in found)
    assert told["module_collection_mode"] == {"chaoying_async": "pyz+py"}


def test_every_command_has_its_whole_help(
    program: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The words of fields included, which are read from the source; its version is its own."""
    assert output_of(*program, "--version") == "chaoying, version 0.1.0\n"
    pages: dict[str, str] = {}
    for command in HELP:
        assert main([*command.split(), "--help"]) == 0
        pages[command] = capsys.readouterr().out.partition("\n")[2]
    for command, page in pages.items():
        told = output_of(*program, *command.split(), "--help")
        assert told.partition("\n")[2] == page, command


def test_a_sandbox_has_its_pages_in_both_languages_and_is_asked(program: tuple[str, ...]) -> None:
    """Templates, words, style and script; and through the engine that a session has there."""
    with _sandbox(program) as told:
        english = httpx.get(told["console"], headers={"accept-language": "en"}, timeout=60)
        chinese = httpx.get(told["console"], headers={"accept-language": "zh-CN"}, timeout=60)
        style = httpx.get(f"{told['console']}static/console.css", timeout=60)
        script = httpx.get(f"{told['console']}static/console.js", timeout=60)
        names = ("url", "agent_id", "key", "pid", "mch_id")
        env = {f"CHAOYING_{name.upper()}": told[name] for name in names}
        assert "signature" in output_of(*program, "check", env=env)
    assert (english.status_code, chinese.status_code) == (200, 200)
    assert "Orders" in english.text
    assert "订单" in chinese.text
    assert style.headers["content-type"].startswith("text/css")
    assert len(style.text) > 1000
    assert len(script.text) > 1000


@pytest.mark.skipif(not FULL, reason="ten seconds; with FULL=1")
def test_the_demo_starts_another_process_of_itself(program: tuple[str, ...]) -> None:
    """There is no ``python -m chaoying_async`` to start."""
    assert "Everything adds up" in output_of(*program, "demo", "--payments", "5")


def test_the_doctor_has_its_words(program: tuple[str, ...], tmp_path: Path) -> None:
    """They are files of the package too."""
    message = tmp_path / "message.txt"
    message.write_text("a=1&b=2&sign=" + "0" * 32, "utf-8")
    told = output_of(*program, "doctor", str(message), status=1, env={"CHAOYING_KEY": "k" * 32})
    assert "The sign is a row of zeros" in told


def test_a_database_is_opened_where_compiled_modules_can_be(
    program: tuple[str, ...], tmp_path: Path
) -> None:
    """From a zip archive Python imports none, and SQLAlchemy needs one: said in a sentence."""
    file = tmp_path / "shop.db"
    sqlite3.connect(file).close()
    is_archive = program[-1].endswith(".pyz")
    told = output_of(*program, "inbox", "list", "--store", str(file), status=2)
    assert "Traceback" not in told
    assert ("zip archive" in told) is is_archive
    assert ("no inbox's tables" in told) is not is_archive
