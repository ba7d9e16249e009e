"""A worker process of ``owner_process``, to be stopped, blocked or killed.

``python -m tests.hard.owner_worker URL NAME PORT SHARDS``
"""

from __future__ import annotations

import asyncio
import sys

from tests.hard.owner_process import serve

if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
