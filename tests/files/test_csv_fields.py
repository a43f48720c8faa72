"""No field of a CSV file that we write is a formula or a control character, and reading gives back what was written."""

import csv
import io
import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer.cohorts.csv_text import read_text_table
from ichformer.cohorts.tables import write_table
from ichformer.errors import InputError
from ichformer.files.csv_fields import FORMULA_SIGNS, csv_bytes, is_number, read_field, write_csv, written_field

# Everything that means something to the rules stands together often.
TEXTS = st.lists(
    st.sampled_from([*FORMULA_SIGNS, *"'\";,<>U+003BC0 \t\r\n1.5e\x1b\u202e\u2028\ufeff\U000e0001ä", "<U+003C>", "cmd"])
    | st.text(max_size=3),
    max_size=8,
).map("".join)


def starts_as_a_formula(field: str) -> bool:
    return field.strip()[:1] in tuple(FORMULA_SIGNS) and not is_number(field.strip())


@given(TEXTS)
def test_a_field_is_harmless_and_reading_takes_back_what_writing_did(text):
    field = written_field(text)
    assert read_field(field) == text
    assert not starts_as_a_formula(field) or is_number(text)
    assert not [c for c in field if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    # Excel in German splits the lines of this file at semicolons.
    assert not any(map(starts_as_a_formula, field.split(";")[1:]))


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
def test_a_table_of_hostile_texts_goes_through_a_file_and_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    write_csv({"a": [a for a, _ in rows], "=b": [b for _, b in rows]}, path)
    read = read_text_table(path)
    there = [row for row in rows if any(written_field(text).strip() for text in row)]  # blank rows are left out
    assert read.rows.to_dict("list") == {"a": [a for a, _ in there], "=b": [b for _, b in there]}
    assert read.blank_rows == len(rows) - len(there)
    for line in csv.reader(io.StringIO(path.read_text(encoding="utf-8", errors="strict"), newline="")):
        assert not any(map(starts_as_a_formula, line))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("'=x", "''=x"),
        ("-5", "-5"),
        ("+1.5e-3", "+1.5e-3"),
        ("-5 mm", "'-5 mm"),
        ("\uff1dx", "'\uff1dx"),
        ("  @x", "'  @x"),
        ("\t=x", "<U+0009>=x"),
        ("a\r\nb", "a<U+000D><U+000A>b"),
        ("\x1b[2J", "<U+001B>[2J"),
        ("<U+001B>", "<U+003C>U+001B>"),
        ("1;=x", "1<U+003B>=x"),
        ("O'Brien; a-b 'x' 東京", "O'Brien; a-b 'x' 東京"),
    ],
)
def test_what_is_written(text, field):
    assert written_field(text) == field


def test_numbers_stay_numbers_and_other_values_are_plain():
    columns = {"n": [-1.5, float("nan"), np.float64(0.1)], "i": [-3, True, None], "s": ["-1", "+2.", "=1"]}
    assert csv_bytes(columns).decode() == "n,i,s\n-1.5,-3,-1\n,True,+2.\n0.1,,'=1\n"
    assert csv_bytes({"n": [1.0, 1 / 3]}, float_format="g").decode() == "n\n1\n0.333333\n"


@pytest.mark.parametrize("text", ["0", "-1.", ".5", "+1e-3", "1E400"])
def test_plain_decimal_numbers(text):
    assert is_number(text)


@pytest.mark.parametrize(
    "text", ["", "1_000", "0x10", "\uff11", "\u0663", "inf", "nan", "1,5", "1 ", "--1", "1e", ".", "1.5.2"]
)
def test_what_is_no_plain_number(text):
    assert not is_number(text)


def test_a_users_own_table_is_read_as_it_stands(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("patient,note\n=x,<U+0041>\n'y,C:\\x1b\\u202e\n-z,'-5\n")
    assert read_text_table(path).rows.to_numpy().tolist() == [
        ["=x", "<U+0041>"],
        ["'y", "C:\\x1b\\u202e"],
        ["-z", "-5"],
    ]


def test_two_names_that_would_become_one_are_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("patient,any\n=x,0\n'=x,1\n")
    with pytest.raises(InputError, match=r"column patient: holds '=x and =x, which are read alike"):
        read_text_table(path)


def test_tables_of_a_cohort_are_written_so(tmp_path):
    table = pd.DataFrame({"series": ["=1", "-2", "\u202e3"], "any": [1.0, np.nan, 0.0]})
    write_table(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "series,any\n'=1,1\n-2,\n<U+202E>3,0\n"
    assert read_text_table(tmp_path / "t.csv").rows["series"].tolist() == ["=1", "-2", "\u202e3"]
