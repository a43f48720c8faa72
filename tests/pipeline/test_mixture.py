"""Several stores are read as one: what is drawn follows the weights, and nothing of any store is lost or made up."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from ichformer.cohorts.leakage import check_leakage
from ichformer.cohorts.registry import COHORTS
from ichformer.errors import InputError
from ichformer.labels import LABELS, LabelSet
from ichformer.pipeline.known_labels import known_labels, whole_rows
from ichformer.pipeline.store.mixture import Mixture, with_more
from ichformer.pipeline.store.records import Store
from ichformer.testing import tiny_cohort
from tests.pipeline.test_loader import NONE, assert_same, first_batches
from tests.stores import CONFIG, prepare_here


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[Store]:
    """Five labelled scans, one of them of the split "val", and three others without labels."""
    folder = tmp_path_factory.mktemp("mixture")
    index = COHORTS["phantom"](tiny_cohort(folder / "cohort", scans=8), cache=folder / "cache")
    labelled = index.iloc[:5].assign(split=["train"] * 4 + ["val"])
    unlabelled = index.iloc[5:].assign(split=["train", "train", "val"], slice_labels="", mask="")
    unlabelled[list(LABELS)] = np.nan
    return [prepare_here(labelled, folder / "labelled"), prepare_here(unlabelled, folder / "unlabelled")]


@pytest.fixture(scope="module")
def mixture(stores: list[Store]) -> Store:
    return with_more(stores[0], [stores[1].path], split="train")


def test_rows_of_the_first_store_keep_their_numbers_and_the_others_follow(stores, mixture):
    first, other = stores
    np.testing.assert_array_equal(mixture.rows("val"), first.rows("val"))
    np.testing.assert_array_equal(mixture.rows("train"), [*first.rows("train"), *(5 + other.rows("train"))])
    for row in range(8):
        store, own = (first, row) if row < 5 else (other, row - 5)
        np.testing.assert_array_equal(mixture.read(row).volume.hu, store.read(own).volume.hu)
        assert mixture.header(row).source == store.header(own).source
        assert mixture.index["series"].iloc[row] == store.index["series"].iloc[own]
    assert set(mixture.index["split"]) == {"train", "val", "unlabelled: val"}
    assert with_more(first, [], split="train") is first


def test_unknown_labels_stay_unknown_and_count_for_nothing(stores, mixture):
    assert all(np.isnan(mixture.read(row).scan_labels).all() for row in range(5, 8))
    own, known = known_labels(stores[0], "train", num_slices=4), known_labels(mixture, "train", num_slices=4)
    assert known == dataclasses.replace(own, n_scans=6)
    assert whole_rows(mixture, "train") == whole_rows(stores[0], "train")


@pytest.mark.parametrize(("weights", "share"), [((), 4 / 6), ((3.0, 1.0), 3 / 4), ((0.5, 1.5), 1 / 4)])
def test_what_is_drawn_follows_the_weights_and_each_store_has_epochs_of_its_own(mixture, weights, share):
    rows = np.concatenate([batch.row for batch in first_batches(mixture, 6, weights=weights)])
    of_first = rows < 5
    for count in (8, 12, 24):
        assert abs(of_first[:count].sum() - share * count) <= 1
    for is_own, epoch in ((of_first, 4), (~of_first, 2)):
        own = rows[is_own][: is_own.sum() // epoch * epoch]
        assert set(Counter(own.tolist()).values()) == {len(own) // epoch}
        assert all(len(set(part)) == epoch for part in own.reshape(-1, epoch).tolist())


@pytest.mark.slow
def test_a_start_skips_batches_and_hosts_share_them(mixture):
    options = {"batch_size": 4, "augmentation": NONE, "weights": (1.0, 2.0)}
    wanted = first_batches(mixture, 5, **options)
    assert_same(first_batches(mixture, 2, start=3, **options), wanted[3:])
    assert_same(first_batches(mixture, 2, start=3, num_workers=2, **options), wanted[3:])
    parts = [first_batches(mixture, 5, host=host, hosts=2, **options) for host in range(2)]
    for batch, one, other in zip(wanted, *parts, strict=True):
        np.testing.assert_array_equal(batch.row, np.stack([one.row, other.row], 1).ravel())
        np.testing.assert_array_equal(batch.hu[0::2], one.hu)
        np.testing.assert_array_equal(batch.hu[1::2], other.hu)


def test_a_patient_whom_another_store_holds_out_leaks(stores, mixture):
    index = mixture.index.copy()
    is_train = index["split"] == "train"
    check_leakage(index[is_train], index[~is_train])
    index.loc[7, "patient"] = index["patient"].iloc[0]
    with pytest.raises(InputError, match="patient: 1 of 6 series are in training and in test"):
        check_leakage(index[is_train], index[~is_train])


def changed(store: Store, **changes: object) -> Store:
    return dataclasses.replace(store, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"config": dataclasses.asdict(dataclasses.replace(CONFIG, size=64))},
            "prepared with size 32, not 64; prepare",
        ),
        ({"recipe": 2}, "by recipe 3, and .* by 2; prepare both"),
        ({"recipe": None}, "by recipe 3, and .* by unknown"),
        ({"label_set": LabelSet(names=("bleed",))}, "labels and targets epidural, .*, and .* has bleed"),
    ],
)
def test_a_store_that_is_not_like_the_first_is_refused_in_a_line(stores, changes, said):
    with pytest.raises(InputError, match=said):
        with_more(changed(stores[0], **changes), [stores[1].path], split="train")


def test_a_store_without_the_split_or_given_twice_is_refused(stores):
    with pytest.raises(InputError, match="unlabelled: holds no scan of the split 'test'; it has: train, val"):
        with_more(stores[0], [stores[1].path], split="test")
    for more in ([stores[0].path], [stores[1].path, stores[1].path.parent / "." / "unlabelled"]):
        with pytest.raises(InputError, match="is given twice"):
            with_more(stores[0], more, split="train")


def test_a_mixture_says_what_it_holds(stores, mixture):
    assert isinstance(mixture, Mixture)
    assert mixture.counts == (5, 3)
    assert "8 scans of" in repr(mixture)
