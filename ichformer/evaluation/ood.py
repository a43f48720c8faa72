"""Out-of-distribution score: the Mahalanobis distance of a scan's features from those of the training scans.

The features are those of the model and those of the picture (``picture_features``), as a model learns to ignore noise.

Sources: Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks,
NeurIPS 2018; one mean for all classes, which works as well: Kamoi, Kobayashi, Why is the Mahalanobis Distance Effective
for Anomaly Detection?, arXiv:2003.00402, 2020; shrinkage: Ledoit, Wolf, Journal of Multivariate Analysis
2004;88:365-411.
"""

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64, Int16

from ichformer.errors import InputError, one_line
from ichformer.evaluation.picture_features import picture_features
from ichformer.evaluation.thresholds import check_model
from ichformer.files.writing import read_bytes, write_bytes

UNUSUAL = 95.0
"""Percentile of the distance from which on a scan counts as unlike the training scans."""

OOD_NAME = "ood.npz"
"""The file in the folder of a run with the distribution of its training scans."""

_FORMAT = "ichformer ood 2"
_ARRAYS = ("mean", "scale", "precision", "usual")


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureDistance:
    """The distribution of the features of training scans, and the usual distances from it.

    Attributes:
      mean: [d] of the training scans' features.
      scale: [d] their standard deviations; 1 where a feature never changes.
      precision: [d,d] inverse of the shrunken covariance of the features over ``scale``.
      usual: [n] distances of scans that were not trained on (validation), ascending.
      model: fingerprint of the model whose features these are; "" where that is not known.
    """

    mean: Float64[np.ndarray, " d"]
    scale: Float64[np.ndarray, " d"]
    precision: Float64[np.ndarray, "d d"]
    usual: Float64[np.ndarray, " n"]
    model: str = ""

    def distances(self, features: Float64[np.ndarray, "scans d"]) -> Float64[np.ndarray, " scans"]:
        """Mahalanobis distance of each scan: the higher, the less it is like the training.

        Raises:
          InputError: the features are not as many as those of the training, so they are of another model.
        """
        if features.shape[1] != self.mean.size:
            raise InputError(
                f"holds {self.mean.size} features, and this model gives {features.shape[1]}: it is of another model",
                where=OOD_NAME,
                fix=_FIX,
            )
        away = (features - self.mean) / self.scale
        return np.sqrt(np.maximum(np.einsum("ni,ij,nj->n", away, self.precision, away), 0))

    def percentiles(self, features: Float64[np.ndarray, "scans d"]) -> Float64[np.ndarray, " scans"]:
        """Share of validation scans, in percent, that are closer to the training scans. Ties count half.

        100 means farther away than every validation scan. On scans like those, values spread evenly from 0 to 100.
        """
        found = self.distances(features)
        below = np.searchsorted(self.usual, found, "left") + np.searchsorted(self.usual, found, "right")
        return 50 * below / self.usual.size


def describe(
    features: Float[np.ndarray, " d"], hu: Int16[np.ndarray, "s h w"], spacing_mm: tuple[float, float, float]
) -> Float64[np.ndarray, " described"]:
    """Features of one scan, as ``fit_ood`` and ``FeatureDistance`` take them.

    Args:
      features: of the model, over the scan (``models.contract.scan_features``).
      hu: the prepared scan.
      spacing_mm: (z, y, x).
    """
    return np.concatenate([features.astype(np.float64), picture_features(hu, spacing_mm)])


def fit_ood(train: Float64[np.ndarray, "scans d"], reference: Float64[np.ndarray, "others d"]) -> FeatureDistance:
    """Fit the distance on training scans, and measure how far other scans usually are.

    Training scans lie closer than any new scan, the more so the fewer they are, so they cannot be the measure.

    Raises:
      ValueError: fewer than two training scans, no others, or features that are no numbers.
    """
    from sklearn.covariance import LedoitWolf  # takes a second to load, and a prediction has no need of it

    if len(train) < 2 or not len(reference):
        raise ValueError(f"{len(train)} training scans and {len(reference)} others are too few")
    if not (np.isfinite(train).all() and np.isfinite(reference).all()):
        raise ValueError("features must be numbers")
    mean, scale = train.mean(0), train.std(0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    precision = LedoitWolf(assume_centered=True).fit((train - mean) / scale).precision_
    found = FeatureDistance(mean=mean, scale=scale, precision=precision, usual=np.zeros(0))
    return FeatureDistance(mean=mean, scale=scale, precision=precision, usual=np.sort(found.distances(reference)))


def write_ood(distance: FeatureDistance, path: Path) -> None:
    """Write the distance into a file, whole or not at all."""
    buffer = io.BytesIO()
    arrays = {name: getattr(distance, name) for name in _ARRAYS}
    np.savez(buffer, format=np.array(_FORMAT), model=np.array(distance.model), **arrays)
    write_bytes(buffer.getvalue(), path)


def read_ood(path: Path, *, model: str = "") -> FeatureDistance:
    """Read what ``write_ood`` wrote.

    Args:
      path: the file.
      model: fingerprint of the model that is used; "" where that is not known.

    Raises:
      InputError: the file is something else, or was made for another model.
    """
    data = read_bytes(path, max_bytes=_MAX_BYTES, fix=_FIX)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            size = sum(member.file_size for member in members.infolist())
        if size > _MAX_BYTES:
            raise InputError(f"unpacks to more than {_MAX_BYTES:,} bytes", where=path, fix=_FIX)
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            found = _text(file["format"])
            fitted_for = _text(file["model"]) if "model" in file else ""
            arrays = {name: file[name] for name in _ARRAYS}
    except _UNREADABLE as error:
        raise InputError(f"cannot be read ({type(error).__name__})", where=path, fix=_FIX) from None
    if found != _FORMAT:
        raise InputError(f"is {one_line(found)!r}, not {_FORMAT!r}", where=path, fix=_FIX)
    d = arrays["mean"].size
    shapes = {"mean": (d,), "scale": (d,), "precision": (d, d), "usual": (arrays["usual"].size,)}
    sound = d > 0 and arrays["usual"].size > 0
    for name, array in arrays.items():
        sound = sound and array.dtype == np.float64 and array.shape == shapes[name] and bool(np.isfinite(array).all())
    if not sound or (arrays["scale"] <= 0).any() or (np.diff(arrays["usual"]) < 0).any():
        raise InputError("its arrays do not fit together", where=path, fix=_FIX)
    check_model(fitted_for, model, where=path, fix=_FIX)
    return FeatureDistance(**arrays, model=fitted_for)


def _text(array: np.ndarray) -> str:
    if array.dtype.kind != "U" or array.shape:
        raise ValueError("is no text")
    return str(array)


_MAX_BYTES = 1 << 29
"""Largest size of the file and of its arrays: it holds 8,000 features, and the largest models have 2,000."""

# What NumPy and zipfile raise for files that are cut, scrambled, encrypted or of another kind.
_UNREADABLE = (
    *(OSError, ValueError, LookupError, TypeError, EOFError, MemoryError, OverflowError, RuntimeError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)

_FIX = "delete it; `ichformer robustness` makes it again"
