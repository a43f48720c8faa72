"""A pretraining, opened for use from Python: features and reconstructions."""

import os
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float32

from ichformer.ct.volume import Volume
from ichformer.errors import InputError, one_line
from ichformer.inference.pretrained import reconstruct, slice_features
from ichformer.objectives.masked.masked_objective import MaskedPixels, Reconstruction
from ichformer.settings import as_path, fit
from ichformer.training.runs.portable import StoredType
from ichformer.training.runs.pretrained_run import PretrainedRun
from ichformer.workflows.exports.export_run import export_pretraining
from ichformer.workflows.opened.trained_model import TrainedModel


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PretrainedModel(TrainedModel):
    """A pretraining, opened for use; it has no labels, so it predicts, explains and evaluates nothing.

    Example:
      >>> import ichformer as ich
      >>> run = ich.train("store", model="slice_vit_nano", objective="mae", out="runs/mae", progress=False)
      >>> isinstance(run, ich.PretrainedModel), run.labels
      (True, ())
      >>> volume = ich.read_volume("scan/")
      >>> run.features(volume).ndim
      1
      >>> run.reconstruct(volume).pixels.shape[0] == len(volume.hu)
      True

    Attributes:
      run: its parameters, its settings and its folder.
    """

    run: PretrainedRun  # type: ignore[assignment]  # which has no scores

    def __repr__(self) -> str:
        """Two lines: the model, and what it was trained for."""
        return (
            f"PretrainedModel: {one_line(self.run.name)}, {self.run.step} steps, {one_line(self.run.path)}\n"
            f"        objective {one_line(self.run.config.objective.name)}; fine-tune it with init_from"
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def targets(self) -> tuple[str, ...]:
        """None."""
        return ()

    def features(self, volume: Volume) -> Float32[np.ndarray, " d"]:
        """The encoder's features of a scan: the mean over its slices, float32 [D].

        Args:
          volume: as ``read_volume`` gives it. It is prepared as the scans of the pretraining were.

        Returns:
          One vector, whose length D depends on the model.

        Raises:
          InputError: it is no ``Volume`` in HU and LPS (``ct.handed_in``), it was read in another way than the run's
            scans, or the run's scans were prepared by another recipe than this ichformer's.
        """
        return slice_features(self.run.objective, self.run.params, self._prepared(volume)).mean(0)

    def reconstruct(self, volume: Volume, *, seed: int = 0) -> Reconstruction:
        """What the model makes of a scan of which most is hidden.

        Args:
          volume: as for ``features``.
          seed: of what is hidden.

        Returns:
          Three pictures of each slice, float32 [S,H,W,C] with a channel a window, on the grid of the prepared scan:
          what the model saw, what it made of it, and the truth.

        Raises:
          InputError: as ``features``, and where the objective gives no pixels.
        """
        if not isinstance(self.run.objective, MaskedPixels):
            raise InputError(
                f"was trained for {self.run.config.objective.name!r}, which gives no pixels",
                where=self.path,
                fix="take a run of mae, simmim or spark",
            )
        return reconstruct(self.run.objective, self.run.params, self._prepared(volume), seed=seed)

    def predict(self, *_: Any, **__: Any) -> NoReturn:
        """InputError: it gives no labels."""
        self._refuse()

    def explain(self, *_: Any, **__: Any) -> NoReturn:
        """InputError: it gives no labels."""
        self._refuse()

    def evaluate(self, *_: Any, **__: Any) -> NoReturn:
        """InputError: it gives no labels."""
        self._refuse()

    def export(  # type: ignore[override]  # it has no thresholds, so no store
        self, out: str | os.PathLike[str], *, dtype: StoredType = "float16"
    ) -> "PretrainedModel":
        """Writes the pretraining into a new folder to pass on: its settings and its parameters as safetensors, no more.

        Args:
          out: the new folder, which opens as a pretraining and which ``init_from`` takes.
          dtype: of the stored parameters.

        Returns:
          The exported pretraining, opened.

        Raises:
          InputError: the folder holds something, or a parameter is too large for ``dtype``.
        """
        folder = as_path(out, where="out", fix="name a new folder")
        return PretrainedModel(run=export_pretraining(self.run, folder, dtype=fit(StoredType, dtype, where="dtype")))

    def _refuse(self) -> NoReturn:
        raise InputError(
            f"was trained for {self.run.config.objective.name!r} and gives no labels",
            where=self.path,
            fix="train a classifier from it with init_from",
        )
