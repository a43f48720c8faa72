import numpy as np
import pytest

from ichformer import LABELS
from ichformer.cohorts.index import check_index, index_columns, make_index, read_index
from ichformer.cohorts.tables import write_table
from ichformer.errors import InputError


def row(series: str, **more: object) -> dict[str, object]:
    return {"cohort": "c", "patient": "p", "series": series, "path": "/data/x", "origin": "c", **more}


def test_columns_and_what_is_not_known():
    index = make_index([row("1"), row("2", subdural=1), row("3", **dict.fromkeys(LABELS[:-1], 0)), row("4", any=1)])
    assert tuple(index.columns) == index_columns()
    assert index["site"].tolist() == [""] * 4
    np.testing.assert_array_equal(index["any"], [np.nan, 1, 0, 1])
    np.testing.assert_array_equal(index["subdural"], [np.nan, 1, 0, np.nan])


def test_there_and_back_with_texts_that_look_like_something_else(tmp_path):
    path = tmp_path / "tables" / "studies.csv"
    texts = ["NA", "nan", "007", "1e5", " a, b", 'say "x"', "None", "true", "åß\u202e"]
    index = make_index(
        [
            row(
                f"1.{k}",
                site=text,
                patient=text,
                path=str(tmp_path / "tables" / "dicom" / str(k)),
                mask="/else/m.nii",
                any=1,
            )
            for k, text in enumerate(texts)
        ]
    )
    write_table(index, path)
    assert read_index(path).equals(index)


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path):
    write_table(make_index([row("1", path="x", mask="../m.nii")]), tmp_path / "a" / "i.csv")
    (read,) = read_index(tmp_path / "a" / "i.csv").to_dict("records")
    assert (read["path"], read["mask"], read["boxes"]) == (str(tmp_path / "a" / "x"), str(tmp_path / "m.nii"), "")


def test_index_with_a_byte_order_mark_and_columns_in_another_order(tmp_path):
    index = make_index([row("1", any=0), row("2", split="val")])
    path = tmp_path / "i.csv"
    write_table(index, path)
    lines = [line.split(",") for line in path.read_text().splitlines()]
    path.write_text("\ufeff" + "\n".join(",".join(["x", *reversed(line)]) for line in lines))
    assert read_index(path).equals(index)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row("1"), row("1")], "row 2: series is '1'; that series stands twice"),
        ([row("1", subdural=2)], "subdural is"),
        ([row("1", any=0.5)], "any is"),
        ([row("1", subdural=1, any=0)], "a subtype is 1, so any is 1"),
        ([row("1", split="training")], "split is 'training'"),
        ([row("1"), row("2", patient="")], "row 2: patient is ''"),
        ([], "holds no series"),
    ],
)
def test_what_breaks_the_schema(rows, words):
    with pytest.raises(InputError, match=words):
        make_index(rows)


def test_a_column_missing():
    with pytest.raises(InputError, match="lacks the column 'origin'"):
        check_index(make_index([row("1")]).drop(columns="origin"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("origin", "orign"), "lacks the column 'origin'"),
        (lambda text: text.replace("boxes", "mask"), "lacks the column 'boxes'"),
        (lambda text: "".join(f"{line},mask\n" for line in text.split()), "has the column 'mask' twice"),
        (lambda text: text.replace(",0,", ",no,", 1), "line 2: epidural is 'no'"),
        (lambda text: text.split("\n")[0] + "\nonly,three,fields\n", "line 2: has not 18 fields"),
        (lambda text: text + ",".join("x" * 40) + "\n", "line 3: has not 18 fields"),
        (lambda text: text + '"', "no CSV table"),
        (lambda text: "\0" * 50, "no CSV table|lacks"),
        (lambda text: "", "no CSV table"),
    ],
)
def test_a_bad_file(tmp_path, change, words):
    path = tmp_path / "i.csv"
    write_table(make_index([row("1", **dict.fromkeys(LABELS, 0))]), path)
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=words):
        read_index(path)
    path.write_bytes(b"\xff\xfe\x00\x9f")
    with pytest.raises(InputError):
        read_index(path)
    path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        read_index(path)
