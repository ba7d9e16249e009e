"""Makes the queries of ``chaoying watch``: from the command line, a file or a pipe.

A line is a JSON object or a row of CSV. JSON objects and a CSV header use the document's own names;
``expected`` is the amount. An unknown name is refused, since it may have been meant as an amount.
Without a header the columns are the number and the amount (see ``csv_rows``).
"""

from __future__ import annotations

import asyncio
import itertools
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
from chaoying_async.cli.text_files import in_utf8
from chaoying_async.cli.watch.csv_rows import BLANKS, CsvRows, Place, unknown
from chaoying_async.cli.watch.damaged_numbers import damage, impossible, looks_rounded
from chaoying_async.exceptions import ParameterError
from chaoying_async.polling.order import check_amount, number_of
from chaoying_async.sansio.api.follow_up import OrderQuery, RefundQuery
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.polling.status import Query

#: A query, and the expected amount in fen; None: any.
WatchedOrder = tuple[Query, int | None]
#: The same with where it is written.
PlacedOrder = tuple[WatchedOrder, Place]

#: For orders and for refunds: your own number, which a bare number is, and the gateway's.
_NUMBERS: Mapping[bool, tuple[str, str]] = {
    False: ("out_trade_no", "transaction_id"),
    True: ("out_refund_no", "refund_id"),
}
#: Other names in a line.
_MORE = ("expected", "paytype", "mch_id")
#: Bytes; a longer line is refused.
_LONGEST = 64 * 1024


@attrs.frozen(kw_only=True)
class OrderReader:
    """Makes queries of words and lines; ``paytype``, ``mch_id``: for those that name none."""

    refunds: bool
    paytype: str | None
    mch_id: str | None
    _doubted: list[str] = attrs.field(init=False, factory=list, eq=False)
    """The first number that a spreadsheet may have rounded; only one is reported."""

    def argument(self, word: str) -> PlacedOrder:
        """``NUMBER`` or ``NUMBER=AMOUNT``."""
        number, separator, expected = word.partition("=")
        fields = {_NUMBERS[self.refunds][0]: number}
        if separator:
            fields["expected"] = expected
        return self._wanted(fields, Place(word))

    def rows(self, lines: Iterable[str]) -> Iterator[PlacedOrder]:
        """The queries of all lines that are not empty."""
        rows = self._csv()
        for place, line in enumerate(lines, start=1):
            found = self._line(rows, line, f"line {place}")
            if found is not None:
                yield found

    async def arriving(self, pipe: asyncio.StreamReader) -> AsyncGenerator[WatchedOrder]:
        """The queries of lines, as they are written into a pipe."""
        rows = self._csv()
        for place in itertools.count(1):
            try:
                line = await pipe.readline()
            except ValueError:
                raise click.UsageError(f"line {place}: is longer than 64 KiB") from None
            if not line:
                return
            found = self._line(rows, _decoded(line, place), f"line {place}")
            if found is not None:
                yield found[0]

    def agreeing(
        self, found: Iterable[PlacedOrder], amounts: dict[tuple[str, ...], tuple[int, str]]
    ) -> Iterator[WatchedOrder]:
        """The same orders; refuses one that has another amount in ``amounts``, where all go."""
        for (query, expected), place in found:
            if expected is not None:
                key = (str(query.paytype), query.mch_id or self.mch_id or "", *number_of(query))
                first, line = amounts.setdefault(key, (expected, place.line))
                if first != expected:
                    raise click.UsageError(
                        f"{place.of('expected')}: {line} has another amount for this order"
                    )
            yield query, expected

    def _csv(self) -> CsvRows:
        return CsvRows(_NUMBERS[self.refunds], self.known)

    @property
    def known(self) -> tuple[str, ...]:
        """The names of columns and JSON members that a line may have."""
        return (*_NUMBERS[self.refunds], *_MORE)

    def _line(self, rows: CsvRows, line: str, place: str) -> PlacedOrder | None:
        text = line.strip(f"{BLANKS}\r\n").removeprefix("\ufeff")
        if not text.strip(f"{BLANKS}\t"):
            return None
        if text.startswith("["):
            raise click.UsageError(f"{place}: write one JSON object a line, not a list of them")
        if text.startswith("{"):
            return self._wanted(self._members(text, place), Place(place))
        found = rows.fields(text, place)
        return None if found is None else self._wanted(*found)

    def _wanted(self, fields: Mapping[str, Any], place: Place) -> PlacedOrder:
        names = _NUMBERS[self.refunds]
        numbers = {name: whole for name in names if (whole := self._whole(name, fields, place))}
        if not numbers:
            raise click.UsageError(f"{place.line}: {self._needs}")
        wallet = fields.get("paytype")
        wallet = self.paytype if wallet in (None, "") else wallet
        if wallet is None:
            raise click.UsageError(
                f"{place.line}: under which paytype? name it there, or as --paytype"
            )
        merchant = self._whole("mch_id", fields, place)
        if not (merchant or self.mch_id):
            raise click.UsageError(
                f"{place.of('mch_id')}: of which merchant? name it there, or as --mch-id"
            )
        try:
            expected = _expected(fields["expected"]) if "expected" in fields else None
        except ValueError as error:
            raise click.UsageError(f"{place.of('expected')}: {error}") from error
        try:
            more: dict[str, Any] = {
                **numbers,
                "paytype": PayType(wallet),
                "mch_id": merchant,
            }
            query = RefundQuery(**more) if self.refunds else OrderQuery(**more)
        except ParameterError as error:
            raise click.UsageError(f"{place.of(next(iter(error.problems)))}: {error}") from error
        except ValueError as error:
            raise click.UsageError(f"{place.of('paytype')}: {error}") from error
        return (query, expected), place

    @property
    def _needs(self) -> str:
        return f"needs {' or '.join(_NUMBERS[self.refunds])}"

    def _whole(self, name: str, fields: Mapping[str, Any], place: Place) -> str | None:
        """A number as it was written; refuses one that is not a text, or that is damaged."""
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
        """The members of a JSON object; refuses unknown ones, and one that comes twice."""

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
    """The amount in fen: an int is fen, digits in a text are fen, with a decimal point yuan."""
    if given in (None, ""):
        raise ValueError(
            "no amount is there, and nothing would be compared: if that is meant, leave out the "
            "separator, or the whole column"
        )
    if isinstance(given, str):
        return _in_range(amount(given))
    if isinstance(given, int) and not isinstance(given, bool):
        return _in_range(given)
    raise ValueError('expected must be fen (1230), or yuan as a text ("12.30")')


def _in_range(expected: int) -> int:
    try:
        check_amount(expected)
    except ParameterError:
        raise ValueError("must not be below 0, and have at most 15 digits in fen") from None
    return expected


async def wanted(
    reader: OrderReader, words: Iterable[str], file: str | None
) -> AsyncGenerator[WatchedOrder]:
    """The command line first, then the file; ``-`` is stdin. A pipe is read as it is written.

    A mistake in any word and any line is reported before anything is asked, but for a pipe's.
    """
    amounts: dict[tuple[str, ...], tuple[int, str]] = {}
    given = list(reader.agreeing(map(reader.argument, words), amounts))
    piped = file == "-" and _is_pipe()
    empty = True
    try:
        lines = [] if file is None or piped else _LINE_END.split(_decoded(_bytes(file), 1))
        for _ in reader.agreeing(reader.rows(lines), amounts):
            empty = False
        amounts.clear()
        for each in given:
            yield each
        for each, _ in reader.rows(lines):
            yield each
        if piped:
            async with _stdin() as pipe:
                async for each in reader.arriving(pipe):
                    empty = False
                    yield each
    except NotUtf8Error as error:
        raise click.UsageError(f"{file}, {error}") from error
    if empty and file is not None:
        name = "stdin" if file == "-" else file
        raise click.UsageError(f"{name} names no order: nothing of it was asked about")


_LINE_END = re.compile("\r\n|\r|\n")


class NotUtf8Error(ValueError):
    """Bytes of another encoding; the text names the line."""


def _decoded(read: bytes, first: int) -> str:
    """The bytes as a text in UTF-8; ``first`` is the number of the first line."""
    try:
        return read.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = first + read.count(b"\n", 0, error.start)
        kind = "UTF-16" if read.startswith((b"\xff\xfe", b"\xfe\xff")) else "perhaps GBK"
        raise NotUtf8Error(
            f"line {line}: not UTF-8 ({kind}): save it as CSV UTF-8 (逗号分隔)"
        ) from error


def _bytes(file: str) -> bytes:
    read = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    return in_utf8(read)[0]


def _is_pipe() -> bool:
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):  # not a real file: in a test or an IDE
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
    finally:
        transport.close()
