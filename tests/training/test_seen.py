"""Names from headers in the tables of runs and cohorts: no formulas, and the same names when they are read."""

import csv

import pandas as pd

from ichformer.cohorts.tables import read_left_out, write_left_out
from ichformer.files.csv_fields import FORMULA_SIGNS, is_number
from ichformer.training.runs.run import SEEN_COLUMNS, SEEN_NAME, note_scans, seen_scans

HOSTILE = ("=HYPERLINK(1)", "'=x", "+1;=x", "-y", "@z", "\uff1dw", "\t=v", "\x1b[2J", "\u202eu", "-12")


def assert_harmless(path):
    text = path.read_text(encoding="utf-8")
    assert all(c.isprintable() for c in text.replace("\n", ""))
    for field in (field for row in csv.reader(text.splitlines()) for field in row):
        assert field[:1] not in tuple(FORMULA_SIGNS) or is_number(field)


def test_scans_of_a_training_are_known_again_by_hostile_names(tmp_path):
    scans = pd.DataFrame(dict.fromkeys(SEEN_COLUMNS, HOSTILE)).assign(patient_source="header")
    note_scans(tmp_path, scans)
    assert_harmless(tmp_path / SEEN_NAME)
    assert set(seen_scans(tmp_path)["series"]) == set(HOSTILE)
    note_scans(tmp_path, scans)  # none is new
    assert len(seen_scans(tmp_path)) == len(HOSTILE)


def test_what_was_left_out_is_named_so_too(tmp_path):
    reasons = dict.fromkeys(HOSTILE, "=1+1")
    write_left_out(reasons, tmp_path / "left_out.csv")
    assert_harmless(tmp_path / "left_out.csv")
    assert read_left_out(tmp_path / "left_out.csv") == reasons
