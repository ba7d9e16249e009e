"""``python -m chaoying_async.testing.simulation``: see ``campaign``."""

from __future__ import annotations

import sys

from chaoying_async.testing.simulation.campaign import main

if __name__ == "__main__":
    sys.exit(main())
