"""What PyPI shows of a release, once somebody has said where the repository is."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

from hatch_build import RELATIVE_LINK, ReadmeHook, with_addresses
from tests.house.dependencies import ROOT
from tests.house.test_dependencies import release

__all__ = ["release"]
SOURCE = "https://git.test/shop/chaoying"
README = (ROOT / "README.md").read_text("utf-8")


def test_each_link_of_the_readme_leads_to_a_file_at_the_tag() -> None:
    """None is relative any more, and behind each address is a file of this tree."""
    text = with_addresses(README, f"{SOURCE}/", "0.1.0")
    assert RELATIVE_LINK.findall(text) == []
    begin = f"]({SOURCE}/blob/v0.1.0/"
    targets = [each.partition(")")[0].partition("#")[0] for each in text.split(begin)[1:]]
    assert len(targets) == len(RELATIVE_LINK.findall(README)) > 20
    assert [target for target in targets if not (ROOT / target).is_file()] == []


def test_pictures_and_addresses_are_told_apart() -> None:
    """A picture is fetched as it is; what is an address or an anchor stays."""
    text = "![a](b.png) [c](d.md#e) [f](https://g.test) [h](#i) [j](mailto:k@l.test)"
    assert with_addresses(text, SOURCE, "1.2.3") == (
        f"![a]({SOURCE}/raw/v1.2.3/b.png) [c]({SOURCE}/blob/v1.2.3/d.md#e)"
        " [f](https://g.test) [h](#i) [j](mailto:k@l.test)"
    )


def test_the_build_asks_the_hook() -> None:
    """What hatchling would write into the wheel; without an address the links stay as they are."""
    made = ProjectMetadata(str(ROOT), PluginManager()).core
    assert (made.readme, made.readme_content_type) == (README, "text/markdown")
    metadata: dict[str, Any] = {"version": "0.1.0", "urls": {"Source": SOURCE}}
    ReadmeHook(str(ROOT), {}).update(metadata)
    assert metadata["readme"]["text"] == with_addresses(README, SOURCE, "0.1.0")


def test_the_check_says_what_to_write_and_where(
    release: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One place for the address, one heading of the changelog."""
    monkeypatch.setattr(release, "PYPROJECT", {"project": {"urls": {"Source": SOURCE}}})
    with pytest.raises(release.DoesNotHoldError) as caught:
        release.metadata_is_complete()
    for words in ("lacks Changelog, Documentation, Issues", "pyproject.toml", "[project.urls]"):
        assert words in str(caught.value)
    monkeypatch.setattr(release, "ROOT", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text("## [Unreleased]\n", "utf-8")
    with pytest.raises(release.DoesNotHoldError, match=r"in the place of `## \[Unreleased\]`"):
        release.version_is_told(None)


def test_links_that_follow_from_the_address_are_enough(
    release: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all four addresses it holds; a wheel whose links were left alone is refused."""
    urls = dict.fromkeys(release.URLS, SOURCE)
    monkeypatch.setattr(release, "PYPROJECT", {"project": {"urls": urls}})
    monkeypatch.setattr(release, "long_description", lambda: with_addresses(README, SOURCE, "1"))
    assert release.metadata_is_complete() == "Changelog, Documentation, Issues, Source"
    monkeypatch.setattr(release, "long_description", lambda: README)
    with pytest.raises(release.DoesNotHoldError, match=r"does hatch_build\.py run"):
        release.metadata_is_complete()
