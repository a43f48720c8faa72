"""Boxes round bleeds, from a table that counts pixels of files to what a training knows of each voxel."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from ichformer import LABELS
from ichformer.cohorts.index import check_index, make_index
from ichformer.cohorts.mask_labels import BOXED, UNKNOWN, is_boxed
from ichformer.cohorts.registry import COHORTS
from ichformer.cohorts.tables import BOX_COLUMNS, write_table
from ichformer.ct.io.nifti import NiftiFile
from ichformer.ct.io.scans import find_scans, read_volume
from ichformer.ct.volume import Volume
from ichformer.errors import InputError
from ichformer.labels import LabelSet
from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.pipeline.augmentation.cutout import cut_out
from ichformer.pipeline.augmentation.sample import Sample
from ichformer.pipeline.augmentation.slabs import thicken
from ichformer.pipeline.lesions import known_lesions, labels_with_lesions
from ichformer.pipeline.loader import training_batches
from ichformer.pipeline.preparation.boxes import Box, draw_boxes
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.masks import read_mask
from ichformer.pipeline.preparation.prepare import prepare_index
from ichformer.pipeline.store.records import PreparedScan, Store, decode_record, encode_record
from ichformer.training.config import DataConfig, ModelConfig, ObjectiveConfig, OptimConfig, ParallelConfig, TrainConfig
from ichformer.training.trainer import run_training
from tests.ct.builders import write_series

STEPS = (np.array([1, 0, 0]), np.array([0, 1, 0]))
EPIDURAL, SUBDURAL = (1 << LABELS.index(label) for label in ("epidural", "subdural"))
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
    np.testing.assert_array_equal(drawn, np.where(volume.hu == 70, BOXED | SUBDURAL, 0))


def test_boxes_of_several_labels_and_old_bleeds(tmp_path):
    scan, volume = series_with_a_bright_box(tmp_path, PLANES[0])
    boxes = [
        Box("1.2.3.3", "subdural", 0, 0, 2, 2),
        Box("1.2.3.3", "chronic", 1, 0, 9, 2),
        Box("1.2.3.3", "epidural", 0, 1, 1, 2),
        Box("1.2.3.1", "epidural", 15, 9, 50, 50),  # over the edge
    ]
    drawn = draw_boxes(boxes, volume, scan)
    epidural, subdural = BOXED | EPIDURAL, BOXED | SUBDURAL
    assert drawn[2, :3, :4].tolist() == [
        [subdural, subdural, UNKNOWN, UNKNOWN],
        [subdural | epidural, subdural, UNKNOWN, UNKNOWN],
        [epidural, 0, 0, 0],
    ]
    assert drawn[0, 8:, 14:].tolist() == [[0, 0], [0, epidural]]
    assert not drawn[[1, 3]].any()


@pytest.mark.parametrize(
    ("box", "said"),
    [
        (Box("1.2.3.3", "subdural", 16, 0, 2, 2), r"a box \(x 16, y 0, 2 x 2\) lies outside of 16 x 10 pixels"),
        (Box("7", "subdural", 0, 0, 2, 2), "1 of its 1 boxes are of no slice, or of one whose name stands twice"),
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
    return prepare_index(index, folder / "store", config=PrepareConfig(**Store.open(tiny_store).config), workers=1)


@pytest.mark.slow
def test_a_store_knows_boxes_and_no_mask(boxed, tiny_store):
    masked = Store.open(tiny_store)
    for label in LABELS[:-1]:
        has_box = boxed.index["boxed_labels"].str.contains(label)
        assert (boxed.index[label][has_box] == 1).all()
        assert (label in labels_with_lesions(boxed, "train")) == has_box.any()
    assert "any" in labels_with_lesions(boxed, "train")
    assert not boxed.index["has_mask"].any()
    assert not masked.index["boxed_labels"].any()
    shares = []
    rows = masked.index.reset_index().set_index("series")["index"]
    for row in np.flatnonzero(boxed.index["boxed_labels"]):
        scan, series = boxed.read(int(row)), boxed.index["series"].iloc[row]
        lesions = known_lesions(scan, "phantom")
        truth = masked.read(int(rows[series])).mask
        has_box, is_free = (scan.mask > 0).any((1, 2)), (scan.slice_labels == 0).all(1)
        assert not lesions[is_free & ~has_box].any()
        is_inside = is_boxed(scan.mask)
        shares.append((is_inside[truth > 0][has_box[np.nonzero(truth)[0]]].mean(), (truth[is_inside] > 0).mean()))
        again = decode_record(encode_record(scan))
        assert again.boxed
        np.testing.assert_array_equal(again.mask, scan.mask)
    found, precise = np.array(shares).T
    assert found.min() > 0.95  # both were resampled
    assert 0.2 < precise.mean() < 0.9


def test_what_labels_say_goes_before_boxes():
    """Slices with a subdural box, an old bleed, both, and nothing; of a scan whose labels are known or not."""
    mask = np.zeros((4, 2, 3), np.uint8)
    mask[[0, 2], 0, 0] = BOXED | SUBDURAL
    mask[1:3, 0, 1] = UNKNOWN
    volume = Volume(
        hu=np.zeros(mask.shape, np.int16), spacing_mm=(5.0, 1.0, 1.0), affine=np.eye(4), source=("a", "b", "c", "d")
    )
    unknown, positive = np.full((4, 6), np.nan, np.float32), np.full(6, np.nan, np.float32)
    positive[[4, 5]] = 1

    def known(labels, scan_labels=positive):
        scan = PreparedScan(volume=volume, slice_labels=labels, scan_labels=scan_labels, mask=mask, boxed=True)
        return known_lesions(scan, "cq500")

    with_boxes, rest = known(unknown)[[0, 2]], known(unknown)[[1, 3]]
    np.testing.assert_array_equal(with_boxes, mask[[0, 2]])
    assert (rest == UNKNOWN).all()
    labels = unknown.copy()
    labels[1], labels[3] = 0, 0  # no acute bleed
    assert known(labels)[1].tolist() == [[0, UNKNOWN, 0], [0, 0, 0]]
    assert not known(labels)[3].any()
    for column, of in itertools.product((4, 5), ("slice", "scan")):  # ruled out by the subtype's label, or by "any"
        labels, scan_labels = unknown.copy(), positive.copy()
        (labels[0] if of == "slice" else scan_labels)[column] = 0
        found = known(labels, scan_labels)
        assert found[0, 0, 0] == UNKNOWN
        assert (found[2, 0, 0] == UNKNOWN) == (of == "scan")
    labels = unknown.copy()
    labels[0, LABELS.index("epidural")] = 1  # it has no box: nobody knows where it is
    assert known(labels)[0].tolist() == [[BOXED | SUBDURAL, UNKNOWN, UNKNOWN], [UNKNOWN] * 3]


def test_changes_at_random_claim_nothing_of_boxes_that_is_not_known():
    mask = np.zeros((2, 8, 8), np.uint8)
    mask[0, :4, :4], mask[1, 6:, 6:] = BOXED | SUBDURAL, BOXED | EPIDURAL
    labels = np.ones((2, 6), np.float32)
    sample = Sample(hu=np.zeros(mask.shape, np.int16), spacing_mm=(5.0, 1.0, 1.0), slice_labels=labels, mask=mask)
    hidden = cut_out(sample, (slice(0, 3), slice(0, 8)))
    assert set(np.unique(hidden.mask[0])) == {0, UNKNOWN}
    assert np.isnan(hidden.slice_labels[0]).all()
    np.testing.assert_array_equal(hidden.mask[1], mask[1])
    kept = cut_out(sample, (slice(0, 1), slice(0, 8)))
    np.testing.assert_array_equal(kept.mask[:, 1:], mask[:, 1:])
    mask[1, :2, 2:] = BOXED | EPIDURAL
    (thick,) = thicken(sample, 2).mask
    assert thick[0].tolist() == [BOXED | SUBDURAL] * 2 + [BOXED | SUBDURAL | EPIDURAL] * 2 + [BOXED | EPIDURAL] * 4


def test_a_series_without_its_boxes_is_refused(tmp_path):
    write_table(pd.DataFrame([("x", "1", "subdural", 0, 0, 1, 1)], columns=list(BOX_COLUMNS)), tmp_path / "boxes.csv")
    row = {"cohort": "ours", "patient": "a", "series": "1.2.3", "path": str(tmp_path), "origin": "ours"}
    index = make_index([row | {"boxes": str(tmp_path / "boxes.csv")}])
    with pytest.raises(InputError, match=r"boxes\.csv: has no row of series 1\.2\.3; add its boxes"):
        prepare_index(index, tmp_path / "store", workers=1)
    with pytest.raises(InputError, match="boxes go with the six labels alone"):
        check_index(index.assign(volume_ml=1.0), label_set=LabelSet(names=LABELS, targets=("volume_ml",)))


@pytest.mark.slow
def test_a_training_learns_from_boxes(boxed, tmp_path):
    """Boxes travel with their slices into the loss, which falls."""
    options = {"batch_size": 4, "num_slices": 4, "augmentation": Augmentation()}
    batches = training_batches(boxed, split="train", seed=0, lesions=True, **options)
    try:
        values = np.unique(next(batches).lesions)
    finally:
        batches.close()
    assert is_boxed(values).any()
    assert not values[(values > 0) & (values < BOXED)].size
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
