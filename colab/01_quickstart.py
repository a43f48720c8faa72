# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # ichformer in five minutes
# Synthetic scans, a contact sheet, a small model, its figures and a heat map. Research use only.
#
# On Colab, install it first: `%pip install ichformer`.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from ichformer.ct.contact_sheet import contact_sheet
from ichformer.ct.io.scans import read_volume
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.testing import tiny_cohort
from ichformer.workflows.prepare_cohort import format_prepared, prepare

folder = Path(tempfile.mkdtemp())
cohort = tiny_cohort(folder / "cohort", scans=24)

# %% [markdown]
# ## Prepare
# `prepare` reads the scans, divides the patients into train, val and test, and writes a store to train on. It checks
# that no patient is both in training and in test.

# %%
prepared = prepare(
    "phantom",
    source=cohort,
    out=folder / "store",
    fractions={"train": 0.5, "val": 0.25, "test": 0.25},
    config=PrepareConfig(size=64),
    workers=1,
    progress=False,
)
print(format_prepared(prepared))
prepared.index[["site", "patient", "split", "epidural", "subdural", "any"]].head()

# %% [markdown]
# ## One scan
# The distances of slices come from the positions in the headers, never from the tilt tag. The audit says what was
# unusual about the scan.

# %%
bleed = prepared.index[prepared.index["any"] == 1].iloc[0]
volume = read_volume(Path(bleed["path"]))
print(volume.spacing_mm, *volume.audit.notes, sep="\n")
contact_sheet(volume, "brain", tile_px=128)

# %% [markdown]
# ## Train and evaluate
# Twenty steps show how it is done. They are too few to learn anything.

# %%
from ichformer.evaluation.summary import format_summary
from ichformer.training.config import DataConfig, ModelConfig, TrainConfig
from ichformer.workflows.evaluate_run import evaluate
from ichformer.workflows.train_run import train_and_freeze

config = TrainConfig(
    data=DataConfig(store=str(prepared.store.path), num_slices=8), model=ModelConfig(name="slice_vit_nano"), steps=20
)
train_and_freeze(config, folder / "run", progress=False)
print(format_summary(evaluate(folder / "run", prepared.store.path, folder / "evaluation", replicates=200)))

# %% [markdown]
# ## A heat map
# It shows which parts of a slice raised the score.

# %%
from ichformer.inference.scoring import heat_map
from ichformer.pipeline.preparation.recipe import prepare_volume
from ichformer.training.runs.run import Run

run = Run.open(folder / "run")
heat = heat_map(run.objective, run.variables, prepare_volume(volume, run.prepare), volume, label="any", level="slice")
middle = len(heat) // 2
fig, axes = plt.subplots(1, 2, figsize=(8, 4))
axes[0].imshow(np.clip(volume.hu[middle], 0, 80), cmap="gray")
axes[1].imshow(heat[middle], cmap="inferno", vmin=0, vmax=1)
for axis in axes:
    axis.set_axis_off()
