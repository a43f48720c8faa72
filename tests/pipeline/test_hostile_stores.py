"""Stores from strangers, and damaged ones: the index and the table of facts are checked before anything is opened."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ichformer.ct.phantom.cohort import write_phantom_cohort
from ichformer.errors import InputError
from ichformer.pipeline.preparation.facts import EDGES_HU, read_facts
from ichformer.pipeline.store.index_file import STORE_VERSION, StoreIndex, read_store_index
from ichformer.pipeline.store.pseudonyms import Naming
from ichformer.pipeline.store.records import Store
from ichformer.reporting.scan.outputs import NUMBERS_NAME, REPORT_NAME, write_folder

ENTRY = {
    **dict.fromkeys(("cohort", "site", "patient", "study", "series", "split", "origin", "pixels", "sha256"), "x"),
    **dict.fromkeys(("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any"), 0.0),
    **dict.fromkeys(("n_slices", "height", "width", "bytes"), 32),
    "patient_source": "header",
    "has_mask": False,
    "boxed_labels": "",
    "shard": "0" * 32 + ".array_record",
}
CONFIG = {"size": 32, "keep": "head"}
INDEX = {"schema": STORE_VERSION, "config": CONFIG, "series": [ENTRY]}


def write(folder: Path, values: Any) -> Path:
    text = values if isinstance(values, str) else json.dumps(values)
    (folder / "index.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    return folder / "index.json"


def test_an_index_that_is_right_and_one_of_an_earlier_version(tmp_path):
    entry = ENTRY | {"epidural": None, "any": 1, "subdural": 0.5, "group_age": "old"}
    found = read_store_index(write(tmp_path, INDEX | {"series": [entry], "new": 1}))
    assert found == StoreIndex(config=CONFIG, naming=Naming(), entries=[entry])
    del entry["patient_source"], entry["boxed_labels"]
    found = read_store_index(write(tmp_path, INDEX | {"series": [entry]}))
    assert found.entries == [entry | {"patient_source": "unknown", "boxed_labels": ""}]
    named = Naming(patient_key="0123abcd", with_uids=True)
    found = read_store_index(write(tmp_path, INDEX | {"series": None, "names": named.to_json()}))
    assert (found.naming, found.entries) == (named, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_slices": "32"}, "series[0].n_slices: Expected int, got str"),
        ({"n_slices": 32.0}, "series[0].n_slices: Expected int, got float"),
        ({"n_slices": True}, "series[0].n_slices: Expected int, got bool"),
        ({"height": -1}, "series[0].height: Expected int >= 0"),
        ({"width": 1 << 62}, "series[0].width: Expected int <="),
        ({"bytes": [1]}, "series[0].bytes: Expected int, got array"),
        ({"has_mask": "no"}, "series[0].has_mask: Expected bool, got str"),
        ({"series": 5}, "series[0].series: Expected str, got int"),
        ({"patient": None}, "series[0].patient: Expected str, got null"),
        ({"patient_source": "me"}, "series[0].patient_source: Expected str matching regex"),
        ({"epidural": 2}, "series[0].epidural: Expected float <= 1.0"),
        ({"any": "1"}, "series[0].any: Expected float | null, got str"),
        ({"shard": "../../etc/passwd"}, "series[0].shard: Expected str matching regex"),
        ({"shard": "0" * 32 + ".array_record\n"}, "series[0].shard: Expected str matching regex"),
        ({"group_age": 5}, "a column of groups holds something else than text"),
    ],
)
def test_entries_of_other_types(tmp_path, change, said):
    with pytest.raises(InputError, match=r"index.json: .*run prepare again") as error:
        Store.open(write(tmp_path, INDEX | {"series": [ENTRY | change]}).parent)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("", "is not JSON"),
        ("[]", "Expected object, got array"),
        ("[" * 100_000, "nested more than 32 levels deep"),
        ('{"schema": ' + "9" * 100_000 + "}", "a whole number of 100000 digits"),
        ('{"schema": 2, "schema": 2}', "the key 'schema' twice"),
        ({"schema": "2"}, "schema '2', this ichformer reads 2 and 3; prepare anew"),
        ({"schema": 4}, "schema 4, this ichformer reads 2 and 3; prepare anew"),
        ({"schema": 2, "config": CONFIG}, "missing required field series"),
        (INDEX | {"series": {"a": 1}}, "series: Expected array | null, got object"),
        (INDEX | {"config": []}, "config: Expected object, got array"),
        (INDEX | {"config": {"size": "32"}}, "size: Expected int, got str"),
        (INDEX | {"config": {"size": 10**9}}, "size: found 1000000000; give 16 to 1024"),
        (INDEX | {"config": {"new": 1}}, "PrepareConfig has no setting 'new'"),
        (INDEX | {"series": [{key: value for key, value in ENTRY.items() if key != "bytes"}]}, "required field bytes"),
    ],
)
def test_what_is_no_index(tmp_path, values, said):
    with pytest.raises(InputError) as error:
        Store.open(write(tmp_path, values).parent)
    assert said in str(error.value)
    assert str(error.value).isprintable()


def test_an_index_is_no_larger_than_its_shards_explain(tmp_path):
    with (tmp_path / "index.json").open("wb") as file:
        file.truncate(1 << 40)  # a hole: no block is taken
    with pytest.raises(InputError, match="is larger than 16,777,216 bytes"):
        Store.open(tmp_path)
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / ENTRY["shard"]).touch()
    with pytest.raises(InputError, match="is larger than 16,793,600 bytes"):
        Store.open(tmp_path)
    (tmp_path / "index.json").unlink()
    os.mkfifo(tmp_path / "index.json")
    with pytest.raises(InputError, match="is no regular file"):
        Store.open(tmp_path)


FACTS = {
    "sha256": "a",
    "spacing_mm": [5.0, 1.0, 1],
    "thickness_mm": None,
    "lean_deg": 0.0,
    "codes": ["tilt"],
    "positive_slices": [0] * 6,
    "negative_slices": [3] * 6,
    "hu_counts": [1] * len(EDGES_HU),
}


def test_facts_that_make_no_sense_are_found_out_again(tmp_path):
    path = tmp_path / "scans.jsonl"
    wrong = [
        *("", "[]", "null", "{}", "[" * 9000, '{"sha256": "a"'),
        *(
            json.dumps(FACTS | change)
            for change in (
                {"sha256": 5},
                {"sha256": "of another store"},
                {"spacing_mm": [1, 2]},
                {"lean_deg": float("nan")},
                {"lean_deg": "0"},
                {"codes": "tilt"},
                {"positive_slices": [0] * 5},
                {"negative_slices": [-1] * 6},
                {"hu_counts": [10**30] * len(EDGES_HU)},
                {"hu_counts": [1.5] * len(EDGES_HU)},
            )
        ),
    ]
    path.write_text("\n".join(wrong))
    assert read_facts(path, ["a"]) == {}
    path.write_text("\n".join([*wrong, json.dumps(FACTS)]))
    assert read_facts(path, ["a"])["a"].spacing_mm == (5.0, 1.0, 1.0)
    with path.open("ab") as file:
        file.truncate(1 << 40)
    assert read_facts(path, ["a"]) == {}
    path.unlink()
    os.mkfifo(path)
    assert read_facts(path, ["a"]) == {}


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 100_000, '{"format": {}}', '{"format": ' + "9" * 9000 + "}", "\udcff"]
)
def test_a_folder_of_something_else_is_no_earlier_prediction_and_no_cohort(tmp_path, text):
    folder = tmp_path / "scan"
    folder.mkdir()
    (folder / REPORT_NAME).touch()
    (folder / NUMBERS_NAME).write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match="is no earlier prediction"):
        write_folder(folder, {REPORT_NAME: "", NUMBERS_NAME: "{}"})
    (folder / "phantom.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=r"holds no phantom cohort|holds another phantom cohort"):
        write_phantom_cohort(folder, scans=1, seed=0)
