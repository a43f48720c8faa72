"""Tables as people and spreadsheets save them."""

import pytest

from ichformer.cohorts.csv_text import line_of, read_text_table
from ichformer.cohorts.tables import read_box_table, read_slice_table, read_table
from ichformer.errors import InputError

PLAIN = "patient,any\n00012,0\nNA,1\n"


@pytest.mark.parametrize(
    ("data", "separator"),
    [
        (PLAIN.encode(), ","),
        (b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode(), ","),
        (PLAIN.replace("\n", "\r").encode(), ","),
        (PLAIN.replace(",", ";").encode(), ";"),
        (PLAIN.replace(",", "\t").encode("utf-16"), "\t"),
        (b"\xfe\xff" + PLAIN.encode("utf-16-be"), ","),
        (b" patient , any\n00012,0\n\n  \nNA,1\n\n", ","),
        (b"sep=;\r\npatient;any\r\n00012;0\r\nNA;1\r\n", ";"),
        (b'"patient";"any"\n"00012";"0"\n"NA";"1"', ";"),
    ],
)
def test_encodings_line_ends_and_separators(tmp_path, data, separator):
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    table = read_text_table(path)
    assert table.separator == separator
    assert list(table.rows.columns) == ["patient", "any"]
    assert table.rows.to_numpy().tolist() == [["00012", "0"], ["NA", "1"]]


def test_a_separator_within_quotes_counts_for_nothing(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('path;"any; or; none"\na,b;1\n')
    assert read_text_table(path).rows.to_numpy().tolist() == [["a,b", "1"]]
    path.write_text('"p;a;t;h",any\na;b,1\n')
    assert read_text_table(path).rows.to_numpy().tolist() == [["a;b", "1"]]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_those_of_the_file(tmp_path, end):
    path = tmp_path / "t.csv"
    path.write_bytes(end.join(["", "patient,any", "", 'a,"0', '1"', "b,1", "", "", "c,2"]).encode())
    table = read_text_table(path).rows
    assert [line_of(table, row) for row in range(3)] == [" line 4", " line 6", " line 9"]
    path.write_bytes(end.join(["", "patient,any", "", 'a,"0', '1"', "b,1,7"]).encode())
    with pytest.raises(
        InputError, match=r"t\.csv line 6: has not 2 fields, as the header, but 3 \(separated by commas\)"
    ):
        read_text_table(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\n \n\r\n", "is empty"),
        (b'a,b\n1,"2\n', "line 2: is no CSV table"),
        ("a,b\n1,2\nKöln,3\n".encode("latin-1"), "line 3: is no CSV table in UTF-8: byte 0xf6"),
        (b"a,b\n" + b"x" * 200_000 + b",1\n", "is no CSV table"),
        (
            b"PK\x03\x04\x14\x00",
            r't\.csv: is a ZIP archive, not a CSV table; save the table as "CSV UTF-8" and name that',
        ),
        (b"PK\x03\x04\x14\x00" + bytes(20) + b"xl/workbook.xml", "is an Excel workbook, not a CSV table"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Excel workbook"),
    ],
)
def test_what_is_no_table(tmp_path, data, words):
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    with pytest.raises(InputError, match=words):
        read_text_table(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_text_table(tmp_path)


def test_blank_rows_are_skipped_and_counted(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(";;\na;b;c\n1;2;3\n;;\n  ; ;\n\n4;;\n")
    table = read_text_table(path)
    assert table.rows.to_numpy().tolist() == [["1", "2", "3"], ["4", "", ""]]
    assert table.rows.index.tolist() == [3, 7]
    assert table.blank_rows == 4


def test_a_column_twice_and_a_column_missing(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,a\n1,2,3\n")
    with pytest.raises(InputError, match="has the column 'a' twice"):
        read_table(path, columns=())
    with pytest.raises(InputError, match="lacks the column 'c'"):
        read_table(path, columns=("c",))


def test_slice_labels_that_contradict_themselves_are_refused_with_their_line(tmp_path):
    path = tmp_path / "slices.csv"
    head = "series,slice,file,epidural,intraparenchymal,intraventricular,subarachnoid,subdural,any\n"
    path.write_text(head + "\n1,a,,0,0,0,0,0,0\n1,b,,0,0,0,0,1,0\n")
    with pytest.raises(InputError, match=r"slices\.csv line 4: any is 0 beside a subtype that is 1"):
        read_slice_table(path)


def test_boxes_stay_with_their_lines_and_their_numbers_are_plain(tmp_path):
    path = tmp_path / "boxes.csv"
    head = "series,slice,label,x,y,width,height\n"
    path.write_text(head + "\n1,a,subdural,1.5,2,3,4\n\n1,b,subdural,5,6,7,8e0\n")
    table = read_box_table(path)
    assert table[["slice", "x", "height"]].to_numpy().tolist() == [["a", 1.5, 4.0], ["b", 5.0, 8.0]]
    for text in ("1_0", "0x10", "\uff11", "inf", "1e999", ""):
        path.write_text(head + f"\n1,a,subdural,1.5,2,3,4\n1,b,subdural,{text},6,7,8\n")
        with pytest.raises(InputError, match=r"boxes\.csv line 4: a place or size is no number"):
            read_box_table(path)
