# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # ichformer in five minutes
# Synthetic scans, a contact sheet, a small model, its figures and where it looked. Research use only.
#
# On Colab, install it first: `%pip install ichformer`.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from ichformer.cohorts.registry import COHORTS
from ichformer.cohorts.splits import split_by_patient
from ichformer.ct.contact_sheet import contact_sheet
from ichformer.ct.io.scans import read_volume
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.prepare import prepare
from ichformer.testing import tiny_cohort

folder = Path(tempfile.mkdtemp())
cohort = tiny_cohort(folder / "cohort", scans=24)
index = COHORTS["phantom"](cohort, cache=folder / "cache")
index[["site", "patient", "epidural", "subdural", "any"]].head()

# %% [markdown]
# ## One scan
# Distances come from the positions in the headers, never from the tilt tag; what was odd is in the audit.

# %%
bleed = index[index["any"] == 1].iloc[0]
volume = read_volume(Path(bleed["path"]))
print(volume.spacing_mm, *volume.audit.notes, sep="\n")
contact_sheet(volume, "brain", tile_px=128)

# %% [markdown]
# ## Prepare, train, evaluate
# Patients are split, not scans. Twenty steps only show the way; they teach nothing yet.

# %%
index = split_by_patient(index, seed=0, fractions={"train": 0.5, "val": 0.25, "test": 0.25})
store = prepare(index, folder / "store", config=PrepareConfig(size=64), workers=1, progress=False)

# %%
from ichformer.evaluation.summary import format_summary
from ichformer.training.config import DataConfig, ModelConfig, TrainConfig
from ichformer.workflows.evaluate_run import evaluate
from ichformer.workflows.train_run import train_and_freeze

config = TrainConfig(
    data=DataConfig(store=str(store.path), num_slices=8), model=ModelConfig(name="slice_vit_nano"), steps=20
)
train_and_freeze(config, folder / "run", progress=False)
print(format_summary(evaluate(folder / "run", store.path, folder / "evaluation", replicates=200)))

# %% [markdown]
# ## Where it looked

# %%
from ichformer.inference.scoring import heat_map
from ichformer.pipeline.preparation.recipe import prepare_volume
from ichformer.training.runs.run import Run

run = Run.open(folder / "run")
prepared = prepare_volume(volume, run.prepare)
heat = heat_map(run.objective, run.variables, prepared, volume, label="any", level="slice")
middle = len(heat) // 2
fig, axes = plt.subplots(1, 2, figsize=(8, 4))
axes[0].imshow(np.clip(volume.hu[middle], 0, 80), cmap="gray")
axes[1].imshow(heat[middle], cmap="inferno", vmin=0, vmax=1)
for axis in axes:
    axis.set_axis_off()
