# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # ichformer in five minutes
# A scan is scored by the weights that come with the package, then a small model is trained, evaluated and explained.

# %% [markdown]
# The first cell installs ichformer where it is missing, as on Colab, and says what the notebook runs on. It takes a
# CPU, a GPU or a TPU. Research use only.

# %%
SOURCE = "ichformer"  # what pip installs; or git+https:// and the address of a repository

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys

if importlib.util.find_spec("ichformer") is None:
    extra = "tpu" if os.environ.get("TPU_WORKER_ID") else "parquet"
    if shutil.which("nvidia-smi"):
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True
        )
        extra = "cuda13" if int(asked.stdout.split(".")[0]) >= 580 else "cuda12"
    name, at, address = SOURCE.rpartition("git+")
    wanted = f"ichformer[{extra}] @ {at}{address}" if at else f"{SOURCE}[{extra}]"
    loaded = {each: importlib.metadata.version(each) for each in ("numpy", "pandas", "jax") if each in sys.modules}
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", wanted], check=True)
    if any(importlib.metadata.version(each) != version for each, version in loaded.items()):
        print("A package that was loaded is another one now. The notebook restarts: run it again from the top.")
        os.kill(os.getpid(), 9)

import jax

for each in ("ichformer", "jax", "numpy", "pandas"):
    print(each, importlib.metadata.version(each))
print("Python", sys.version.split()[0], "on", *jax.devices())

# %% [markdown]
# ## A scan
# This one is synthetic, so that nothing has to be loaded. `read_volume` reads DICOM, NIfTI and pictures alike. The
# distances of slices come from the positions in the headers, and the audit says what was unusual about the scan.

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
studies = pd.read_csv(cohort / "studies.csv")
scan = cohort / studies[studies["any"] == 1]["path"].iloc[0]
volume = ich.read_volume(scan)
print(volume, *volume.audit.notes, sep="\n")
contact_sheet(volume, "brain", tile_px=128)

# %% [markdown]
# ## Scores and a page
# `default` stands for the weights that come with the package. They have seen synthetic scans alone. The page has a
# viewer: scroll through the slices with the wheel or the arrow keys.

# %%
result = ich.predict(scan, out=folder / "out")
print(result.table.filter(like="score_").T)
ich.show_page(result.series[0].folder)

# %% [markdown]
# ## A model of your own
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
# Twenty steps show how it is done. They are too few to learn anything.

# %%
run = ich.train(store, model="slice_vit_nano", out=folder / "run", steps=20, data={"num_slices": 8})
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
axes[1].imshow(heat[middle], cmap="RdBu_r", vmin=-1, vmax=1)
for axis in axes:
    axis.set_axis_off()
