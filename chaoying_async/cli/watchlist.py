"""What ``chaoying watch`` is to wait for: numbers on the command line, lines of a file or a pipe.

A line is a JSON object, or a row of CSV. Objects and a CSV header use the document's own names;
``expected`` is the amount, and names that mean nothing here are left out. Without a header the
columns are the number and the amount; ``csvlines.py`` knows their separators.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import click

from chaoying_async.cli.csvlines import CsvLines, Place
from chaoying_async.cli.fields import amount
from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.api.barcode import OrderQuery, RefundQuery
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.pollstatus import Query

#: A query, and the amount in fen that it should name; None: any.
Wanted = tuple[Query, int | None]

#: Your own number, and the gateway's; the first is what a bare number is taken for.
_NUMBERS: Mapping[bool, tuple[str, str]] = {
    False: ("out_trade_no", "transaction_id"),
    True: ("out_refund_no", "refund_id"),
}
#: Longer lines are no orders.
_LONGEST = 64 * 1024


@attrs.frozen(kw_only=True)
class Reader:
    """Makes queries of what is written; ``paytype`` is for lines that name none."""

    refunds: bool
    paytype: str | None

    def argument(self, word: str) -> Wanted:
        """``NUMBER`` or ``NUMBER=AMOUNT``."""
        number, _, expected = word.partition("=")
        fields = {_NUMBERS[self.refunds][0]: number, "expected": expected}
        return self._wanted(fields, Place(word))

    def rows(self, lines: Iterable[str]) -> Iterator[Wanted]:
        """All lines of a text, the empty ones left out."""
        rows = CsvLines(_NUMBERS[self.refunds])
        for place, line in enumerate(lines, start=1):
            found = self._line(rows, line, f"line {place}")
            if found is not None:
                yield found

    async def arriving(self, pipe: asyncio.StreamReader) -> AsyncGenerator[Wanted]:
        """The same, as they are written into a pipe."""
        rows = CsvLines(_NUMBERS[self.refunds])
        place = 0
        while line := await pipe.readline():
            place += 1
            found = self._line(rows, line.decode("utf-8-sig"), f"line {place}")
            if found is not None:
                yield found

    def _line(self, rows: CsvLines, line: str, place: str) -> Wanted | None:
        text = line.strip(" \r\n").removeprefix("\ufeff")
        if not text.strip():
            return None
        if text.startswith("{"):
            return self._wanted(_object(text, place), Place(place))
        found = rows.fields(text, place)
        return None if found is None else self._wanted(*found)

    def _wanted(self, fields: Mapping[str, Any], place: Place) -> Wanted:
        numbers = {name: str(fields[name]) for name in _NUMBERS[self.refunds] if fields.get(name)}
        if not numbers:
            raise click.UsageError(f"{place.line}: needs {' or '.join(_NUMBERS[self.refunds])}")
        wallet = fields.get("paytype") or self.paytype
        if not wallet:
            raise click.UsageError(
                f"{place.line}: under which paytype? name it there, or as --paytype"
            )
        try:
            expected = _expected(fields.get("expected"))
        except ValueError as error:
            raise click.UsageError(f"{place.of('expected')}: {error}") from error
        try:
            more: dict[str, Any] = {
                **numbers,
                "paytype": PayType(wallet),
                "mch_id": fields.get("mch_id") or None,
            }
            return RefundQuery(**more) if self.refunds else OrderQuery(**more), expected
        except ParameterError as error:
            raise click.UsageError(f"{place.of(next(iter(error.problems)))}: {error}") from error
        except ValueError as error:
            raise click.UsageError(f"{place.of('paytype')}: {error}") from error


def _object(text: str, place: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        raise click.UsageError(f"{place}: not a JSON object") from None
    if not isinstance(found, dict):
        raise click.UsageError(f"{place}: not a JSON object")
    return found


def _expected(given: object) -> int | None:
    """An int is fen; a text as in ``send``: digits are fen, with a decimal point it is yuan."""
    if given in (None, ""):
        return None
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
    try:
        if file == "-" and _is_pipe():
            async with _stdin() as pipe:
                async for each in reader.arriving(pipe):
                    yield each
        else:
            for each in reader.rows(_text(file).splitlines()):
                yield each
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{file}: not UTF-8") from error


def _text(file: str) -> str:
    if file == "-":
        return sys.stdin.buffer.read().decode("utf-8-sig")
    return Path(file).read_text(encoding="utf-8-sig")


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
