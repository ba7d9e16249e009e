"""An option whose help is the words under the field that it sets."""

from __future__ import annotations

from typing import Any

import click

from chaoying_async.cli.language import language, shown
from chaoying_async.fieldwords import words_of


class FieldOption(click.Option):
    """Reads the words of field ``named`` of class ``of`` when help is shown; ``help`` follows them.

    ``named`` may be left out where the option has the field's name.
    """

    def __init__(self, *args: Any, of: type[Any], named: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self._of = of
        self._named = named or str(self.name)
        self.more = self.help or ""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        words = words_of(self._of, self._named)
        if language() == "zh" and words.chinese:
            self.help = f"{words.chinese}。{shown(self.more)}"
        else:
            self.help = f"{words} {self.more}".strip()
        return super().get_help_record(ctx)
