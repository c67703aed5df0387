"""Every line of a CSV file becomes a row or an unparsed line, or the file fails with a reason."""

import pytest

from ml.outcomes import DataFailed
from ml.shop import delimited
from ml.shop.delimited import read_delimited


@pytest.fixture
def read(tmp_path):
    def write_and_read(content):
        path = tmp_path / "orders.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_delimited(path, "orders.csv")

    return write_and_read


def lines_of(text):
    return [(line["line"], line["text"]) for line in text.unparsed.to_pylist()]


def test_fields_are_text_with_the_number_of_their_line(read):
    text = read("id,cents\na,100\nb,007\n")
    assert text.rows.to_pylist() == [
        {"id": "a", "cents": "100", "_line": 2},
        {"id": "b", "cents": "007", "_line": 3},
    ]
    assert text.unparsed.num_rows == 0


def test_an_empty_field_is_null(read):
    assert read('id,cents\n,1\n"",2\n').rows.column("id").to_pylist() == [None, None]


def test_quoted_fields_may_hold_delimiters_quotes_and_line_ends(read):
    text = read('id,note\na,"x, ""y""\nz"\nb,\n')
    assert text.rows.to_pylist() == [
        {"id": "a", "note": 'x, "y"\nz', "_line": 2},
        {"id": "b", "note": None, "_line": 4},
    ]


def test_windows_line_ends_a_byte_order_mark_and_a_missing_last_line_end_are_read(read):
    assert read("\ufeffid,cents\r\na,1\r\nb,2").rows.to_pydict() == {
        "id": ["a", "b"],
        "cents": ["1", "2"],
        "_line": [2, 3],
    }


def test_blank_lines_are_no_rows(read):
    text = read("id,cents\n\na,1\n\n")
    assert text.rows.column("_line").to_pylist() == [3]
    assert text.unparsed.num_rows == 0


def test_a_header_alone_is_a_table_without_rows(read):
    text = read("id,cents\n")
    assert text.rows.column_names == ["id", "cents", "_line"]
    assert text.rows.num_rows == 0


def test_ragged_rows_are_kept_with_their_line_numbers_and_the_rest_goes_on(read):
    text = read("id,cents\na,1\nb\nc,3,surplus\nd,4\n")
    assert text.rows.column("id").to_pylist() == ["a", "d"]
    assert text.unparsed.to_pylist() == [
        {"source_file": "orders.csv", "line": 3, "text": "b", "reason": "1 fields where the header has 2"},
        {"source_file": "orders.csv", "line": 4, "text": "c,3,surplus", "reason": "3 fields where the header has 2"},
    ]


def test_a_badly_quoted_line_is_kept_and_the_rest_goes_on(read):
    text = read('id,cents\n"a"b,1\nc,2\n')
    assert text.rows.column("id").to_pylist() == ["c"]
    assert lines_of(text) == [(2, '"a"b,1')]
    assert text.unparsed.column("reason").to_pylist()[0].startswith("cannot be split into fields")


def test_lines_that_a_stray_quote_joined_are_counted_one_by_one(read):
    text = read('id,cents\n"a,1\nb,2\nc",3,4\nd,5\n')
    assert lines_of(text) == [(2, '"a,1'), (3, "b,2"), (4, 'c",3,4')]
    assert text.rows.column("id").to_pylist() == ["d"]


def test_a_quote_that_never_closes_fails_the_file_and_names_its_line(read):
    with pytest.raises(DataFailed, match=r"orders\.csv: the quote that opens in the record of line 3 never closes"):
        read('id,cents\na,1\n"b,2\nc,3\n')


@pytest.mark.parametrize(("sign", "word"), [(";", "semicolon"), ("\t", "tab"), ("|", "vertical bar")])
def test_another_delimiter_fails_the_file_and_names_the_expected_one(read, sign, word):
    with pytest.raises(DataFailed, match=rf"orders\.csv: expected columns separated by commas .* has a {word}"):
        read(f"id{sign}cents\na{sign}1\n")


def test_a_single_column_is_not_taken_for_another_delimiter(read):
    assert read("id\na;b\n").rows.column("id").to_pylist() == ["a;b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; expected a header line"),
        ("id,cents,id,cents\n1,2,3,4\n", "the header names cents, id more than once"),
        ("id,,cents\n1,2,3\n", "column 2 of the header has no name"),
        ("id,_line\n1,2\n", "_line, which is reserved"),
        ('"id,cents\n1,2\n', "the header line cannot be read"),
        ("id,name\n1,Käse\n".encode("latin-1"), "not UTF-8; save the file as UTF-8"),
        ("id,name\n1,Käse\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_trusted_as_a_whole_fails(read, content, message):
    with pytest.raises(DataFailed, match=message) as failure:
        read(content)
    assert str(failure.value).startswith("orders.csv: ")


def test_no_value_of_a_row_is_told(read):
    with pytest.raises(DataFailed) as failure:
        read('id,email\n1,"secret@example.com\n')
    assert "secret" not in str(failure.value)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(DataFailed, match=r"gone\.csv: cannot be opened \(No such file"):
        read_delimited(tmp_path / "gone.csv", "gone.csv")


def test_a_file_longer_than_a_chunk_is_read_whole(read, monkeypatch):
    monkeypatch.setattr(delimited, "_CHUNK_ROWS", 2)
    assert read("id\n" + "".join(f"r{number}\n" for number in range(5))).rows.column("id").to_pylist() == [
        "r0",
        "r1",
        "r2",
        "r3",
        "r4",
    ]
