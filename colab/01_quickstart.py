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
import pandas as pd

import ichformer as ich
from ichformer.ct.contact_sheet import contact_sheet
from ichformer.evaluation.summary import format_summary
from ichformer.testing import tiny_cohort

folder = Path(tempfile.mkdtemp())
cohort = tiny_cohort(folder / "cohort", scans=24)

# %% [markdown]
# ## Prepare
# `prepare` reads the scans, divides the patients into train, val and test, and writes a store to train on. It checks
# that no patient is both in training and in test.

# %%
store = ich.prepare(
    "phantom",
    source=cohort,
    out=folder / "store",
    fractions={"train": 0.5, "val": 0.25, "test": 0.25},
    config={"size": 64},
    workers=1,
)
store.index[["site", "patient", "split", "epidural", "subdural", "any"]].head()

# %% [markdown]
# ## One scan
# The distances of slices come from the positions in the headers, never from the tilt tag. The audit says what was
# unusual about the scan.

# %%
studies = pd.read_csv(cohort / "studies.csv")
volume = ich.read_volume(cohort / studies[studies["any"] == 1]["path"].iloc[0])
print(volume, *volume.audit.notes, sep="\n")
contact_sheet(volume, "brain", tile_px=128)

# %% [markdown]
# ## Train and evaluate
# Twenty steps show how it is done. They are too few to learn anything.

# %%
run = ich.train(store, model="slice_vit_nano", out=folder / "run", steps=20, data={"num_slices": 8}, progress=False)
print(format_summary(run.evaluate(store, out=folder / "evaluation")))

# %% [markdown]
# ## A heat map
# It shows which parts of a slice raised the score.

# %%
print(run.predict(volume))
heat = run.explain(volume, "any")
middle = len(heat) // 2
fig, axes = plt.subplots(1, 2, figsize=(8, 4))
axes[0].imshow(np.clip(volume.hu[middle], 0, 80), cmap="gray")
axes[1].imshow(heat[middle], cmap="inferno", vmin=0, vmax=1)
for axis in axes:
    axis.set_axis_off()
