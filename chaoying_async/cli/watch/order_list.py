"""What ``chaoying watch`` is to wait for: numbers on the command line, lines of a file or a pipe.

A line is a JSON object, or a row of CSV. Objects and a CSV header use the document's own names;
``expected`` is the amount; a name that means nothing here is refused, since it may have been meant
to say what is expected. Without a header the columns are the number and the amount; ``csvlines.py``
knows their separators, ``numbers.py`` what a spreadsheet does to a number.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import sys
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import click

from chaoying_async.cli import output
from chaoying_async.cli.fields import amount
from chaoying_async.cli.watch.csv_rows import BLANKS, CsvLines, Place, unknown
from chaoying_async.cli.watch.damaged_numbers import damage, impossible, looks_rounded
from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.api.follow_up import OrderQuery, RefundQuery
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.polling.status import Query

#: A query, and the amount in fen that it should name; None: any.
Wanted = tuple[Query, int | None]

#: Your own number, and the gateway's; the first is what a bare number is taken for.
_NUMBERS: Mapping[bool, tuple[str, str]] = {
    False: ("out_trade_no", "transaction_id"),
    True: ("out_refund_no", "refund_id"),
}
#: What else a line may say.
_MORE = ("expected", "paytype", "mch_id")
#: Longer lines are no orders.
_LONGEST = 64 * 1024


@attrs.frozen(kw_only=True)
class Reader:
    """Makes queries of what is written; ``paytype`` is for lines that name none."""

    refunds: bool
    paytype: str | None
    _doubted: list[str] = attrs.field(init=False, factory=list, eq=False)
    """A number that a spreadsheet may have rounded; one is told of."""

    def argument(self, word: str) -> Wanted:
        """``NUMBER`` or ``NUMBER=AMOUNT``."""
        number, separator, expected = word.partition("=")
        fields = {_NUMBERS[self.refunds][0]: number}
        if separator:
            fields["expected"] = expected
        return self._wanted(fields, Place(word))

    def rows(self, lines: Iterable[str]) -> Iterator[Wanted]:
        """All lines of a text, the empty ones left out."""
        rows = self._csv()
        for place, line in enumerate(lines, start=1):
            found = self._line(rows, line, f"line {place}")
            if found is not None:
                yield found

    async def arriving(self, pipe: asyncio.StreamReader) -> AsyncGenerator[Wanted]:
        """The same, as they are written into a pipe."""
        rows = self._csv()
        place = 0
        while line := await pipe.readline():
            place += 1
            found = self._line(rows, _decoded(line, place), f"line {place}")
            if found is not None:
                yield found

    def _csv(self) -> CsvLines:
        return CsvLines(_NUMBERS[self.refunds], self.known)

    @property
    def known(self) -> tuple[str, ...]:
        """The names of columns and members that mean something here."""
        return (*_NUMBERS[self.refunds], *_MORE)

    def _line(self, rows: CsvLines, line: str, place: str) -> Wanted | None:
        text = line.strip(f"{BLANKS}\r\n").removeprefix("\ufeff")
        if not text.strip(f"{BLANKS}\t"):
            return None
        if text.startswith("["):
            raise click.UsageError(f"{place}: write one JSON object a line, not a list of them")
        if text.startswith("{"):
            return self._wanted(self._members(text, place), Place(place))
        found = rows.fields(text, place)
        return None if found is None else self._wanted(*found)

    def _wanted(self, fields: Mapping[str, Any], place: Place) -> Wanted:
        names = _NUMBERS[self.refunds]
        numbers = {name: whole for name in names if (whole := self._whole(name, fields, place))}
        if not numbers:
            raise click.UsageError(f"{place.line}: {self._needs}")
        wallet = fields.get("paytype") or self.paytype
        if not wallet:
            raise click.UsageError(
                f"{place.line}: under which paytype? name it there, or as --paytype"
            )
        try:
            expected = _expected(fields["expected"]) if "expected" in fields else None
        except ValueError as error:
            raise click.UsageError(f"{place.of('expected')}: {error}") from error
        try:
            more: dict[str, Any] = {
                **numbers,
                "paytype": PayType(wallet),
                "mch_id": self._whole("mch_id", fields, place),
            }
            return RefundQuery(**more) if self.refunds else OrderQuery(**more), expected
        except ParameterError as error:
            raise click.UsageError(f"{place.of(next(iter(error.problems)))}: {error}") from error
        except ValueError as error:
            raise click.UsageError(f"{place.of('paytype')}: {error}") from error

    @property
    def _needs(self) -> str:
        return f"needs {' or '.join(_NUMBERS[self.refunds])}"

    def _whole(self, name: str, fields: Mapping[str, Any], place: Place) -> str | None:
        """A number as it was written: a text, and whole."""
        value = fields.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise click.UsageError(
                f'{place.of(name)}: {name} must be a text, as in "0001230": what JSON calls a '
                "number has no leading zeros, and a long one loses its last digits"
            )
        if words := damage(value) or impossible(name, value):
            raise click.UsageError(f"{place.of(name)}: {value!r} is no number: {words}")
        if looks_rounded(value) and not self._doubted:
            self._doubted.append(value)
            output.remark(
                f"{place.of(name)}: {value} has only zeros behind its 15th digit, as a spreadsheet "
                "leaves of a longer number: is it whole? (Others are not looked at.)",
                "yellow",
            )
        return value

    def _members(self, text: str, place: str) -> dict[str, Any]:
        """The members of a JSON object, all of them known and none twice."""

        def told(pairs: Sequence[tuple[str, Any]]) -> Any:
            return [(name.strip(BLANKS).lower(), value) for name, value in pairs]

        try:
            found = json.loads(text, object_pairs_hook=told)
        except (ValueError, RecursionError):
            raise click.UsageError(f"{place}: not a JSON object") from None
        names = [name for name, _ in found]
        if problem := unknown(names, self.known):
            missing = set(names).isdisjoint(_NUMBERS[self.refunds])
            needed = f"{self._needs}; " if missing else ""
            raise click.UsageError(f"{place}: {needed}{problem}")
        return dict(found)


def _expected(given: object) -> int | None:
    """An int is fen; a text as in ``send``: digits are fen, with a decimal point it is yuan."""
    if given in (None, ""):
        raise ValueError(
            "no amount is there, and nothing would be compared: if that is meant, leave out the "
            "separator, or the whole column"
        )
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    if isinstance(given, str):
        return amount(given)
    raise ValueError('expected must be fen (1230), or yuan as a text ("12.30")')


async def wanted(reader: Reader, words: Iterable[str], file: str | None) -> AsyncGenerator[Wanted]:
    """First the command line, then the file; ``-`` is stdin, a pipe is read as it is written."""
    for word in words:
        yield reader.argument(word)
    if file is None:
        return
    empty = True
    try:
        if file == "-" and _is_pipe():
            async with _stdin() as pipe:
                async for each in reader.arriving(pipe):
                    empty = False
                    yield each
        else:
            lines = _LINE_END.split(_decoded(_bytes(file), 1))
            for _ in reader.rows(lines):
                pass  # what is wrong anywhere is told before anything is asked
            for each in reader.rows(lines):
                empty = False
                yield each
    except NotUtf8Error as error:
        raise click.UsageError(f"{file}, {error}") from error
    if empty:
        name = "stdin" if file == "-" else file
        raise click.UsageError(f"{name} names no order: nothing of it was asked about")


_LINE_END = re.compile("\r\n|\r|\n")


class NotUtf8Error(ValueError):
    """Bytes of another encoding; says in which line."""


def _decoded(read: bytes, first: int) -> str:
    """A text in UTF-8; ``first`` is the number of its first line."""
    try:
        return read.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = first + read.count(b"\n", 0, error.start)
        kind = "UTF-16" if read.startswith((b"\xff\xfe", b"\xfe\xff")) else "perhaps GBK"
        raise NotUtf8Error(
            f"line {line}: not UTF-8 ({kind}): save it as CSV UTF-8 (逗号分隔)"
        ) from error


def _bytes(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()


def _is_pipe() -> bool:
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):  # no file at all: a test's, or an IDE's
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


@asynccontextmanager
async def _stdin() -> AsyncGenerator[asyncio.StreamReader]:
    pipe = asyncio.StreamReader(limit=_LONGEST)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(pipe), sys.stdin
    )
    try:
        yield pipe
    except asyncio.LimitOverrunError as error:
        raise click.UsageError("stdin: a line is too long") from error
    finally:
        transport.close()
