"""Outcomes as they travel: JSON, and nothing that only Python knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def as_text(outcome: Mapping[str, Any]) -> str:
    """The outcome as JSON in ASCII; :class:`TypeError` or ValueError for what JSON cannot hold.

    ASCII, since a text from the gateway may hold what UTF-8 cannot (half of an emoji).
    """
    return json.dumps(outcome, allow_nan=False, separators=(",", ":"))


def as_plain(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """The outcome in types of JSON alone: ``Fen`` becomes int, an enum str, a tuple a list.

    So no worker needs our classes to read it, whichever serializer its queue uses.
    """
    plain: dict[str, Any] = json.loads(as_text(outcome))
    return plain
