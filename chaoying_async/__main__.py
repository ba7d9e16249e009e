"""``python -m chaoying_async`` is ``chaoying``."""

from __future__ import annotations

import sys

from chaoying_async.cli import main

if __name__ == "__main__":
    sys.exit(main())
