"""A worker process of a shop's fleet, to be killed at any moment.

``python -m tests.hard.fleet_worker URL GATEWAY MODE QUEUE`` says that it serves, and does so until
it dies.
"""

from __future__ import annotations

import asyncio
import sys

from tests.hard.fleet_shop import serve

if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
