"""The distance of features from those of the training."""

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from ichformer.errors import InputError
from ichformer.evaluation.ood import FeatureDistance, fit_ood, read_ood, write_ood


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def features(rng: np.random.Generator, n: int, d: int = 5) -> np.ndarray:
    return rng.standard_normal((n, d)) @ np.linspace(0.1, 40, d * d).reshape(d, d) + 7


def test_the_distance_is_that_of_scipy_with_the_covariance_of_scikit_learn(rng):
    train, other = features(rng, 60), features(rng, 20)
    found = fit_ood(train, other)
    standard = (train - train.mean(0)) / train.std(0)
    inverse = np.linalg.inv(LedoitWolf().fit(standard).covariance_)
    wanted = [mahalanobis((one - train.mean(0)) / train.std(0), np.zeros(5), inverse) for one in other]
    np.testing.assert_allclose(found.distances(other), wanted, rtol=1e-6)
    np.testing.assert_allclose(found.usual, np.sort(wanted), rtol=1e-6)


def test_units_and_features_that_never_change_do_not_matter(rng):
    train, other = features(rng, 60), features(rng, 20)
    scale = np.array([1e-3, 1, 10, 1e4, 7])
    np.testing.assert_allclose(
        fit_ood(train * scale + 3, other * scale + 3).usual, fit_ood(train, other).usual, rtol=1e-6
    )
    wider = fit_ood(np.pad(train, ((0, 0), (0, 1))), np.pad(other, ((0, 0), (0, 1))))
    assert np.isfinite(wider.usual).all()


def test_percentiles_of_scans_like_validation_are_even_and_others_are_at_the_end(rng):
    found = fit_ood(features(rng, 400), features(rng, 400))
    usual = found.percentiles(features(rng, 2000))
    assert np.quantile(usual, [0.1, 0.5, 0.9]) == pytest.approx([10, 50, 90], abs=8)
    assert found.percentiles(features(rng, 20) + 500).min() == 100
    assert found.percentiles(found.mean[None])[0] == 0
    np.testing.assert_allclose(
        FeatureDistance(
            mean=np.zeros(1), scale=np.ones(1), precision=np.eye(1), usual=np.array([1.0, 2.0, 2.0, 3.0])
        ).percentiles(np.array([[0.0], [1.0], [2.0], [2.5], [9.0]])),
        [0, 12.5, 50, 75, 100],
    )


def test_fewer_scans_than_features_still_give_a_distance(rng):
    found = fit_ood(rng.standard_normal((6, 96)), rng.standard_normal((3, 96)))
    assert (found.usual > 0).all()
    far = found.distances(rng.standard_normal((3, 96)) + 5)
    assert far.min() > found.usual.max()


def test_what_was_written_is_read(rng, tmp_path):
    found = fit_ood(features(rng, 30), features(rng, 10))
    write_ood(found, tmp_path / "ood.npz")
    again = read_ood(tmp_path / "ood.npz")
    for name in ("mean", "scale", "precision", "usual"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert [file.name for file in tmp_path.iterdir()] == ["ood.npz"]


@pytest.mark.parametrize("train", [np.zeros((1, 3)), np.full((4, 3), np.nan)])
def test_what_cannot_be_fitted_is_refused(train):
    with pytest.raises(ValueError, match=r"few|numbers"):
        fit_ood(train, np.zeros((2, 3)))


def spoiled(path, **changes):
    arrays = {
        "format": np.array("ichformer ood 2"),
        "mean": np.zeros(2),
        "scale": np.ones(2),
        "precision": np.eye(2),
        "usual": np.arange(3.0),
    }
    np.savez(path, **(arrays | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": np.eye(3)},
        {"usual": np.zeros(0)},
        {"usual": np.array([2.0, 1.0])},
        {"scale": np.array([1.0, 0.0])},
        {"mean": np.array([np.nan, 0.0])},
        {"mean": np.zeros(2, np.float32)},
        {"mean": np.array([object(), object()])},
        {"format": np.array("ichformer ood 1")},
    ],
)
def test_a_damaged_file_is_one_readable_error(tmp_path, changes):
    spoiled(tmp_path / "ood.npz")
    read_ood(tmp_path / "ood.npz")
    spoiled(tmp_path / "ood.npz", **changes)
    with pytest.raises(InputError, match="delete it"):
        read_ood(tmp_path / "ood.npz")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no zip", b"\x80\x04pickle"])
def test_a_file_that_is_something_else(tmp_path, data):
    (tmp_path / "ood.npz").write_bytes(data)
    with pytest.raises(InputError, match="delete it"):
        read_ood(tmp_path / "ood.npz")
