"""What the command line says, in the user's language.

The code is written in English, and its texts become Chinese where they are shown: ``shown(text)``
finds the English sentence that a text was made of, and fills its values into the Chinese one. So an
error of the library stays English in programs, logs and ``--json``.

- ``lookup``: finds the sentence behind a text, and tells it in Chinese.
- ``help_pages``: help and usage errors, click's own texts included.
- ``chinese_help``: the Chinese of help texts, and of click's own texts.
- ``chinese_commands``: the Chinese of what the commands say, and of their advice.
- ``chinese_sandbox``: the Chinese of what a sandbox, its demo and its list of scenarios say.
- ``chinese_requests``: what is wrong with a request, a reply, a setting or a connection.
- ``chinese_outcomes``: what became of orders and notifications, and what to do about them.
- ``chinese_stores``: what is wrong with a database, an inbox, a poll store or a fleet.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Literal

from chaoying_async.cli import streams
from chaoying_async.cli.language.lookup import Sentences
from chaoying_async.environment import languages_from_env

Language = Literal["en", "zh"]


def language() -> Language:
    """The first of our languages that the environment asks for; English where there is none.

    Also English where stdout or stderr cannot encode Chinese.
    """
    tags = (tag.partition("_")[0].partition("-")[0].lower() for tag in languages_from_env())
    found = next((tag for tag in tags if tag in {"en", "zh"}), "en")
    return "zh" if found == "zh" and streams.takes("中文，") else "en"


@functools.cache
def chinese() -> Sentences:
    """Every sentence that has a Chinese one; loaded for those who read it."""
    from chaoying_async.cli.language.chinese_commands import COMMANDS
    from chaoying_async.cli.language.chinese_help import HELP
    from chaoying_async.cli.language.chinese_outcomes import OUTCOMES
    from chaoying_async.cli.language.chinese_requests import REQUESTS
    from chaoying_async.cli.language.chinese_sandbox import SANDBOX
    from chaoying_async.cli.language.chinese_stores import STORES

    return Sentences({**HELP, **COMMANDS, **SANDBOX, **REQUESTS, **OUTCOMES, **STORES})


@functools.cache
def _console_words() -> Mapping[str, str]:
    from chaoying_async.sandbox.console.words import TEXTS

    names = ("event.", "scenario.", "refund.")
    return {en: TEXTS["zh"][name] for name, en in TEXTS["en"].items() if name.startswith(names)}


def shown_by_sandbox(text: str) -> str:
    """As :func:`shown`; scenarios and events are told as the console of a sandbox tells them."""
    return shown(text) if language() == "en" else _console_words().get(text) or shown(text)


def shown(text: str, quoted: str = "") -> str:
    """The text in the user's language; as it is where nobody wrote a Chinese one.

    ``quoted`` is what somebody else says in it (see ``ChaoyingError.quoted``): it stays as it is.
    """
    if language() != "zh":
        return text
    try:
        return chinese().told(text, quoted)
    except RecursionError:  # hundreds of sentences, each a value of the one before: nobody's text
        return text
