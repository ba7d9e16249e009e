"""Print the lower bounds of the base dependencies as constraints for pip.

Read from ``pyproject.toml`` each time, so what is promised and what is tested cannot drift apart.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def main() -> None:
    """Turn ``name>=1.2,<3`` into ``name==1.2``; a dependency without a lower bound is an error."""
    for requirement in tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["dependencies"]:
        found = re.match(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)", requirement)
        if found is None:
            message = f"{requirement}: has no lower bound that could be tested"
            raise SystemExit(message)
        print(f"{found[1]}=={found[2]}")


if __name__ == "__main__":
    main()
