"""Probing during a pretraining: what simple classifiers read from its features so far, and whether these collapse.

Every host reads its part of the scans and computes its part of the features. All of them then hold all features and
fit the same probes; the first host writes.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
from jaxtyping import Array, Float, Float64

from ichformer.errors import InputError
from ichformer.files.json_files import read_json
from ichformer.files.writing import write_bytes, write_text
from ichformer.models.contract import mean_of_slices
from ichformer.models.layers.draws import scans_at
from ichformer.objectives.base import Objective, Pretraining
from ichformer.objectives.masked.masked_objective import MaskedPixels
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.loader import evaluation_batches
from ichformer.pipeline.store.records import Store
from ichformer.statistics.probes.collapse import Collapse, measure_collapse
from ichformer.statistics.probes.fits import OF_SCANS, Rows, by_share, fit_draws
from ichformer.training.config import TrainConfig
from ichformer.training.monitoring.probed_scans import ProbedScans, choose_scans
from ichformer.training.monitoring.strip import draw_strip
from ichformer.training.monitoring.writers import Writer
from ichformer.training.sharding.parallel import everywhere, shard_batch
from ichformer.training.state import TrainState

FOLDER = "probing"
"""In the folder of a run, with pictures of slices and ``LAST_NAME``."""

LAST_NAME = "last.json"
"""The file with the last probing."""

MOST_PICTURES = 32
"""Of a run; they are spread evenly over it."""

_PICTURED = 4
_MOST_SHARE = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Probed:
    """What was found.

    Attributes:
      metrics: by name. What could not be scored is not there.
      picture: a PNG of reconstructions, where there is one.
      warnings: what people should know, a line each.
    """

    metrics: dict[str, float]
    picture: bytes | None
    warnings: tuple[str, ...]


class Probing:
    """Measures frozen features of few labelled scans before the first step and then every so many steps.

    Nothing of it reaches the training: the random numbers that hide pixels are its own, and each scan gets the same
    ones every time. The averaged parameters are taken where there are some, as they are what a run is used with.
    """

    def __init__(self, config: TrainConfig, objective: Objective, store: Store, mesh: jax.sharding.Mesh, run: Path):
        """InputError where probing is wanted, and there are no features or no labelled scans in "train" and "val"."""
        self._every, self._folder, self._mesh, self._store = config.probe_every, run / FOLDER, mesh, store
        self._ended_s: list[float] = []
        self._has_told_share = self._has_told_collapse = False
        if not self._every:
            return
        if not isinstance(objective, Pretraining):
            raise InputError(
                f"{config.objective.name} is no pretraining, whose features could be probed",
                where="--probe-every",
                fix="leave it out; --evaluate-every measures the loss",
            )
        self._scans = choose_scans(store)
        self._num_slices = config.data.num_slices
        # A part of a training batch that fits into memory with its gradients: without them it fits, too.
        self._batch_size = config.data.batch_size // config.parallel.accumulate
        self._stride = math.ceil((config.steps // self._every + 1) / MOST_PICTURES)
        self._features = jax.jit(_features_of(objective), out_shardings=everywhere(mesh))
        self._slices = None
        if isinstance(objective, MaskedPixels):
            wanted = self._scans.scored[: min(_PICTURED, self._batch_size)]
            self._slices = jax.jit(_slices_of(objective, wanted), out_shardings=everywhere(mesh))

    @property
    def scans(self) -> ProbedScans | None:
        """By which it measures; None where no probing is wanted."""
        return self._scans if self._every else None

    def is_due(self, step: int) -> bool:
        """Whether probing follows this step, or comes before the first one."""
        return self._every > 0 and step % self._every == 0

    def is_kept(self, step: int) -> bool:
        """Whether a probing of this step or of a later one was kept, also by an earlier process."""
        file = self._folder / LAST_NAME
        return file.exists() and read_json(file, _Last, fix="delete the file").step >= step

    def __call__(self, state: TrainState, step: int, *, stopping: Callable[[], bool]) -> Probed | None:
        """What a probing of the state after ``step`` steps finds; None once ``stopping()``."""
        began = time.perf_counter()
        params = state.params if state.ema_params is None else state.ema_params
        draws_picture = self._slices is not None and step // self._every % self._stride == 0
        place = {row: i for i, row in enumerate(self._scans.rows.tolist())}
        found: dict[int, np.ndarray] = {}
        picture = None
        for batch in evaluation_batches(
            self._store,
            rows=self._scans.rows,
            batch_size=self._batch_size // jax.process_count(),
            num_slices=self._num_slices,
            host=jax.process_index(),
            hosts=jax.process_count(),
        ):
            if stopping():
                return None
            placed = shard_batch(batch, self._mesh)
            if draws_picture and not found and self._slices is not None:
                picture = draw_strip(jax.device_get(self._slices(params, placed)))
            features, rows = jax.device_get(self._features(params, placed))
            found |= {place[int(row)]: of_scan for row, of_scan in zip(rows, features, strict=True)}
        values = np.stack([found[i] for i in range(len(place))]).astype(np.float64)
        metrics, warnings = self._measured(values, step)
        warnings += self._told_share(began)
        return Probed(metrics=metrics, picture=picture, warnings=tuple(warnings))

    def keep(self, step: int, probed: Probed, writers: Sequence[Writer]) -> None:
        """Writes what was found into the folder of the run, and pictures to those who show some."""
        if jax.process_index() != 0:
            return
        self._folder.mkdir(exist_ok=True)
        if probed.picture is not None:
            write_bytes(probed.picture, self._folder / f"step_{step:08d}.png")
            for writer in writers:
                writer.show(step, "reconstruction", probed.picture)
        write_text(json.dumps({"step": step, "metrics": probed.metrics}, indent=2) + "\n", self._folder / LAST_NAME)

    def _measured(self, values: Float64[np.ndarray, "n d"], step: int) -> tuple[dict[str, float], list[str]]:
        if not np.isfinite(values).all():
            return {}, [f"step {step}: features are no numbers, so nothing was probed"]
        scans, count = self._scans, len(self._scans.scored)
        scored = Rows(features=values[:count], labels=scans.scored_labels, patients=np.arange(count))
        fitted = Rows(features=values[count:], labels=scans.fitted_labels, patients=np.arange(len(scans.fitted)))
        metrics = {}
        for method in OF_SCANS:
            for share in by_share([draw for draw, _ in fit_draws(fitted, scored, method=method)]):
                if share.mean_auroc is not None:
                    metrics[f"probe_{method}_{scans.label}_auroc_{100 * share.fraction:g}"] = share.mean_auroc
        collapse = measure_collapse(fitted.features)
        metrics |= {
            "feature_rank": collapse.effective_rank,
            "feature_spread": collapse.spread,
            "feature_similarity": collapse.similarity,
            "features_collapsed": float(collapse.has_happened),
        }
        return metrics, self._told_collapse(collapse, step)

    def _told_collapse(self, found: Collapse, step: int) -> list[str]:
        news = found.has_happened and not self._has_told_collapse
        self._has_told_collapse = found.has_happened
        if not news:
            return []
        figures = f"effective rank {found.effective_rank:.2f}, spread {found.spread:.1e} of at most"
        said = f"the features of all {found.scans} scans are nearly the same, they have collapsed"
        return [f"step {step}: {said}: {figures} {found.full_spread:.3f}"]

    def _told_share(self, began: float) -> list[str]:
        """Says once what probing costs. In the first one and the steps after it, programs may have been compiled."""
        now = time.perf_counter()
        self._ended_s.append(now)
        if len(self._ended_s) < 3 or self._has_told_share:
            return []
        took, steps = now - began, max(began - self._ended_s[-2], 1e-9)
        if took <= _MOST_SHARE * (took + steps):
            return []
        self._has_told_share = True
        enough = math.ceil(self._every * took * (1 / _MOST_SHARE - 1) / steps)
        share = f"{100 * took / (took + steps):.1f} % of the time"
        cost = f"{took:.1f} s after {self._every} steps of {steps:.1f} s together"
        return [f"probing takes {share}, {cost}; --probe-every {enough} takes less than 1 %"]


class _Last(msgspec.Struct):
    step: int


def _features_of(objective: Pretraining) -> Callable[[Any, Batch], tuple[Array, Array]]:
    def features(params: Any, batch: Batch) -> tuple[Array, Array]:
        """The features [B,D] of scans, and their rows."""
        return mean_of_slices(objective.features(params, batch), batch.slice_mask), batch.row

    return features


def _slices_of(objective: MaskedPixels, wanted: np.ndarray) -> Callable[[Any, Batch], Float[Array, "n 3 h w"]]:
    channel = objective.neighbours * len(objective.windows)  # of the slice itself, in the first window

    def slices(params: Any, batch: Batch) -> Float[Array, "n 3 h w"]:
        """The middle slices of the scans of the rows ``wanted``: seen, reconstructed, true."""
        with scans_at(batch.row):
            made = objective.reconstruct(params, batch, jax.random.key(0))
        at = jnp.argmax(batch.row[None] == jnp.asarray(wanted)[:, None], axis=1)
        middle = (batch.slice_mask.sum(1) // 2)[at]
        return jnp.stack([x[at, middle, :, :, channel] for x in (made.seen, made.pixels, made.truth)], axis=1)

    return slices
