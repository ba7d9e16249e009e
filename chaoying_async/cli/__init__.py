"""``chaoying``: the command line; needs the extra ``[cli]``, which ``[sandbox]`` brings along.

Results go to stdout, everything else to stderr. A key comes from the environment or from a prompt
that does not show it, never from an option (M-27).

- ``command_line``: finds a command by its name, runs it, and turns its errors into exit codes.
- ``commands``: one module for each command.
- ``listen``: the parts of ``chaoying listen``.
- ``poller``: the parts of ``chaoying poller``.
- ``inquiry``: the parts of ``chaoying explain``.
- ``watch``: the parts of ``chaoying watch``.
- ``language``: what is said, in the user's language; English or Chinese.
- ``gateway_options``: options that say which gateway is asked, and as whom; reads the key.
- ``field_option``: an option whose help is the words under the field that it sets.
- ``fields``: options for the fields of requests, made from the request classes.
- ``ranges``: the ranges of options that are numbers.
- ``messages``: reads a message from a file, from stdin or from ``name=value`` words.
- ``text_words``: refuses words that are no text, where a database would get them.
- ``text_files``: turns what editors and PowerShell write into UTF-8.
- ``stores``: finds the store or inbox that a command names, and explains its errors.
- ``probe``: makes one harmless call and notes how it ended, for ``chaoying check``.
- ``reach``: opens a connection to each other host, and asks nothing, for ``chaoying check``.
- ``reply_status``: decides what a reply says: a status, an exit code, and what to do next.
- ``reply_display``: shows a reply on a terminal or as JSON, without personal values.
- ``exits``: decides how a command ends, by error and by status.
- ``error_lines``: shows the library's lines at ERROR, for commands that use a store.
- ``output``: prints tables where a person reads, and JSON lines where a program does.
- ``streams``: makes stdout and stderr streams to which writing never fails.
- ``interrupts``: decides what a signal does, by how far a command has come.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

#: Packages that the extra brings.
_BEHIND_EXTRA = frozenset({"click", "rich", "segno"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code.

    Without ``arguments`` this is the whole program: signals are ignored once it returns.
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
