"""A model whose scores are known, opened as a run, and a head for it to look at."""

from pathlib import Path

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from ichformer.ct.windows import WINDOWS
from ichformer.models.contract import CAM_LAYER, Prediction
from ichformer.objectives.classification import Classification
from ichformer.pipeline.preparation.config import RECIPE_VERSION, PrepareConfig
from ichformer.training.config import DataConfig, TrainConfig
from ichformer.training.runs.contract import CONTRACT_FACT, Contract, Stage
from ichformer.training.runs.run import Run
from tests.ct.builders import tilted, write_series

PATCH, SIZE = 8, 96
HOTTEST = (6, 58, 88)  # slice, row, column


class BloodCounter(nn.Module):
    """Its logits are known: how many patches hold blood, against one and a half; "epidural" is always unlikely."""

    @nn.compact
    def __call__(self, x: Array, slice_mask: Array, spacing_mm: Array, train: bool) -> Prediction:
        b, s, h, w, _ = x.shape
        # The brain window is at 1 from 80 HU on: bone is 1, blood of 70 HU is 0.875, brain of 30 HU is 0.375.
        blood = (jnp.abs(x[..., 0] - 0.875) < 0.06).astype(jnp.float32)
        grid = blood.reshape(b, s, h // PATCH, PATCH, w // PATCH, PATCH).mean(axis=(3, 5))[..., None]
        grid = self.perturb(CAM_LAYER, grid)
        logit = 4 * (grid.sum(axis=(2, 3, 4)) - 1.5)
        slice_logits = jnp.stack([jnp.full_like(logit, -5.0), *[logit] * 5], axis=-1)
        scan_logits = jnp.where(slice_mask[..., None], slice_logits, -jnp.inf).max(axis=1)
        return Prediction(
            slice_logits=slice_logits, scan_logits=scan_logits, features={CAM_LAYER: grid, "slices": slice_logits}
        )


def open_counter(path: Path, monkeypatch: pytest.MonkeyPatch, **facts: object) -> Run:
    """A run of the counter with these facts, opened whatever path is named."""
    path.mkdir(parents=True)
    made = Run(
        path=path,
        config=TrainConfig(data=DataConfig(store="stores/phantom")),
        prepare=PrepareConfig(size=SIZE, field_of_view_mm=96.0),
        objective=Classification(model=BloodCounter(), windows=(WINDOWS["brain"],)),
        params={},
        step=7,
        facts={
            "commit": "abc123",
            "versions": {"ichformer": "0.1.0"},
            CONTRACT_FACT: Contract(stages=(Stage(objective="classification", recipe=RECIPE_VERSION),)).to_json(),
            **facts,
        },
    )
    monkeypatch.setattr(Run, "open", classmethod(lambda cls, path, given=None: made))
    return made


def write_head(folder: Path, *, degrees: float = 18.0, step_mm: float = 5.0, **tags: object) -> Path:
    """A small head of 11 slices, off centre, with a bleed in slices 4 to 8 that is widest in slice 6."""
    rows, columns = np.indices((150, 160))
    inside = ((rows - 70) / 60) ** 2 + ((columns - 75) / 68) ** 2
    hu = np.full((11, 150, 160), -1000, np.int16)
    hu[:, inside < 1] = 1000
    hu[:, inside < 0.8] = 30
    for s, radius in enumerate((0, 0, 0, 0, 7, 10, 14, 10, 7, 0, 0)):
        hu[s, np.hypot(rows - HOTTEST[1], columns - HOTTEST[2]) < radius] = 70
    heights_mm = [step_mm * s for s in range(11)]
    tags = {"PixelSpacing": [0.5, 0.4], "orientation": tilted(degrees)} | tags
    write_series(folder, hu + 1024, heights_mm, **tags)
    return folder
