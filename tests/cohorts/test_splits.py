import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer import LABELS
from ichformer.cohorts.index import make_index
from ichformer.cohorts.leakage import check_leakage
from ichformer.cohorts.splits import (
    folds_by_patient,
    hold_out_site,
    leave_one_site_out,
    split_by_patient,
    split_warnings,
)
from ichformer.errors import InputError


def series(k: int, patient: int, *, site: str = "a", origin: str = "c", **more: object) -> dict[str, object]:
    return {
        "cohort": origin,
        "origin": origin,
        "patient": f"p{patient}",
        "study": f"s{k}",
        "series": f"{origin}{k}",
        "path": f"/d/{k}",
        "site": site,
        **more,
    }


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, object]]:
    patients = draw(st.lists(st.integers(0, 40), min_size=1, max_size=80))
    labels = st.sampled_from([0.0, 0.0, 1.0, np.nan])
    return [
        series(k, p, site=draw(st.sampled_from("ab")), **{name: draw(labels) for name in LABELS[:-1]})
        for k, p in enumerate(patients)
    ]


@given(rows(), st.integers(0, 5), st.randoms())
def test_whole_patients_whatever_the_order_of_rows(rows, seed, random):
    index = make_index(rows)
    split = split_by_patient(index, seed=seed)
    assert set(split["split"]) <= {"train", "val", "test"}
    assert (split.groupby("patient")["split"].nunique() == 1).all()
    order = list(range(len(index)))
    random.shuffle(order)
    shuffled = split_by_patient(index.iloc[order], seed=seed)
    assert shuffled.sort_index().equals(split)
    parts = [split[split["split"] == name] for name in ("train", "test")]
    check_leakage(*parts)


@given(st.integers(1, 12), st.integers(0, 1000))
def test_rare_labels_are_spread(n_rare, seed):
    index = make_index([series(k, k, epidural=float(k < n_rare), subdural=float(k % 3 == 0)) for k in range(200)])
    split = split_by_patient(index, seed=seed, fractions={"train": 0.6, "val": 0.2, "test": 0.2})
    for label, count in (("epidural", n_rare), ("subdural", 67), (None, 200)):
        of_label = split if label is None else split[split[label] == 1]
        for name, fraction in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
            assert abs((of_label["split"] == name).sum() - fraction * count) < 2


def test_seeds_differ_and_splits_of_nothing_stay_empty():
    index = make_index([series(k, k) for k in range(100)])
    a, b = (split_by_patient(index, seed=seed)["split"].tolist() for seed in (0, 1))
    assert a != b
    assert set(split_by_patient(index, seed=0, fractions={"train": 1, "test": 0})["split"]) == {"train"}


@pytest.mark.parametrize("fractions", [{"train": 0.5}, {"train": 1.5, "val": -0.5}, {"training": 1.0}, {}])
def test_fractions_that_make_no_sense(fractions):
    with pytest.raises(InputError, match="fractions"):
        split_by_patient(make_index([series(0, 0)]), seed=0, fractions=fractions)


@given(rows(), st.integers(0, 5))
def test_a_site_held_out(rows, seed):
    index = make_index(rows)
    elsewhere = set(index[index["site"] == "a"]["patient"]) - set(index[index["site"] == "b"]["patient"])
    if set(index["site"]) != {"a", "b"} or not elsewhere:
        with pytest.raises(InputError, match="site"):
            hold_out_site(index, site="b", seed=seed)
        return
    split = hold_out_site(index, site="b", seed=seed, val_fraction=0.2)
    assert ((split["split"] == "test") == (split["site"] == "b")).all()
    test, rest = split[split["split"] == "test"], split[split["split"].isin(["train", "val"])]
    check_leakage(rest, test)
    assert set(rest["patient"]) == elsewhere
    assert set(split[split["split"] == ""]["patient"]) <= set(test["patient"])


def test_the_same_number_in_two_cohorts_is_not_one_patient():
    index = make_index([series(k, k % 20, origin=origin) for origin in ("x", "y") for k in range(40)])
    split = split_by_patient(index, seed=0)
    x, y = (split[split["origin"] == origin].groupby("patient")["split"].first() for origin in ("x", "y"))
    assert (x != y).any()


def test_every_site_in_turn():
    index = make_index([series(k, k, site="abc"[k % 3] if k % 4 else "") for k in range(60)])
    held_out = dict(leave_one_site_out(index, seed=0, val_fraction=0.25))
    assert list(held_out) == ["a", "b", "c"]
    for site, split in held_out.items():
        assert split.equals(hold_out_site(index, site=site, seed=0, val_fraction=0.25))
        assert set(split[split["split"] == "test"]["site"]) == {site}
        check_leakage(split[split["split"] != "test"], split[split["split"] == "test"])
    with pytest.raises(InputError, match="cannot be held out"):
        list(leave_one_site_out(index[index["site"] == "a"], seed=0))


@given(rows(), st.integers(2, 4), st.integers(0, 3))
def test_every_patient_is_in_the_test_of_one_fold(rows, folds, seed):
    index = make_index(rows)
    patients = (index["origin"] + "/" + index["patient"]).nunique()
    if patients < folds:
        with pytest.raises(InputError, match=f"{folds} folds of {patients} patients"):
            list(folds_by_patient(index, folds=folds, seed=seed))
        return
    tested = []
    for split in folds_by_patient(index, folds=folds, seed=seed):
        test, rest = split[split["split"] == "test"], split[split["split"] != "test"]
        assert len(test)
        assert set(rest["split"]) <= {"train", "val"}
        check_leakage(rest, test)
        tested += test["series"].tolist()
    assert sorted(tested) == sorted(index["series"])


def test_folds_get_their_share_of_a_rare_label():
    index = make_index([series(k, k, epidural=float(k % 10 == 0)) for k in range(100)])
    for split in folds_by_patient(index, folds=5, seed=0):
        assert split.loc[split["split"] == "test", "epidural"].sum() == 2


def test_labels_of_one_value_are_warned_of_by_split():
    known = {"train": (0, 1, np.nan), "val": (1, 1, np.nan), "test": (0, np.nan, np.nan)}
    rows = [
        series(3 * k + j, 3 * k + j, split=split, any=value)
        for k, (split, values) in enumerate(known.items())
        for j, value in enumerate(values)
    ]
    (warning,) = split_warnings(make_index(rows))
    assert warning.endswith(": any is 0 in all of test; any is 1 in all of val")
    (warning,) = split_warnings(make_index([*rows, series(20, 20, split="test", any=1.0)]))
    assert warning.endswith(": any is 1 in all of val")
    balanced = [series(k, k, split=split, any=float(k % 2)) for k, split in enumerate(["train", "val", "test"] * 2)]
    assert list(split_warnings(make_index(balanced))) == []
