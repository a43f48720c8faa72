"""What README and docs/own-scans.md show of a folder of one's own, letter by letter."""

import pathlib
import re
import shlex

import pytest

from ichformer.cli import main
from ichformer.cohorts.folder.columns import name_columns, parse_columns
from ichformer.pipeline.store.records import Store
from tests.cohorts.nifti_sets import scan, write_nifti
from tests.stores import prepare_here

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def section(tmp_path, monkeypatch):
    """README's section, in a folder with the scans that it speaks of; stores are prepared in this process."""
    for seed, name in enumerate(("anna/day1.nii.gz", "anna/day9.nii.gz", "ben/day1.nii.gz", "cara/day1.nii.gz")):
        write_nifti(tmp_path / "scans" / name, scan(seed))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "ichformer.workflows.prepare_cohort.prepare_index", lambda index, out, **_: prepare_here(index, out)
    )
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return readme.partition("## Train on your own data")[2].partition("\n## ")[0]


@pytest.mark.slow
def test_the_commands_and_the_table(section, tmp_path, capsys):
    example, prepare = re.findall(r"^ {4}ichformer (prepare .*)$", section, re.MULTILINE)
    main(shlex.split(example))
    assert "labels.csv: a row for each of 4 scans" in capsys.readouterr().out
    shown = re.search(r"(?:^ {4}[\w/.]+,.*\n)+", section, re.MULTILINE)[0].replace("    ", "")
    (tmp_path / "labels.csv").write_text(shown)
    main(shlex.split(prepare))
    index = Store.open(tmp_path / "store").index.sort_values(["split", "any"])
    assert index["any"].tolist() == [0, 0, 1, 1]
    assert index["subdural"].tolist() == [0, 0, 1, 0]
    assert index["split"].tolist() == ["test", "train", "train", "val"]
    assert index["site"].tolist() == ["south", "north", "north", "north"]
    assert index["group_scanner"].tolist() == ["A", "B", "A", "B"]
    assert index["patient"].nunique() == 3
    assert set(index["patient_source"]) == {"table"}


def test_names_of_columns_that_are_understood_or_named():
    page = (ROOT / "docs" / "own-scans.md").read_text(encoding="utf-8")
    understood = re.search(r"Usual names such as (.*?) are\s+understood", page, re.DOTALL)[1]
    names = re.findall(r"`(\w+)`", understood)
    assert name_columns(names[:3] + names[4:], {}).meanings == ("path", "patient", "any", "subdural")
    assert name_columns(["path", "ICH"], {}).meanings == ("path", "any")
    given = re.search(r"--columns (\S+=\S+ \S+=\w+)", page)[1]
    assert parse_columns(given.split()) == {"any": "TRUTH", "path": "NIFTI"}
