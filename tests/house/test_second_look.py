"""What failed beside all other tests is looked at once more, alone; what is wrong stays wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sizes import cases

pytestmark = pytest.mark.outside

ROOT = Path(__file__).parents[2]
#: A test that fails at the runs that are named, counted from one.
SOURCE = """
from pathlib import Path

def test_one():
    runs = Path({count!r})
    run = 1 + (int(runs.read_text()) if runs.exists() else 0)
    runs.write_text(str(run))
    assert run not in {fails}
"""


def looked(place: Path, *, fails: tuple[int, ...], name: str = "test_one.py") -> tuple[int, str]:
    """How a run of that test ended after its second look, and what was noted as unsteady."""
    test = place / name
    test.parent.mkdir(parents=True, exist_ok=True)
    test.write_text(SOURCE.format(count=str(place / "runs"), fails=fails), "utf-8")
    python = (sys.executable, "-W", "ignore")
    bare = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    first = subprocess.run((*python, "-m", "pytest", "-q", "."), cwd=place, env=bare, check=False)
    again = (*python, str(ROOT / ".ci/again.py"), str(first.returncode), "unsteady")
    status = subprocess.run(again, cwd=place, env=bare, check=False).returncode
    noted = place / "unsteady"
    return status, noted.read_text("utf-8") if noted.exists() else ""


def test_what_fails_once_beside_others_and_never_alone_is_named(tmp_path: Path) -> None:
    """The run counts as passed, and the test's name is kept for whoever mends it."""
    assert looked(tmp_path, fails=(1,)) == (0, "  test_one.py::test_one\n")


@pytest.mark.parametrize("again", cases([4], more=[2, 3]))
def test_what_fails_alone_as_well_has_failed(tmp_path: Path, again: int) -> None:
    """One failure in the three runs alone is enough."""
    assert looked(tmp_path, fails=(1, again)) == (1, "")


@pytest.mark.parametrize("room", ["hard", "fuzz"])
def test_a_campaign_has_no_second_look(tmp_path: Path, room: str) -> None:
    """Its next run would try something else."""
    assert looked(tmp_path, fails=(1,), name=f"tests/{room}/test_one.py") == (1, "")


def test_many_failures_are_no_accident(tmp_path: Path) -> None:
    """More than five tests at once were not in the way of each other."""
    more = "\n".join(f"def test_{number}():\n    assert False\n" for number in range(5))
    (tmp_path / "test_more.py").write_text(more, "utf-8")
    assert looked(tmp_path, fails=(1,)) == (1, "")


def test_a_run_that_did_not_come_to_its_end_stays_so(tmp_path: Path) -> None:
    """Interrupted, unusable arguments, no tests: pytest's own exit code is kept."""
    (tmp_path / "test_broken.py").write_text("import nothing_of_the_kind\n", "utf-8")
    assert looked(tmp_path, fails=(1,)) == (2, "")


@pytest.mark.parametrize(
    ("more", "looks"),
    [("-x", False), ("-k a --maxfail=2", False), ("--pdb", False), ("-k x", True)],
)
def test_what_stops_at_a_failure_has_no_second_look(more: str, looks: bool) -> None:
    """What would have come after it was not run."""
    dry = ("make", "-n", "-o", ".venv/.dev", "test", f"ARGS={more}")
    said = subprocess.run(dry, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert (".ci/again.py" in said) == looks


def test_both_recipes_take_the_second_look() -> None:
    """`make test`, and `make measure`, which CI calls."""
    recipes = (ROOT / "Makefile").read_text("utf-8")
    assert recipes.count("--cache-clear $(ARGS) || $(AGAIN)") == 2
    assert os.access(ROOT / ".ci/run", os.X_OK)
