"""A run or an ensemble, opened for use from Python: predict, explain, features, evaluate."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from ichformer.ct.volume import Volume
from ichformer.errors import one_line
from ichformer.evaluation.scorable import check_numbers, why_not_scored
from ichformer.evaluation.summary import Summary
from ichformer.evaluation.thresholds import THRESHOLDS_NAME, read_thresholds
from ichformer.explanations.registry import DEFAULT_METHOD
from ichformer.inference.scoring import score
from ichformer.inference.trained import Trained
from ichformer.pipeline.store.records import Store
from ichformer.settings import as_path, fit
from ichformer.training.runs.outputs import OutputLevel
from ichformer.training.runs.portable import StoredType
from ichformer.workflows.evaluate_run import evaluate
from ichformer.workflows.exports.export_run import export_run
from ichformer.workflows.opened.explained import explain_volume, trained_names
from ichformer.workflows.opened.prepared import prepare_as_trained, prepared_slices
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
        slices = slices[prepared_slices(volume, prepared, self.run.prepare)]
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
        self,
        volume: Volume,
        label: str = "any",
        *,
        method: str = DEFAULT_METHOD,
        level: Literal["scan", "slice"] | None = None,
    ) -> Float32[np.ndarray, "s h w"]:
        """Draws a map of what the score of a label comes from, on the scan's own grid.

        Example:
          >>> import ichformer as ich
          >>> volume = ich.read_volume("scan/")
          >>> heat = ich.open_run("runs/first").explain(volume, "any")
          >>> heat.shape == volume.hu.shape, float(heat.max()) <= 1
          (True, True)

        Args:
          volume: as for ``predict``.
          label: one of ``labels``.
          method: how: "hires_cam", "grad_cam", "grad_cam_plus_plus", "layer_cam" or "ablation_cam" on the features;
            "input_x_gradient", "integrated_gradients", "smooth_grad", "occlusion" or "rise" on the voxels; "lesions",
            the lesion map; or one of your own (``register_explanation``).
          level: whose score is explained: that of each slice, or that of the scan. The slices' by default, unless they
            were not trained.

        Returns:
          float32 [S,H,W] on the volume's own grid, on one scale for the scan: the largest value of either sign is 1 or
          -1. Below 0 is what lowered the score, which only methods on voxels show. Air outside the head is 0.

        Raises:
          InputError: there is no such label or method, the label was not trained, the model has not what the method
            needs, or the scan cannot be scored.
        """
        return explain_volume(self.run, volume, label=label, method=method, level=level).values

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
          ('test', ['scan'])

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
        return prepare_as_trained(self.run, volume)

    def _trained(self, level: OutputLevel, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those of some labels or targets whose outputs of a level were trained."""
        return trained_names(self.run, level, names)

    def _thresholds(self) -> dict[str, float]:
        file = self.run.path / THRESHOLDS_NAME
        if not file.exists():
            return {}
        frozen = read_thresholds(file, labels=self.labels, model=self.run.fingerprint)
        first = {label: next(iter(frozen.of("scan", label)), None) for label in self._trained("scan", self.labels)}
        return {label: one.value for label, one in first.items() if one is not None and one.value is not None}
