"""The data card: its numbers are those of the scans, its pictures pictures, and it names nobody."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from ichformer import LABELS
from ichformer.cohorts.index import read_index
from ichformer.ct.audit import AUDIT_CODES
from ichformer.errors import InputError
from ichformer.pipeline.preparation.facts import EDGES_HU, complete_facts, describe_scan, read_facts
from ichformer.pipeline.store.card import write_card
from ichformer.pipeline.store.records import Store
from ichformer.testing import tiny_cohort
from tests.pipeline.test_prepare import digests
from tests.stores import prepare_here


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    index = read_index(tiny_cohort(folder / "cohort", scans=6, prevalence=1.0) / "studies.csv")
    index["split"] = ["train", "train", "train", "val", "val", ""]
    index.loc[1, "site"] = "a | b\n# [x](http://evil)"
    index.loc[2, list(LABELS)] = np.nan
    for row, what in ((4, "/secret/JOHN^DOE/scan"), (5, "/secret/JANE^ROE/scan")):
        index.loc[row, ["path", "mask"]] = [what, ""]
    return prepare_here(index, folder / "store")


@pytest.fixture
def store(prepared, tmp_path):
    return Store.open(shutil.copytree(prepared.path, tmp_path / "store"))


def table(card: str, head: str) -> dict[str, list[str]]:
    """The table whose first column is called ``head``, by its first column."""
    lines = card[card.index(f"\n| {head} |") + 1 :].split("\n\n")[0].strip().splitlines()
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert len({len(row) for row in rows}) == 1
    return {row[0]: row[1:] for row in rows if row[0] != "---"}


def test_numbers_are_those_of_the_scans(store):
    card = write_card(store).read_text(encoding="utf-8")
    index, scans = store.index, [store.read(row) for row in range(len(store.index))]
    assert len(scans) == 4
    assert f"4 scans of {index['patient'].nunique()} patients, {index['n_slices'].sum()} slices" in card
    slices, labels = table(card, "slices"), table(card, "scans")
    assert slices["slices"] == labels["scans"] == ["train", "val"]
    for k, label in enumerate(LABELS):
        for split, of_slices, of_scans in zip(("train", "val"), slices[label], labels[label], strict=True):
            own = [scan for scan, name in zip(scans, index["split"], strict=True) if name == split]
            for found, values in (
                (of_slices, np.concatenate([scan.slice_labels[:, k] for scan in own])),
                (of_scans, np.array([scan.scan_labels[k] for scan in own])),
            ):
                assert found == f"{(values == 1).sum()} / {(values == 0).sum()} / {np.isnan(values).sum()}"
    steps_mm = [scan.volume.spacing_mm[0] for scan in scans]
    geometry = table(card, "")
    assert [float(v) for v in geometry["between slices (mm)"][1::4]] == pytest.approx(
        [min(steps_mm), max(steps_mm)], 1e-3
    )
    assert float(geometry["slices against the patient's axis (degrees)"][-1]) > 5  # the second tiny site is tilted
    codes = [{note.code for note in scan.volume.audit.notes} for scan in scans]
    found = {code: int(row[0]) for code, row in table(card, "code").items() if code != "code"}
    assert found == {code: n for code in AUDIT_CODES if (n := sum(code in own for own in codes))}
    assert f"{sum(scan.volume.hu.size for scan in scans)} in all" in card


def test_counts_of_hu(store):
    for row, facts in enumerate(complete_facts(store)):
        hu = store.read(row).volume.hu
        expected = np.histogram(hu, bins=[*EDGES_HU, 32768])[0]
        np.testing.assert_array_equal(facts.hu_counts, expected)


def test_it_names_nobody_and_foreign_text_stays_text(store):
    card = write_card(store).read_text(encoding="utf-8")
    reasons = [line for line in card.splitlines() if "does not exist" in line]
    assert reasons == ["| 2 | does not exist |"]  # two series, one kind of reason
    for foreign in (
        "JOHN",
        "ROE",
        "secret",
        str(store.path),
        "[x](",
        *store.index["patient"],
        *store.index["series"],
    ):
        assert foreign not in card
    assert r"a \| b\\n# \[x\](http://evil)" in card
    facts = (store.path / "scans.jsonl").read_text(encoding="utf-8")
    assert {k for line in facts.splitlines() for k in json.loads(line)} == {
        *(
            "sha256",
            "spacing_mm",
            "thickness_mm",
            "lean_deg",
            "codes",
            "positive_slices",
            "negative_slices",
            "hu_counts",
        )
    }


@pytest.mark.slow
def test_same_bytes_and_pictures(store):
    write_card(store)
    first = digests(store.path)
    assert {name for name in first if "shards" not in name} == {
        *("index.json", "rejects.csv", "scans.jsonl", "card.md", "card/geometry.png", "card/hu.png")
    }
    write_card(store)
    assert digests(store.path) == first
    for name in ("geometry", "hu"):
        assert f"(card/{name}.png)" in (store.path / "card.md").read_text(encoding="utf-8")
        with Image.open(store.path / "card" / f"{name}.png") as picture:
            assert picture.size == (1200, 300)
            assert len(np.unique(np.asarray(picture.convert("L")))) > 16


def test_an_old_store_and_a_damaged_table_of_facts(store):
    path = store.path / "scans.jsonl"
    whole = path.read_text(encoding="utf-8")
    lines = whole.splitlines()
    values = json.loads(lines[1])
    for text in (
        "",
        "\n".join(
            ["{", "[]", "7", json.dumps(values | {"hu_counts": [1]}), json.dumps(values | {"codes": 3}), lines[0]]
        ),
        "\udcff" + whole,
    ):
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        complete_facts(store)
        assert path.read_text(encoding="utf-8") == whole
    assert read_facts(path, store.index["sha256"].tolist())[store.index["sha256"][0]] == describe_scan(store.read(0))


def test_a_missing_shard_is_said(store):
    (store.path / "scans.jsonl").unlink()
    shard = next((store.path / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(InputError, match="run prepare again"):
        write_card(store)
    with pytest.raises(InputError):
        Store.open(store.path)
