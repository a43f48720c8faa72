# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Evaluate as a reviewer would
# From a table of predictions of any model: intervals over patients, thresholds that were fixed before, calibration,
# subgroups, and a fair comparison of two models.

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
# ## Two tables of predictions
# A row for each scan: the patient, the truth and the score. Both models are made up. The second is a little better and
# wrong where the first is wrong.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import ichformer as ich
from ichformer.evaluation.summary import format_summary

rng = np.random.default_rng(3)
scans = 600
patient = rng.integers(0, 450, scans)  # some patients have several scans
site = np.where(patient % 3 == 0, "north", "south")
truth = (rng.random(scans) < 0.3).astype(int)
common = rng.normal(0, 1, scans) + rng.normal(0, 0.7, 450)[patient]  # what makes a scan hard for both


def table(strength: float, seed: int) -> pd.DataFrame:
    own = np.random.default_rng(seed).normal(0, 0.6, scans)
    return pd.DataFrame(
        {
            "site": site,
            "patient": [f"p{one}" for one in patient],
            "series": [f"s{number}" for number in range(scans)],
            "split": np.where(patient % 4 == 0, "val", "test"),
            "any": truth,
            "score_any": 1 / (1 + np.exp(-(strength * truth + common + own - 1))),
        }
    )


first, second = table(1.9, 1), table(2.3, 2)
first.head()

# %% [markdown]
# ## One model
# Scans of one patient are not independent: intervals are over patients. The thresholds are chosen on the split `val`
# and used on `test`.

# %%
folder = Path(tempfile.mkdtemp())
summary = ich.evaluate(first, split="test", calibrate_on=first[first["split"] == "val"], out=folder / "evaluation")
print(format_summary(summary))

# %% [markdown]
# The page has the curves, the calibration, the subgroups and the check-lists of CLAIM and STARD-AI.

# %%
ich.show_page(folder / "evaluation")

# %% [markdown]
# ## Two models on the same scans
# DeLong for AUROC and a bootstrap over patients, McNemar at a threshold, Holm for several labels.

# %%
(comparison,) = ich.compare(first, second, names=("first", "second"), split="test")
print(comparison)

# %% [markdown]
# ## How wide is an interval?
# With 20 positives an AUROC is known to about a tenth. This is why every figure stands with its number of positives.

# %%
widths = {}
for count in (20, 40, 80, 160, 320, 600):
    part = first.sample(count, random_state=0)
    found = ich.evaluate(part.assign(split="test"), split="test")
    auroc = found.levels[0].labels[0].auroc
    widths[int(part["any"].sum())] = (auroc.interval.low, auroc.value, auroc.interval.high)
low, value, high = np.asarray(list(widths.values())).T
fig, axis = plt.subplots(figsize=(6, 3.5))
axis.errorbar(list(widths), value, yerr=[value - low, high - value], fmt="o", capsize=4)
axis.set(xlabel="positive scans", ylabel='AUROC of "any", 95 % interval')
