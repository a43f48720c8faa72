"""A run or an ensemble, opened for use from Python: predict, explain, features, evaluate."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int64

from ichformer.ct.geometry.regrid import slice_offsets_mm
from ichformer.ct.handed_in import check_volume
from ichformer.ct.volume import Volume
from ichformer.errors import InputError, one_line
from ichformer.evaluation.scorable import check_numbers, why_not_scored
from ichformer.evaluation.summary import Summary
from ichformer.evaluation.thresholds import THRESHOLDS_NAME, read_thresholds
from ichformer.explain.heat_map import heat_map_in_full
from ichformer.files.writing import shown
from ichformer.inference.recipes import UNKNOWN_RECIPE, check_new_scans
from ichformer.inference.scoring import score
from ichformer.inference.trained import Trained
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.recipe import prepare_volume
from ichformer.pipeline.store.records import Store
from ichformer.process.said import say_once
from ichformer.settings import as_path, check_known, described, fit
from ichformer.training.runs.outputs import OutputLevel
from ichformer.training.runs.portable import StoredType
from ichformer.workflows.evaluate_run import evaluate
from ichformer.workflows.export_run import export_run
from ichformer.workflows.opened.scan_prediction import ScanPrediction


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TrainedModel:
    """A run or an ensemble, opened for use.

    Example:
      >>> import ichformer as ich
      >>> run = ich.open_run("runs/first")
      >>> isinstance(run, ich.TrainedModel), run.labels == ich.LABELS
      (True, True)

    Attributes:
      run: its parameters, its settings and its folder.
    """

    run: Trained

    def __repr__(self) -> str:
        """Two lines: the model, and what it was trained for."""
        frozen = "frozen" if (self.run.path / THRESHOLDS_NAME).exists() else "not frozen yet"
        steps = ", ".join(f"{member.step} steps" for member in self.run.members)
        return (
            f"TrainedModel: {one_line(self.run.name)}, {steps}, {one_line(self.run.path)}\n"
            f"        labels {', '.join(self.labels)}; thresholds {frozen}"
        )

    @property
    def path(self) -> Path:
        """The folder."""
        return self.run.path

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the model's outputs."""
        return self.run.objective.label_set.names

    @property
    def targets(self) -> tuple[str, ...]:
        """The regression targets, whose outputs follow those of the labels."""
        return self.run.objective.label_set.targets

    def predict(self, volume: Volume) -> ScanPrediction:
        """Scores a scan and its slices.

        Example:
          >>> import ichformer as ich
          >>> prediction = ich.open_run("runs/first").predict(ich.read_volume("scan/"))
          >>> 0 < prediction.scan_scores["any"] < 1
          True

        Args:
          volume: as ``read_volume`` gives it. It is prepared as the scans of the training were.

        Returns:
          The scores of the scan and of each slice; none, and the reason, where it cannot be scored.

        Raises:
          InputError: it is no ``Volume`` in HU and LPS (``ct.handed_in``), it was read in another way than the run's
            scans, or the run's scans were prepared by another recipe than this ichformer's.
        """
        prepared = self._prepared(volume)
        scan, slices, _ = score(self.run.objective, self.run.variables, prepared)
        reason = why_not_scored(prepared, self.run.prepare) or check_numbers(scan, slices)
        slices = slices[_prepared_slices(volume, prepared, self.run.prepare)]
        place = {name: i for i, name in enumerate((*self.labels, *self.targets))}

        def trained(level: OutputLevel, names: tuple[str, ...], values: np.ndarray) -> dict[str, Any]:
            given = self._trained(level, names) if reason is None else ()
            return {name: values[..., place[name]] for name in given}

        return ScanPrediction(
            scan_scores={name: float(value) for name, value in trained("scan", self.labels, scan).items()},
            slice_scores=trained("slice", self.labels, slices),
            not_scored=reason,
            thresholds=self._thresholds(),
            scan_targets={name: float(value) for name, value in trained("scan", self.targets, scan).items()},
            slice_targets=trained("slice", self.targets, slices),
        )

    def explain(
        self, volume: Volume, label: str, *, level: Literal["scan", "slice"] | None = None
    ) -> Float32[np.ndarray, "s h w"]:
        """Draws a heat map of a label over a scan: HiResCAM on the scan's own grid, scaled to [0, 1] over the scan.

        Example:
          >>> import ichformer as ich
          >>> volume = ich.read_volume("scan/")
          >>> heat = ich.open_run("runs/first").explain(volume, "any")
          >>> heat.shape == volume.hu.shape, float(heat.max()) <= 1
          (True, True)

        Args:
          volume: as for ``predict``.
          label: one of ``labels``.
          level: whose score is explained: that of each slice, or that of the scan where slices were not trained.

        Returns:
          float32 [S,H,W] on the volume's own grid.

        Raises:
          InputError: there is no such label, it was not trained, or the scan cannot be scored.
        """
        check_known("label", label, self.labels, where="label")
        level = fit(OutputLevel | None, level, where="level")
        levels: tuple[OutputLevel, ...] = ("slice", "scan") if level is None else (level,)
        trained = [one for one in levels if label in self._trained(one, self.labels)]
        if not trained:
            raise InputError("the run was never trained for this label", where=label, fix="explain another label")
        prepared = self._prepared(volume)
        if (reason := why_not_scored(prepared, self.run.prepare)) is not None:
            raise InputError(f"cannot be scored. {reason.text}", where=volume.source[0], fix="give another scan")
        return heat_map_in_full(
            self.run.objective,
            self.run.variables,
            prepared,
            volume,
            label=label,
            level=trained[0],
            rows=_prepared_slices(volume, prepared, self.run.prepare),
        )

    def features(self, volume: Volume) -> Float32[np.ndarray, " d"]:
        """The model's features of a scan: the mean over its slices, float32 [D].

        Example:
          >>> import ichformer as ich
          >>> features = ich.open_run("runs/first").features(ich.read_volume("scan/"))
          >>> features.dtype, features.ndim
          (dtype('float32'), 1)

        Args:
          volume: as for ``predict``.

        Returns:
          One vector, whose length D depends on the model.

        Raises:
          InputError: as ``predict``.
        """
        return score(self.run.objective, self.run.variables, self._prepared(volume))[2]

    def evaluate(
        self,
        store: Store | str | os.PathLike[str],
        *,
        split: str = "test",
        out: str | os.PathLike[str] | None = None,
        prevalence: float | None = None,
    ) -> Summary:
        """Evaluates the model on a split of a store that it was not trained on.

        Example:
          >>> import ichformer as ich
          >>> summary = ich.open_run("runs/first").evaluate(ich.Store.open("store"))
          >>> summary.split, [level.level for level in summary.levels]
          ('test', ['slice', 'scan'])

        Args:
          store: prepared scans: a store or its folder.
          split: the split to evaluate.
          out: folder for the page, the tables and the cards; nothing is written where None.
          prevalence: also state PPV and NPV at this share of positives.

        Returns:
          Every figure with its 95 % interval over patients, by level and label, and warnings.

        Raises:
          InputError: scans that were prepared in another way or trained on, or a split that is not there.
        """
        opened = store if isinstance(store, Store) else as_path(store, where="store", fix="give a Store or its folder")
        folder = None if out is None else as_path(out, where="out")
        return evaluate(self.run, opened, folder, split=split, prevalence=prevalence)

    def export(
        self,
        out: str | os.PathLike[str],
        *,
        store: Store | str | os.PathLike[str] | None = None,
        dtype: StoredType = "float16",
    ) -> "TrainedModel":
        """Writes the model into a new folder to pass on: its settings and its parameters as safetensors, no more.

        Example:
          >>> import ichformer as ich
          >>> shared = ich.open_run("runs/first").export("shared", store="store")
          >>> shared.labels == ich.LABELS
          True

        Args:
          out: the new folder, which opens as a run.
          store: the prepared scans of the training, on whose split "val" thresholds are fixed for the rounded
            parameters. Without it the exported run has no thresholds.
          dtype: of the stored parameters.

        Returns:
          The exported run, opened.

        Raises:
          InputError: the folder holds something, the run is an ensemble, the store was prepared in another way, or a
            parameter is too large for ``dtype``.
        """
        folder = as_path(out, where="out", fix="name a new folder")
        if store is not None and not isinstance(store, Store):
            store = Store.open(as_path(store, where="store", fix="give a Store or its folder"))
        dtype = fit(StoredType, dtype, where="dtype")
        return TrainedModel(run=export_run(self.run, folder, store=store, dtype=dtype))

    def _prepared(self, volume: Any) -> Volume:
        if not isinstance(volume, Volume):
            raise InputError(
                f"expected a Volume, found {described(volume)}",
                where="volume",
                fix="read it with ichformer.read_volume",
            )
        check_volume(volume)
        wanted = self.run.prepare.missing
        if wanted != "keep" and volume.audit.missing_slices:
            raise InputError(
                f"{volume.audit.missing_slices} slices are missing, and the run's scans were read without gaps",
                where=volume.source[0],
                fix=f"read it with ichformer.read_volume(path, missing={wanted!r})",
            )
        if not check_new_scans(self.run):
            say_once(f"{shown(self.path)}: {UNKNOWN_RECIPE}")
        return prepare_volume(volume, self.run.prepare)

    def _trained(self, level: OutputLevel, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those of some labels or targets whose outputs of a level were trained."""
        outputs = self.run.trained_outputs
        return tuple(name for name in names if outputs is None or name not in outputs.missing(level))

    def _thresholds(self) -> dict[str, float]:
        file = self.run.path / THRESHOLDS_NAME
        if not file.exists():
            return {}
        frozen = read_thresholds(file, model=self.run.fingerprint)
        first = {label: next(iter(frozen.of("scan", label)), None) for label in self._trained("scan", self.labels)}
        return {label: one.value for label, one in first.items() if one is not None and one.value is not None}


def _prepared_slices(volume: Volume, prepared: Volume, prepare: PrepareConfig) -> Int64[np.ndarray, " s"]:
    """For each slice of a volume the one of the prepared volume that stands for it: the same, or the nearest."""
    if prepare.slice_spacing_mm is None:
        return np.arange(len(volume.hu))
    nearest = np.rint(slice_offsets_mm(volume) / prepare.slice_spacing_mm).astype(np.int64)
    return np.minimum(nearest, len(prepared.hu) - 1)
