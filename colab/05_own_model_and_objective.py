# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A model, an encoder and an objective of your own
# Each is a class or a function with a decorator. Its name then works everywhere, also on the command line with
# `ichformer --plugin MODULE`.

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
# ## Scans to train on

# %%
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import matplotlib.pyplot as plt

import ichformer as ich
from ichformer.evaluation.summary import format_summary
from ichformer.reporting.training_curves import read_metrics
from ichformer.testing import tiny_cohort

folder = Path(tempfile.mkdtemp())
cohort = tiny_cohort(folder / "cohort", scans=24)
store = ich.prepare(
    "phantom",
    source=cohort,
    out=folder / "store",
    fractions={"train": 0.5, "val": 0.25, "test": 0.25},
    config={"size": 64},
    workers=1,
)

# %% [markdown]
# ## A model
# It takes windowed slices `[B,S,H,W,C]`, the mask of slices `[B,S]` and the spacing `[B,3]` in mm, and gives logits.


# %%
@ich.register_model("brightness", about="the mean of each slice, and a linear layer")
class Brightness(nn.Module):
    labels: tuple[str, ...] = ich.LABELS

    @nn.compact
    def __call__(self, x, slice_mask, spacing_mm, train):
        slices = x.mean((2, 3))  # [B,S,C]
        logits = nn.Dense(len(self.labels))(slices)
        hidden = jnp.where(slice_mask[..., None], logits, -jnp.inf)
        return ich.Prediction(slice_logits=logits, scan_logits=hidden.max(1), features={"slices": slices})


run = ich.train(store, model="brightness", out=folder / "brightness", steps=20, data={"num_slices": 8})
print(run)

# %% [markdown]
# ## An encoder
# The families `hybrid`, `cnn2d` and `cnn_gru` are built on one.


# %%
@ich.register_encoder("squares")
class Squares(nn.Module):
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, *, train):
        return nn.gelu(nn.Conv(32, (8, 8), (8, 8), dtype=self.dtype)(x))  # [N,H/8,W/8,32]


settings = {"name": "hybrid_nano", "encoder": "squares"}
run = ich.train(store, model=settings, out=folder / "squares", steps=20, data={"num_slices": 8})

# %% [markdown]
# ## An objective
# Here the loss of scans counts twice.


# %%
@dataclass(frozen=True, kw_only=True)
class ScansCountTwice(ich.Classification):
    def loss(self, params, batch, rng, train):
        total, weight, metrics = super().loss(params, batch, rng, train)
        return total + metrics["scan_loss"][0], weight, metrics


@ich.register_objective("scans_count_twice")
def build(model, settings, label_set):
    return ScansCountTwice(model=model, windows=settings.display_windows, neighbours=settings.neighbours)


run = ich.train(
    store,
    model="cnn2d_nano",
    objective="scans_count_twice",
    out=folder / "twice",
    steps=20,
    log_every=2,
    data={"num_slices": 8},
)
print(format_summary(run.evaluate(store, out=folder / "evaluation")))

# %% [markdown]
# A model of your own is explained, exported and served like any other one. See also `docs/extending.md`.

# %%
metrics = read_metrics(folder / "twice")
fig, axis = plt.subplots(figsize=(5, 3))
axis.plot([each["step"] for each in metrics], [each["loss"] for each in metrics])
axis.set(xlabel="step", ylabel="training loss")
