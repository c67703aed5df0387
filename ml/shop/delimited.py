"""Reading a CSV file as text: every field a string, every line accounted for.

A line that cannot be split into the header's columns is kept whole, with its number and the reason. What
makes all lines doubtful (encoding, delimiter, header, a quote that never closes) fails the file instead.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from ml.outcomes import DataFailed
from ml.shop.delimited_fast import LINE_COLUMN, read_regular
from ml.shop.delivery import UNPARSED_SCHEMA

DELIMITER = ","
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
UTF8 = "utf-8-sig"
_CHUNK_ROWS = 100_000


@dataclass(frozen=True)
class DelimitedText:
    """A CSV file's content.

    Attributes:
        rows: String columns as in the header (null for an empty field), and `_line`.
        unparsed: The lines that are not in `rows` (`UNPARSED_SCHEMA`).
    """

    rows: pa.Table
    unparsed: pa.Table


class _Lines:
    """The lines of a file, remembering those that the record being read consists of."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.number = 0
        self.pending: list[tuple[int, str]] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.number += 1
        self.pending.append((self.number, line))
        return line

    def take(self) -> list[tuple[int, str]]:
        taken, self.pending = self.pending, []
        return taken


def read_delimited(path: Path, name: str, encoding: str = UTF8, delimiter: str = DELIMITER) -> DelimitedText:
    """Read a CSV file with a header line; UTF-8 may begin with a byte-order mark.

    Args:
        name: What messages and `source_file` call the file.

    Raises:
        DataFailed: The file as a whole cannot be read.
    """
    try:
        with path.open(encoding=encoding, newline="") as file:
            header = _header(csv.reader(file, delimiter=delimiter, strict=True), name, delimiter)
        rows = read_regular(path, header, encoding, delimiter)
        if rows is not None:
            return DelimitedText(rows, UNPARSED_SCHEMA.empty_table())
        with path.open(encoding=encoding, newline="") as file:
            return _read(file, name, delimiter)
    except UnicodeDecodeError:
        spoken = "UTF-8" if encoding == UTF8 else encoding
        raise DataFailed(f"{name}: not {spoken}; save the file as {spoken}") from None
    except OSError as error:
        raise DataFailed(f"{name}: cannot be opened ({error.strerror})") from error


def _read(file: TextIO, name: str, delimiter: str) -> DelimitedText:
    lines = _Lines(file)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header = _header(reader, name, delimiter)
    lines.take()
    chunks: list[pa.Table] = []
    values: list[list[str]] = []
    numbers: list[int] = []
    unparsed: list[dict[str, object]] = []
    while True:
        try:
            record = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            _stop_if_quote_is_open(error, lines, name)
            unparsed += _kept_whole(lines.take(), name, f"cannot be split into fields: {error}")
            continue
        taken = lines.take()
        if not record:
            continue
        if len(record) != len(header):
            unparsed += _kept_whole(taken, name, f"{len(record)} fields where the header has {len(header)}")
            continue
        values.append(record)
        numbers.append(taken[0][0])
        if len(values) == _CHUNK_ROWS:
            chunks.append(_chunk(header, values, numbers))
            values, numbers = [], []
    chunks.append(_chunk(header, values, numbers))
    return DelimitedText(pa.concat_tables(chunks), pa.Table.from_pylist(unparsed, schema=UNPARSED_SCHEMA))


def _header(reader: Iterator[list[str]], name: str, delimiter: str) -> list[str]:
    try:
        header = next(reader)
    except StopIteration:
        raise DataFailed(f"{name}: is empty; expected a header line with the table's columns") from None
    except csv.Error as error:
        raise DataFailed(f"{name}: the header line cannot be read ({error})") from None
    if len(header) == 1:
        found = [word for sign, word in DELIMITERS.items() if sign != delimiter and sign in header[0]]
        if found:
            expected = f"{DELIMITERS[delimiter]}s ({delimiter!r})"
            raise DataFailed(f"{name}: expected columns separated by {expected}, the header has a {found[0]}")
    repeated = sorted({column for column in header if header.count(column) > 1})
    if repeated:
        raise DataFailed(f"{name}: the header names {', '.join(repeated)} more than once")
    if "" in header:
        raise DataFailed(f"{name}: column {header.index('') + 1} of the header has no name")
    if LINE_COLUMN in header:
        raise DataFailed(f"{name}: the header names {LINE_COLUMN}, which is reserved for line numbers")
    return header


def _stop_if_quote_is_open(error: csv.Error, lines: _Lines, name: str) -> None:
    if "unexpected end of data" in str(error):
        first = lines.pending[0][0] if lines.pending else lines.number
        raise DataFailed(f"{name}: the quote that opens in the record of line {first} never closes") from None


def _kept_whole(taken: list[tuple[int, str]], name: str, reason: str) -> list[dict[str, object]]:
    """One entry per line: a stray quote can make many lines one record."""
    return [
        {"source_file": name, "line": number, "text": line.rstrip("\r\n"), "reason": reason}
        for number, line in taken
        if line.strip()
    ]


def _chunk(header: list[str], values: list[list[str]], numbers: list[int]) -> pa.Table:
    columns = zip(*values, strict=True) if values else [()] * len(header)
    arrays = [pa.array([value or None for value in column], pa.string()) for column in columns]
    return pa.Table.from_arrays([*arrays, pa.array(numbers, pa.int64())], names=[*header, LINE_COLUMN])
