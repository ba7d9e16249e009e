"""Names of parametrised cases that are the same in every worker of one run."""

from __future__ import annotations

import re


def without_addresses(value: object) -> str:
    """``repr``, without where in memory it is."""
    return re.sub(r" at 0x[0-9a-f]+| id='[0-9]+'", "", repr(value))
