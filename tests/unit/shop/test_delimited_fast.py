"""The quick reading of a CSV file gives what the careful one gives, or leaves the file to it."""

import random
from itertools import product
from pathlib import Path

import pytest

from ml.outcomes import DataFailed
from ml.shop import delimited, delimited_fast
from ml.shop.delimited import DelimitedText, read_delimited
from ml.shop.delimited_fast import read_regular

HEADER = ["id", "note", "n"]


def _read(path: Path, encoding: str = "utf-8-sig") -> DelimitedText | str:
    try:
        return read_delimited(path, path.name, encoding)
    except DataFailed as error:
        return str(error)


def _both(
    path: Path, patch: pytest.MonkeyPatch, encoding: str = "utf-8-sig"
) -> tuple[DelimitedText | str, DelimitedText | str]:
    quick = _read(path, encoding)
    with patch.context() as careful:
        careful.setattr(delimited, "read_regular", lambda *_arguments: None)
        return quick, _read(path, encoding)


def _same(quick: DelimitedText | str, careful: DelimitedText | str) -> bool:
    if isinstance(quick, str) or isinstance(careful, str):
        return quick == careful
    return bool(
        quick.rows.combine_chunks().equals(careful.rows.combine_chunks()) and quick.unparsed.equals(careful.unparsed)
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_files_of_odd_pieces_are_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - no secret
    monkeypatch.setattr(delimited_fast, "_SCANNED_BYTES", 3 + seed)  # so that much happens where two blocks meet
    pieces = ["a", "é", " ", '"', '""', ",", "\n", "\r\n", '","', '"\n', ',"', "1", "x,y", '"q"', "b,c,d\n"]
    quickly = 0
    for number in range(400):
        body = "".join(draw.choice(pieces) for _ in range(draw.randrange(12)))
        path = tmp_path / f"{number}.csv"
        path.write_text("id,note,n\n" + draw.choice(["", "r,s,t\n", '"r","s, ""s""",t\n']) + body, newline="")
        quickly += read_regular(path, HEADER, "utf-8-sig", ",") is not None
        assert _same(*_both(path, monkeypatch)), path.read_text()
    assert quickly > 20


def test_every_short_line_is_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "short.csv"
    for line in map("".join, product('a",\n', repeat=5)):
        path.write_text("id,note,n\nr,s,t\n" + line + "\n", newline="")
        assert _same(*_both(path, monkeypatch)), repr(line)


def test_an_ordinary_file_is_read_quickly_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "ordinary.csv"
    path.write_bytes(b'id,note,n\r\na,"x, ""y""\nz",1\r\nb,,2')
    rows = read_regular(path, HEADER, "utf-8-sig", ",")
    assert rows is not None
    assert rows.to_pylist() == [
        {"id": "a", "note": 'x, "y"\nz', "n": "1", "_line": 2},
        {"id": "b", "note": None, "n": "2", "_line": 4},
    ]


@pytest.mark.parametrize("encoding", ["iso8859-1", "cp1252", "utf-8-sig"])
def test_other_encodings_are_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    path = tmp_path / "names.csv"
    path.write_text("id,note,n\na,CAFÉ CRÈME,1\n", encoding="latin-1")
    quick, careful = _both(path, monkeypatch, encoding)
    assert _same(quick, careful)
    assert isinstance(quick, str) == (encoding == "utf-8-sig"), "latin-1 is not UTF-8, and said so"


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_are_read(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text(f"id{delimiter}note\na{delimiter}x,y\n")
    text = read_delimited(path, "other.csv", delimiter=delimiter)
    assert text.rows.to_pylist() == [{"id": "a", "note": "x,y", "_line": 2}]
