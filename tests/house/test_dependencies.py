"""What comes with the package is listed, allowed, and told inside the wheel."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.house import dependency_pages
from tests.house.dependencies import (
    BASE,
    EXTRAS,
    PROJECT,
    ROOT,
    all_dependencies,
    is_allowed,
    pins,
    requirements,
)

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def _script(name: str) -> ModuleType:
    """A script of .ci/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def release() -> ModuleType:
    """What `make release-check` runs."""
    return _script("release_check")


@pytest.mark.parametrize("path", dependency_pages.FILES, ids=lambda path: path.name)
def test_the_lists_say_what_is_asked_for(path: Path) -> None:
    """The pages and the bill of materials are as `make dependencies` would write them now."""
    message = "run `make dependencies`, and look at what has changed: a new package, a new licence?"
    assert path.read_text("utf-8") == dependency_pages.texts()[path], message


def test_every_licence_is_allowed() -> None:
    """Nobody who installs this library gets a package that asks for their own source."""
    assert {
        one.name: one.licence for one in all_dependencies() if not is_allowed(one.licence)
    } == {}


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 OR (BSD-2-Clause AND PSF-2.0)", True),
        ("LGPL-3.0-only", False),
        ("MIT AND GPL-3.0-or-later", False),
        ("MIT OR LGPL-3.0-only", False),
        ("not said", False),
        ("", False),
    ],
)
def test_a_licence_is_allowed_when_all_of_it_is(licence: str, *, allowed: bool) -> None:
    """One licence off the list is enough to ask a person."""
    assert is_allowed(licence) is allowed


def test_the_closure_goes_through_dependencies_and_extras() -> None:
    """h11 comes with httpcore, which comes with httpx; jinja2 with the sandbox alone."""
    by = {one.name: one.extras for one in all_dependencies()}
    assert by["h11"] == (BASE,)
    assert by["jinja2"] == ("sandbox",)
    assert {"cli", "sandbox"} <= set(by["click"])
    assert "chaoying-async" not in by
    assert not {"ruff", "mypy", "twine", "psycopg"} & by.keys(), "these are ours, not a user's"
    assert any(line.startswith("h11==") for line in pins(all_dependencies()))


def test_the_bill_of_materials_names_what_pyproject_asks_for() -> None:
    """Read by another hand than the one that writes it: names, ranges, extras, no date."""
    bill: dict[str, Any] = json.loads(dependency_pages.BILL.read_text("utf-8"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.7")
    root = bill["metadata"]["component"]
    assert (root["name"], root["version"]) == (PROJECT["name"], PROJECT["version"])
    assert "timestamp" not in bill["metadata"], "the same source makes the same wheel"
    parts = {part["name"]: part for part in bill["components"]}
    asked = {needed.name for extra in (BASE, *EXTRAS) for needed in requirements(extra)}
    assert parts.keys() == asked
    base = [Requirement(line) for line in PROJECT["dependencies"]]
    assert {name for name, part in parts.items() if part["scope"] == "required"} == {
        needed.name for needed in base
    }
    for needed in base:
        bounds = parts[needed.name]["versionRange"].removeprefix("vers:pypi/").split("|")
        assert sorted(bounds) == sorted(str(needed.specifier).split(",")), needed
    assert all(part["isExternal"] and part["licenses"] for part in parts.values())


def test_actions_are_pinned_to_a_commit() -> None:
    """A tag of somebody else's action may be moved; the hash of a commit may not."""
    used = [
        line.split("uses:", 1)[1].split()
        for path in WORKFLOWS
        for line in path.read_text("utf-8").splitlines()
        if "uses:" in line
    ]
    assert used
    for action, *comment in used:
        assert len(action.partition("@")[2]) == 40, action
        assert comment[:1] == ["#"], f"{action}: say which version that is"


def _build_of(contents: dict[str, bytes]) -> Callable[[Path, Any], Path]:
    def build(where: Path, builder: Any) -> Path:
        where.mkdir(parents=True)
        (where / "a.whl").write_bytes(contents[builder.name])
        return where

    return build


def test_two_builds_that_differ_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name of the file that differs is told; equal ones are kept, with their hash."""
    script = _script("reproducible")
    monkeypatch.setattr(script, "build", _build_of({"first": b"one", "other": b"one"}))
    script.main(str(tmp_path / "same"))
    assert (tmp_path / "same" / "a.whl").read_bytes() == b"one"
    assert "a.whl" in capsys.readouterr().out
    monkeypatch.setattr(script, "build", _build_of({"first": b"one", "other": b"two"}))
    with pytest.raises(SystemExit, match=r"differ: a\.whl"):
        script.main(str(tmp_path / "differing"))


@pytest.mark.outside
def test_only_the_tree_itself_is_built() -> None:
    """An environment, the history and products of the tree are not copied into a build."""
    sources = _script("reproducible").sources()
    assert {"pyproject.toml", "chaoying_async/__init__.py", ".gitignore"} <= set(sources)
    assert not [name for name in sources if name.startswith((".venv/", ".git/", "dist/"))]


AUDITED = '{"dependencies": [%s], "fixes": []}'
CLEAN = '{"name": "attrs", "version": "26.1.0", "vulns": []}'
HOLED = '{"name": "h11", "version": "0.14.0", "vulns": [{"id": "CVE-2025-43859"}]}'
SKIPPED = '{"name": "h11", "skip_reason": "Dependency not found on PyPI"}'


def test_an_audit_that_was_not_answered_is_not_a_clean_one(release: ModuleType) -> None:
    """pip-audit ends well where its source knew nothing of a package; we do not."""
    assert release.judge_audit(AUDITED % CLEAN, "") == "1 packages"
    with pytest.raises(release.DoesNotHoldError, match=r"h11 0\.14\.0: CVE-2025-43859"):
        release.judge_audit(AUDITED % f"{SKIPPED}, {HOLED}", "")
    with pytest.raises(release.NotAskedError, match="1 of 2 packages"):
        release.judge_audit(AUDITED % f"{CLEAN}, {SKIPPED}", "No known vulnerabilities found")
    with pytest.raises(release.NotAskedError, match="Failed to resolve"):
        release.judge_audit("", "Traceback ...\nConnectionError: Failed to resolve 'api.osv.dev'")


def test_what_was_not_asked_is_an_error_of_its_own(
    release: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """0: ready, 1: something does not hold, 3: not asked, unless that is what was wanted."""
    monkeypatch.setattr(release, "DIST", tmp_path)

    def holds() -> str:
        return "yes"

    def fails() -> str:
        raise release.DoesNotHoldError("no\nnot at all")

    def unasked() -> str:
        raise release.NotAskedError("no network")

    good, bad, silent = (release.Check(ask.__name__, ask) for ask in (holds, fails, unasked))
    assert release.judge((good,), offline=False) == 0
    assert release.judge((good, silent), offline=False) == 3
    assert release.judge((good, silent), offline=True) == 0
    assert "Nobody knows yet about: unasked" in capsys.readouterr().out
    assert release.judge((good, bad, silent), offline=True) == 1
    assert "Not ready for a release: fails." in capsys.readouterr().out


def test_a_tag_of_another_version_is_refused(release: ModuleType) -> None:
    """Version 0.1.0 is not published as v9.9.9."""
    with pytest.raises(release.DoesNotHoldError, match=r"the tag is v9\.9\.9"):
        release.version_is_told("v9.9.9")


@pytest.mark.tools
def test_the_workflows_pass_zizmor() -> None:
    """Every rule that needs no network: permissions, pins, templates in shell lines."""
    zizmor = str(Path(sys.executable).parent / "zizmor")
    command = [zizmor, "--offline", "--pedantic", "--no-progress", *map(str, WORKFLOWS)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
