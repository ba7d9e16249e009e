"""``chaoying``: the command line; needs the extra ``[cli]``, which ``[sandbox]`` brings along.

One command or two a file; ``commands.py`` lists them and turns errors into the exit codes of
``exits.py``. Results go to stdout, everything else to stderr. A key comes from the environment or
from a prompt that does not show it, never from an option (M-27).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

#: What the extra brings.
_BEHIND_EXTRA = frozenset({"click", "rich", "segno"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code.

    Without ``arguments`` this is the program, and signals no longer end it when this returns.
    """
    try:
        from chaoying_async.cli.command_line import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _BEHIND_EXTRA:
            raise
        print("the command line needs an extra: pip install 'chaoying-async[cli]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return run(arguments)
