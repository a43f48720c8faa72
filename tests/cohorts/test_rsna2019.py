import numpy as np
import pytest

from ichformer.cohorts.adapters import rsna2019
from ichformer.cohorts.index import read_index
from ichformer.cohorts.tables import read_slice_table, write_table
from ichformer.errors import InputError
from tests.cohorts.rsna import SHORT, write_rsna
from tests.stores import prepare_here


@pytest.mark.parametrize(
    "images", ["stage_2_train", "stage_2_train_images", "rsna-intracranial-hemorrhage-detection/x"]
)
def test_index(tmp_path, images):
    names = write_rsna(tmp_path / "rsna", images=images if "/" not in images else "stage_2_train")
    source = tmp_path / "rsna"
    if "/" in images:  # as the archive unpacks
        source = tmp_path / "outer"
        source.mkdir()
        (tmp_path / "rsna").rename(source / "rsna-intracranial-hemorrhage-detection")
    index = rsna2019.load(source, cache=tmp_path / "cache")
    assert index["series"].tolist() == ["ID_series0", "ID_series1", "ID_series2"]
    assert index["patient"].tolist() == ["ID_patient1", "ID_patient1", "ID_patient2"]
    assert index["study"].tolist() == ["ID_study0", "ID_study1", "ID_study2"]
    assert set(index["origin"]) == {"rsna2019"}
    assert index["subdural"].tolist() == index["any"].tolist() == [1, 0, 0]
    assert index["epidural"].tolist() == [0, 0, 0]
    slices = read_slice_table(tmp_path / "cache" / "rsna2019_slices.csv")
    assert len(slices) == 15
    assert slices[slices["any"] == 1]["slice"].tolist() == [names["ID_series0"][2]]
    assert (slices["file"] == slices["slice"] + ".dcm").all()
    write_table(index, tmp_path / "cache" / "index.csv")
    assert read_index(tmp_path / "cache" / "index.csv").equals(index)


def test_source_is_only_read_and_headers_only_once(tmp_path, monkeypatch):
    source = tmp_path / "rsna"
    write_rsna(source)
    before = sorted(source.rglob("*"))
    index = rsna2019.load(source, cache=tmp_path / "cache")
    assert sorted(source.rglob("*")) == before
    monkeypatch.setattr(rsna2019, "_read_chunk", lambda files: pytest.fail("read again"))
    assert rsna2019.load(source, cache=tmp_path / "cache").equals(index)
    monkeypatch.undo()
    (source / "stage_2_train" / f"{SHORT}.dcm").unlink()
    assert len(rsna2019.load(source, cache=tmp_path / "cache")) == 3


@pytest.mark.slow
def test_headers_in_parallel(tmp_path, monkeypatch, capsys):
    write_rsna(tmp_path / "rsna")
    index = rsna2019.load(tmp_path / "rsna", cache=tmp_path / "cache")
    monkeypatch.setattr(rsna2019, "_CHUNK", 4)
    again = rsna2019.load(tmp_path / "rsna", cache=tmp_path / "other")
    assert again.drop(columns="slice_labels").equals(index.drop(columns="slice_labels"))
    captured = capsys.readouterr()
    assert "headers" in captured.err
    assert captured.out == ""


def test_files_without_labels_are_unknown(tmp_path):
    names = write_rsna(tmp_path)
    csv = tmp_path / "stage_2_train.csv"
    csv.write_text("\n".join(line for line in csv.read_text().split() if not line.startswith(names["ID_series1"][3])))
    index = rsna2019.load(tmp_path, cache=tmp_path / "cache")
    assert np.isnan(index["any"][1])
    assert index["any"].tolist()[::2] == [1, 0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("_any,1", "_any,1\nID_0_any,2"), "no label of 0 or 1"),
        (lambda text: text + text.split("\n")[1].replace(",0", ",1") + "\n", "both 0 and 1"),
        (lambda text: "\n".join(text.split("\n")[:-2]).replace("_subdural,1", "_subdral,1"), "no label of 0 or 1"),
        (lambda text: text.replace("_subdural,1\n", "_any,1\n", 1), "has not all"),
        (lambda text: text.replace("ID,Label", "Id,Label"), "lacks the column 'ID'"),
        (lambda text: text.replace("ID_", "ID_x"), "labels none of the 15 files"),
        (lambda text: "", "no CSV table"),
    ],
)
def test_a_bad_csv(tmp_path, change, words):
    write_rsna(tmp_path)
    csv = tmp_path / "stage_2_train.csv"
    csv.write_text(change(csv.read_text()))
    with pytest.raises(InputError, match=words):
        rsna2019.load(tmp_path, cache=tmp_path / "cache")


def test_a_bad_folder(tmp_path):
    with pytest.raises(InputError, match="stage_2_train"):
        rsna2019.load(tmp_path, cache=tmp_path / "cache")
    write_rsna(tmp_path)
    broken = tmp_path / "stage_2_train" / "ID_ffffffff0.dcm"
    broken.write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"ID_ffffffff0\.dcm: has no readable header"):
        rsna2019.load(tmp_path, cache=tmp_path / "cache")


def test_from_the_archive_to_a_store(tmp_path):
    names = write_rsna(tmp_path / "rsna")
    index = rsna2019.load(tmp_path / "rsna", cache=tmp_path / "cache")
    store = prepare_here(index, tmp_path / "store")
    assert store.index["series"].tolist() == ["ID_series0", "ID_series1"]
    rejects = (tmp_path / "store" / "rejects.csv").read_text().splitlines()
    assert len(rejects) == 2
    assert rejects[1].startswith("ID_series2,stage_2_train,")
    assert SHORT in rejects[1]
    assert str(tmp_path) not in rejects[1]
    scan = store.read(0)
    assert scan.volume.source == tuple(names["ID_series0"])
    assert scan.slice_labels[:, 4].tolist() == scan.slice_labels[:, 5].tolist() == [0, 0, 1, 0, 0]
    assert scan.volume.spacing_mm[0] == pytest.approx(5.1 * np.cos(np.deg2rad(11)), abs=1e-3)
    assert scan.volume.audit.tilt_deg == 0
    assert "tilt_removed" in {note.code for note in scan.volume.audit.notes}
