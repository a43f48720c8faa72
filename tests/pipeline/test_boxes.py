"""Boxes round bleeds, from a table that counts pixels of files to what a training knows of each voxel."""

import dataclasses
import itertools
import json
import pathlib

import numpy as np
import pandas as pd
import pytest

from ichformer import LABELS
from ichformer.cohorts.mask_labels import BOXED, UNKNOWN
from ichformer.cohorts.registry import COHORTS
from ichformer.cohorts.tables import BOX_COLUMNS, write_table
from ichformer.ct.io.nifti import NiftiFile
from ichformer.ct.io.scans import find_scans, read_volume
from ichformer.errors import InputError
from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.pipeline.lesions import known_lesions, labels_with_lesions
from ichformer.pipeline.loader import training_batches
from ichformer.pipeline.preparation.boxes import Box, draw_boxes
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.masks import read_mask
from ichformer.pipeline.preparation.prepare import prepare_index
from ichformer.pipeline.store.records import Store, decode_record, encode_record
from ichformer.training.config import DataConfig, ModelConfig, ObjectiveConfig, OptimConfig, ParallelConfig, TrainConfig
from ichformer.training.trainer import run_training
from tests.ct.builders import write_series

STEPS = (np.array([1, 0, 0]), np.array([0, 1, 0]))
PLANES = [
    tuple(np.concatenate([a * u, b * v]))
    for u, v in (STEPS, STEPS[::-1])
    for a, b in itertools.product((1, -1), repeat=2)
]
"""The eight ways in which rows and columns of axial slices can lie."""


def series_with_a_bright_box(folder, orientation):
    """Four slices of 10 x 16 pixels; in the third, rows 2 to 5 and columns 7 to 12 are bright."""
    stored = np.full((4, 10, 16), 1024 + 30, np.uint16)
    stored[2, 2:6, 7:13] = 1024 + 70
    write_series(folder, stored, ImageOrientationPatient=[float(v) for v in orientation])
    (scan,) = find_scans(folder).series
    return scan, read_volume(scan)


@pytest.mark.parametrize("orientation", PLANES)
def test_a_box_is_where_its_pixels_are_however_the_slices_lie(tmp_path, orientation):
    scan, volume = series_with_a_bright_box(tmp_path, orientation)
    drawn = draw_boxes([Box("1.2.3.3", "subdural", 7.4, 2.0, 5.6, 3.5)], volume, scan)
    np.testing.assert_array_equal(drawn, np.where(volume.hu == 70, BOXED + 1 + LABELS.index("subdural"), 0))


def test_boxes_of_several_labels_and_old_bleeds(tmp_path):
    scan, volume = series_with_a_bright_box(tmp_path, PLANES[0])
    boxes = [
        Box("1.2.3.3", "subdural", 0, 0, 2, 2),
        Box("1.2.3.3", "chronic", 1, 0, 9, 2),
        Box("1.2.3.3", "epidural", 0, 1, 1, 2),
        Box("1.2.3.1", "epidural", 15, 9, 50, 50),  # over the edge
        Box("of another slice", "epidural", 0, 0, 1, 1),
    ]
    drawn = draw_boxes(boxes, volume, scan)
    epidural, subdural = (BOXED + 1 + LABELS.index(label) for label in ("epidural", "subdural"))
    assert drawn[2, :3, :4].tolist() == [[subdural] * 2 + [UNKNOWN] * 2] * 2 + [[epidural, 0, 0, 0]]
    assert drawn[0, 8:, 14:].tolist() == [[0, 0], [0, epidural]]
    assert not drawn[[1, 3]].any()


@pytest.mark.parametrize(
    ("box", "said"),
    [
        (Box("1.2.3.3", "subdural", 16, 0, 2, 2), r"a box \(x 16, y 0, 2 x 2\) lies outside of 16 x 10 pixels"),
        (Box("7", "subdural", 0, 0, 2, 2), "none of its slices has one of the 1 boxes"),
    ],
)
def test_boxes_that_are_none_are_refused(tmp_path, box, said):
    scan, volume = series_with_a_bright_box(tmp_path, PLANES[0])
    with pytest.raises(InputError, match=said):
        draw_boxes([box], volume, scan)
    with pytest.raises(InputError, match="no DICOM series"):
        draw_boxes([box], volume, NiftiFile(path=tmp_path / "x.nii"))


@pytest.fixture(scope="module")
def boxed(tiny_store, tmp_path_factory) -> Store:
    """The tiny cohort with a box round what each mask shows of a label in a slice, in place of the masks."""
    folder = tmp_path_factory.mktemp("boxed")
    index = COHORTS["phantom"](tiny_store.parent / "cohort", cache=folder / "cache")
    boxes = []
    for series, path, mask_path in index[["series", "path", "mask"]].itertuples(index=False):
        volume = read_volume(path)
        mask = read_mask(mask_path, volume)
        for s, k in itertools.product(range(len(mask)), range(1, 6)):
            rows, columns = np.nonzero(mask[s] == k)
            if len(rows):
                place = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
                boxes.append((series, volume.source[s], LABELS[k - 1], *map(float, place)))
    write_table(pd.DataFrame(boxes, columns=list(BOX_COLUMNS)), folder / "boxes.csv")
    has_box = index["series"].isin({box[0] for box in boxes})
    index = index.assign(mask="", boxes=np.where(has_box, str(folder / "boxes.csv"), ""), split="train")
    return prepare_index(index, folder / "store", config=PrepareConfig(**tiny_config(tiny_store)), workers=1)


def tiny_config(store: pathlib.Path) -> dict[str, object]:
    return Store.open(store).config


@pytest.mark.slow
def test_a_store_knows_boxes_and_no_mask(boxed, tiny_store):
    masked = Store.open(tiny_store)
    assert (boxed.index["has_boxes"] == (boxed.index["any"] == 1)).all()
    assert not boxed.index["has_mask"].any()
    assert not masked.index["has_boxes"].any()
    assert labels_with_lesions(boxed, "train") == tuple(n for n in LABELS if (boxed.index[n] == 1).any())
    shares = []
    rows = masked.index.reset_index().set_index("series")["index"]
    for row in np.flatnonzero(boxed.index["has_boxes"]):
        scan, series = boxed.read(int(row)), boxed.index["series"].iloc[row]
        lesions = known_lesions(scan, "phantom")
        truth = masked.read(int(rows[series])).mask
        has_box, is_free = (scan.mask > 0).any((1, 2)), (scan.slice_labels == 0).all(1)
        assert (lesions[has_box] != UNKNOWN).all()
        assert not lesions[is_free & ~has_box].any()
        if has_box.any():  # the smallest are lost between the pixels of this store
            is_inside = lesions[has_box] > BOXED
            shares.append((is_inside[truth[has_box] > 0].mean(), (truth[has_box][is_inside] > 0).mean()))
        again = decode_record(encode_record(scan))
        assert again.boxed
        np.testing.assert_array_equal(again.mask, scan.mask)
    found, precise = np.array(shares).T
    assert found.min() > 0.95  # both were resampled
    assert 0.2 < precise.mean() < 0.9


@pytest.mark.slow
def test_what_labels_say_goes_before_boxes(boxed):
    scan = boxed.read(int(np.flatnonzero(boxed.index["has_boxes"])[0]))
    has_box = (scan.mask > 0).any((1, 2))
    labels = np.full_like(scan.slice_labels, np.nan)
    found = known_lesions(dataclasses.replace(scan, slice_labels=labels), "phantom")
    np.testing.assert_array_equal(found[has_box], scan.mask[has_box])
    assert (found[~has_box] == UNKNOWN).all()
    denied = dataclasses.replace(scan, scan_labels=np.where(np.arange(6) < 5, 0.0, np.nan).astype(np.float32))
    found = known_lesions(denied, "phantom")
    np.testing.assert_array_equal(found[has_box] == UNKNOWN, scan.mask[has_box] > 0)


@pytest.mark.slow
def test_a_training_learns_from_boxes(boxed, tmp_path):
    """Boxes travel with their slices into the loss, which falls."""
    options = {"batch_size": 4, "num_slices": 4, "augmentation": Augmentation()}
    batches = training_batches(boxed, split="train", seed=0, lesions=True, **options)
    try:
        values = np.unique(next(batches).lesions)
    finally:
        batches.close()
    assert (values > BOXED).any()
    assert set(values[(values > 0) & (values < BOXED)]) == set()
    config = TrainConfig(
        data=DataConfig(store=str(boxed.path), batch_size=4, num_slices=4),
        model=ModelConfig(name="cnn2d_nano", lesions=True),
        objective=ObjectiveConfig(lesion_weight=1.0),
        optim=OptimConfig(learning_rate=3e-3, warmup_steps=1),
        parallel=ParallelConfig(data=1),
        steps=12,
        log_every=1,
    )
    run_training(config, tmp_path / "run", progress=False)
    losses = [json.loads(line)["lesion_loss"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
