"""The README as PyPI shows it: links to files lead to the repository, at the release's tag.

hatchling runs this when it builds. The address stands in one place, ``Source`` of
``[project.urls]``; without it the links stay as they are, and ``make release-check`` says so.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

#: A picture or not, and a target that is no address: a file of the repository.
RELATIVE_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#|mailto:)([^)\s]+)\)")


def with_addresses(text: str, source: str, version: str) -> str:
    """The text with each relative link leading to its file at the tag of this version."""

    def link(match: re.Match[str]) -> str:
        picture, words, target = match.groups()
        view = "raw" if picture else "blob"
        return f"{picture}[{words}]({source.rstrip('/')}/{view}/v{version}/{target})"

    return RELATIVE_LINK.sub(link, text)


class ReadmeHook(MetadataHookInterface):
    """Gives the project its ``readme``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """See hatchling's metadata hooks."""
        text = Path(self.root, "README.md").read_text("utf-8")
        source = metadata.get("urls", {}).get("Source")
        if source:
            text = with_addresses(text, source, metadata["version"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
