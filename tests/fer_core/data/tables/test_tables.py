"""Tables as people save them, read back."""

import codecs
import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fer_core.data.tables import tables
from fer_core.errors import DataError
from fer_core.storage.tables import table_format

COLUMNS = ("path", "subject", "emotion")
# What a cell may hold: no control characters, which no encoding but UTF keeps apart.
CELLS = st.text(
    st.characters(codec="cp1252", exclude_categories=("Cc", "Cs")), max_size=12
) | st.sampled_from(["a,b;c|d", 'he said "no"', "it's", "two\nlines", "1,5", "é.jpg", " x "])
ENCODINGS = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16": b"",
    "utf-16-le": b"",
    "utf-16-be": b"",
    "utf-16-be with a mark": codecs.BOM_UTF16_BE,
    "cp1252": b"",
}


def read(path: Path, columns=COLUMNS, **options):
    return [row for _, row in tables.rows(path, columns, **options)]


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    cells=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8),
    separator=st.sampled_from(table_format.SEPARATORS),
    encoding=st.sampled_from(list(ENCODINGS)),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    named=st.booleans(),
)
def test_a_table_reads_back_the_same_however_it_was_saved(
    tmp_path, cells, separator, encoding, quoting, line_end, named
):
    if any("\n" in cell for row in cells for cell in row):
        quoting = csv.QUOTE_ALL  # Python's writer leaves a line feed unquoted if lines end in CR
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=line_end)
    writer.writerow(["Path", " subject ", "EMOTION"])
    writer.writerows(cells)
    head = f"sep={separator}{line_end}" if named else ""
    content = ENCODINGS[encoding] + (head + text.getvalue()).encode(encoding.split(" ")[0])
    if encoding == "cp1252" and re.search(rb"[\xc2-\xf4][\x80-\xbf]", content):
        content = content.decode("cp1252").encode()  # nothing could tell them apart
    (tmp_path / "t.csv").write_bytes(content)

    got = read(tmp_path / "t.csv")

    trimmed = [tuple(cell_read(cell) for cell in row) for row in cells]
    assert [tuple(row[name] for name in COLUMNS) for row in got] == [
        row for row in trimmed if any(row)
    ]


def cell_read(cell):
    text = table_format.trimmed(cell)
    return "" if text in tables.MISSING else text


@pytest.mark.parametrize(
    "head",
    [
        "PATH , Subject,emotion",
        '"path","subject","emotion"',
        "'path','subject','emotion'",
        "\u00a0path,subject\u00a0,\u200bemotion",
        "\ufeffpath,subject,emotion",
        "emotion;path;subject",
        "\n\npath\tsubject\temotion",
    ],
)
def test_names_of_columns_count_in_any_case_with_blanks_and_quotes(tmp_path, head):
    (tmp_path / "t.csv").write_text(f"{head}\n", encoding="utf-8")

    assert set(tables.header(tmp_path / "t.csv")) == set(COLUMNS)


def test_a_decimal_comma_does_not_divide_a_cell(tmp_path):
    table = "path;age;subject;emotion\na.jpg;3,5;1;joy\nb.jpg;4,25;2;joy\n"
    (tmp_path / "t.csv").write_text(table)

    assert [row["age"] for row in read(tmp_path / "t.csv")] == ["3,5", "4,25"]


@pytest.mark.parametrize(
    ("written", "number"), [("3", "3"), ("3.0", "3"), ("3,0", "3"), (" 3.", "3"), ("3.5", "3.5")]
)
def test_a_whole_number_is_plain_with_or_without_decimals(written, number):
    assert tables.whole(written) == number


def test_a_quote_that_is_not_closed_hides_no_row_after_it(tmp_path):
    rows = ['"a.jpg,1,joy', *(f"{i}.jpg,{i},joy" for i in range(9)), 'b.jpg,1,"joy']
    (tmp_path / "t.csv").write_text("\n".join(["path,subject,emotion", *rows]))

    got = list(tables.rows(tmp_path / "t.csv", COLUMNS))

    assert [row["path"] for _, row in got] == ["a.jpg", *(f"{i}.jpg" for i in range(9)), "b.jpg"]
    assert [line for line, _ in got] == list(range(2, 13))


LONG = "7 " * 100_000  # longer than the 131,072 characters that the csv module takes by itself


@pytest.mark.parametrize(
    ("cell", "read_as"),
    [
        (LONG, LONG.strip()),
        (f'"{LONG}"', LONG.strip()),
        (f'"{LONG.replace(" ", ",")}"', LONG.replace(" ", ",").strip()),
        (f'"{LONG}""7"', f'{LONG}"7'),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_row_with_a_very_long_cell_is_read_as_any_other(tmp_path, cell, read_as, line_end):
    rows = ["path,pixels,emotion", "a.jpg,1,joy", f"b.jpg,{cell},rage", "c.jpg,2,joy", ""]
    (tmp_path / "t.csv").write_bytes(line_end.join(rows).encode())
    limit = csv.field_size_limit()

    got = list(tables.rows(tmp_path / "t.csv", ("path", "pixels", "emotion")))

    assert [(line, row["path"], row["emotion"]) for line, row in got] == [
        (2, "a.jpg", "joy"),
        (3, "b.jpg", "rage"),
        (4, "c.jpg", "joy"),
    ]
    assert got[1][1]["pixels"] == read_as
    assert csv.field_size_limit() == limit


def test_an_open_quote_before_very_long_cells_hides_no_row(tmp_path):
    rows = [f"{i}.jpg,{LONG},joy" for i in range(4)]
    rows[1] = f'1.jpg,"{LONG},joy'
    (tmp_path / "t.csv").write_text("\n".join(["path,pixels,emotion", *rows]))

    got = list(tables.rows(tmp_path / "t.csv", ("path", "pixels", "emotion")))

    assert [(line, row["path"]) for line, row in got] == [(i + 2, f"{i}.jpg") for i in range(4)]


def test_a_cell_of_two_lines_is_one_cell_and_lines_are_counted_on(tmp_path):
    table = 'path,note,emotion\na.jpg,"one\ntwo",joy\nb.jpg,x,rage\n'
    (tmp_path / "t.csv").write_text(table)

    got = list(tables.rows(tmp_path / "t.csv", ("path", "emotion")))

    assert [(line, row["note"]) for line, row in got] == [(2, "one\ntwo"), (4, "x")]


def test_columns_may_have_other_names(tmp_path):
    (tmp_path / "t.csv").write_text("File;Person ID;Label\na.jpg;7;joy\n")
    names = {"path": "file", "subject": "PERSON ID", "emotion": "label"}

    (row,) = read(tmp_path / "t.csv", renamed=names)

    assert (row["path"], row["subject"], row["emotion"]) == ("a.jpg", "7", "joy")


def test_a_missing_column_is_answered_with_those_that_are_there(tmp_path):
    (tmp_path / "t.csv").write_text("file;person\na;b\n")

    with pytest.raises(DataError, match="has no column path, subject, emotion; its first line"):
        read(tmp_path / "t.csv")
    with pytest.raises(DataError, match="has file, person"):
        read(tmp_path / "t.csv")


def test_a_column_that_comes_twice_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("path,Path,subject,emotion\na,b,c,d\n")

    with pytest.raises(DataError, match="several columns 'path'"):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["t.xlsx", "t.csv"])
def test_a_spreadsheet_is_refused_with_what_to_do(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 and more")

    with pytest.raises(DataError, match=r"is a spreadsheet.*save it as CSV"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("column", "names", "likely"),
    [
        ("path", ["id", "file_name", "label"], "file_name"),
        ("subject", ["image_id", "person_id", "label"], "person_id"),
        ("subject", ["file", "participant", "class"], "participant"),
        ("emotion", ["file", "person", "facial expression"], "facial expression"),
        ("emotion", ["file", "emotions"], "emotions"),
        ("subject", ["file", "age"], None),
    ],
)
def test_the_likely_column_is_known_by_the_usual_words(column, names, likely):
    assert tables.likely(column, names) == likely


def test_a_row_with_more_cells_than_columns_is_refused_or_faulty_for_who_asks(tmp_path):
    (tmp_path / "t.csv").write_text("path,note,emotion\na,dark, left,joy\nb,ok,joy\nc,ok,joy,,\n")

    columns = ["path", "emotion"]
    with pytest.raises(DataError, match=r"t\.csv, line 2: the row has 4 cells"):
        list(tables.rows(tmp_path / "t.csv", columns))
    rows = [row for _, row in tables.rows(tmp_path / "t.csv", columns, with_faulty=True)]

    assert ["4 cells and the first line names 3" in (row.fault or "") for row in rows] == [
        True,
        False,
        False,
    ]
    assert rows[2] == {"path": "c", "note": "ok", "emotion": "joy"}


def test_stray_quotes_swallow_no_rows(tmp_path):
    lines = ["path,subject,emotion", 'a,1,"joy', "b,2,fear", "c,3,anger", 'd,4,"joy']
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")

    assert [row["path"] for row in read(tmp_path / "t.csv")] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("word", sorted(tables.MISSING))
def test_what_programs_write_for_a_missing_value_is_an_empty_cell(tmp_path, word):
    (tmp_path / "t.csv").write_text(f"path,subject,emotion\na,1,{word}\n")

    assert read(tmp_path / "t.csv") == [{"path": "a", "subject": "1", "emotion": ""}]


def test_one_byte_of_another_encoding_does_not_change_the_other_rows(tmp_path):
    content = "path,subject,emotion\nMüller/a,Zoë,joy\nb,?,joy\n".encode().replace(b"?", b"\xfc")
    (tmp_path / "t.csv").write_bytes(content)

    rows = read(tmp_path / "t.csv")

    assert [(row["path"], row["subject"]) for row in rows] == [("Müller/a", "Zoë"), ("b", "ü")]


def test_a_table_may_be_divided_by_blanks(tmp_path):
    (tmp_path / "t.csv").write_text("path  subject emotion\na.jpg 1   joy\nb.jpg 2 fear\n")

    assert [row["emotion"] for row in read(tmp_path / "t.csv")] == ["joy", "fear"]
