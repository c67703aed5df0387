"""Reading a CSV file that has nothing odd in it, in C++: the same rows as line by line, many times faster."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

LINE_COLUMN = "_line"
_ASCII_BASED = ("utf-8-sig", "iso8859-1", "iso8859-15", "cp1252")
_BLOCK_BYTES = 8 << 20
_SCANNED_BYTES = 8 << 20
_QUOTE, _NEWLINE, _RETURN = b'"'[0], b"\n"[0], b"\r"[0]

Bytes: TypeAlias = npt.NDArray[np.uint8]


def read_regular(
    path: Path, header: list[str], encoding: str, delimiter: str, columns: Sequence[str] | None = None
) -> pa.Table | None:
    """All rows as text with `_line`; None where a line may need more care than this gives it.

    Args:
        columns: Those to return; all when None.
    """
    if len(header) == 1 or encoding not in _ASCII_BASED or path.stat().st_size == 0:
        return None
    content = np.memmap(path, dtype=np.uint8, mode="r")
    if _has_odd_lines(content, delimiter.encode()[0]):
        return None
    try:
        rows = csv.read_csv(
            path,
            csv.ReadOptions(encoding="utf8" if encoding == "utf-8-sig" else encoding, block_size=_BLOCK_BYTES),
            csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    if rows.column_names != header:
        return None
    lines = pa.array(_lines(rows), pa.int64())
    return (rows if columns is None else rows.select(columns)).append_column(LINE_COLUMN, lines)


def _has_odd_lines(content: Bytes, sign: int) -> bool:
    """Whether there is a blank line, a lone carriage return, or a quote where a strict reader would refuse it."""
    quotes = 0
    for start in range(0, len(content), _SCANNED_BYTES):
        end = min(len(content), start + _SCANNED_BYTES)
        # With the neighbours of the block, as if the file stood between line ends.
        block = np.full(end - start + 4, _NEWLINE, dtype=np.uint8)
        low, high = max(0, start - 2), min(len(content), end + 2)
        block[2 - (start - low) : 2 + high - start] = content[low:high]
        own = slice(2, 2 + end - start)
        if _any_odd_ends(block, own, is_first=start == 0):
            return True
        found = np.flatnonzero(block[own] == _QUOTE) + 2
        if _any_misplaced(block, found, quotes, sign):
            return True
        quotes += len(found)
    return quotes % 2 == 1


def _any_odd_ends(block: Bytes, own: slice, *, is_first: bool) -> bool:
    here, before, before_that = block[own], block[1 : own.stop - 1], block[: own.stop - 2]
    after = block[own.start + 1 : own.stop + 1]
    if is_first and here[0] in (_NEWLINE, _RETURN):
        return True
    is_end = here == _NEWLINE
    is_blank = is_end & ((before == _NEWLINE) | ((before == _RETURN) & (before_that == _NEWLINE)))
    is_blank[: 1 if is_first else 0] = False
    return bool(is_blank.any() or ((here == _RETURN) & (after != _NEWLINE)).any())


def _any_misplaced(block: Bytes, quotes: npt.NDArray[np.int64], count_before: int, sign: int) -> bool:
    """Quotes open and close in turn, the two of a doubled one too.

    One that opens begins its field or is the second of a doubled one; one that closes ends its field or is the first.
    """
    may_touch = np.zeros(256, dtype=bool)
    may_touch[[_NEWLINE, _RETURN, _QUOTE, sign]] = True
    opens = (np.arange(len(quotes)) + count_before) % 2 == 0
    touched = np.where(opens, block[quotes - 1], block[quotes + 1])
    return bool((~may_touch[touched]).any())


def _lines(rows: pa.Table) -> npt.NDArray[np.int64]:
    """Line of the file that each row begins on; a quoted field may go over several."""
    breaks = np.zeros(rows.num_rows, dtype=np.int64)
    for column in rows.columns:
        counts = pc.fill_null(pc.count_substring(column, "\n"), 0)
        breaks += counts.to_numpy()
    before = np.concatenate([[0], np.cumsum(breaks)[:-1]]) if rows.num_rows else breaks
    return np.asarray(2 + np.arange(rows.num_rows) + before, dtype=np.int64)
