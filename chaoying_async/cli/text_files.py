"""Turns what editors and PowerShell write into UTF-8: UTF-16, UTF-32, and a byte order mark."""

from __future__ import annotations

import codecs
from typing import Final

#: The longer mark first: that of UTF-32 begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: How many bytes are looked at where no mark says the encoding.
_LOOKED_AT = 64


def in_utf8(read: bytes) -> tuple[bytes, str]:
    """The text in UTF-8 without a mark, and what it was in; empty where nothing was changed.

    Bytes that do not fit their mark stay as they are.
    """
    mark, encoding = _encoding(read)
    if not encoding:
        return read, ""
    try:
        text = read.removeprefix(mark).decode(encoding)
    except UnicodeDecodeError:
        return read, ""
    name = encoding.upper().removesuffix("-LE").removesuffix("-BE")
    return text.encode(), f"{name} with a byte order mark" if mark else name


def _encoding(read: bytes) -> tuple[bytes, str]:
    for mark, encoding in _MARKS:
        if read.startswith(mark):
            return mark, encoding
    # No message and no list has a NUL in it: where every other byte is one, it is UTF-16.
    start = read[:_LOOKED_AT]
    even, odd = start[::2], start[1::2]
    if len(odd) > 1 and not odd.strip(b"\0") and even.count(0) == 0:
        return b"", "utf-16-le"
    if len(odd) > 1 and not even.strip(b"\0") and odd.count(0) == 0:
        return b"", "utf-16-be"
    return b"", ""
