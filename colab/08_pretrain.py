# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Pretrain without labels
# A masked autoencoder learns from scans alone. Simple classifiers on its frozen features say whether it learns
# anything, and a classifier starts from it.

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
# ## Scans

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import ichformer as ich
from ichformer.testing import tiny_cohort

folder = Path(tempfile.mkdtemp())
cohort = tiny_cohort(folder / "cohort", scans=48)
store = ich.prepare(
    "phantom",
    source=cohort,
    out=folder / "store",
    fractions={"train": 0.5, "val": 0.25, "test": 0.25},
    config={"size": 64},
    workers=1,
)

# %% [markdown]
# ## Pretrain
# Three quarters of the patches with tissue are hidden, and the network paints them. Other objectives: `simmim`,
# `jepa`, `spark`, `dino` and `contrastive`. `probe_every` reads "any" from the features while the training runs.

# %%
STEPS = 60  # a look; 1000 and more teach something
pretrained = ich.train(
    store,
    model="slice_vit_nano",
    objective={"name": "mae", "normalise_targets": False},
    out=folder / "pretrained",
    steps=STEPS,
    probe_every=STEPS // 2,
    optim={"learning_rate": 2e-3},
    data={"num_slices": 4, "batch_size": 8},
)
print(pretrained)

# %% [markdown]
# ## What the features tell
# A closed-form ridge classifier on frozen features, with 25 % and with all of the labelled patients.

# %%
print(ich.probe(pretrained, store, label="any", fractions=(0.25, 1.0), draws=2, progress=False))
features = ich.embed(pretrained, store, split="test", progress=False)
features.iloc[:3, :8]

# %% [markdown]
# ## A classifier that starts from it

# %%
run = ich.train(
    store,
    model="slice_vit_nano",
    out=folder / "tuned",
    steps=20,
    init_from=str(folder / "pretrained"),
    data={"num_slices": 8, "batch_size": 8},
)
print(run)

# %% [markdown]
# ## What it painted

# %%
studies = pd.read_csv(cohort / "studies.csv")
painted = pretrained.reconstruct(ich.read_volume(cohort / studies["path"].iloc[0]))
middle = len(painted.truth) // 2
fig, axes = plt.subplots(1, 3, figsize=(10, 3.6))
for axis, picture, title in zip(
    axes,
    (painted.truth, painted.seen, painted.pixels),
    ("scan", "what is shown", "what it paints"),
    strict=True,
):
    axis.imshow(np.asarray(picture)[middle, ..., 0], cmap="gray", vmin=0, vmax=1)
    axis.set_title(title)
    axis.set_axis_off()
