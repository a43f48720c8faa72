# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which explanation is true?
# A synthetic head is made twice, with a bleed and without it. So it is known where the blood is and what healthy tissue
# would be in its place, and a heat map can be put to the test.

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

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import ichformer as ich
from ichformer.ct.phantom import SITES, make_phantom
from ichformer.explanations.faithfulness.localisation import mass_accuracy

site = SITES["alder"]
bleeding = make_phantom(33, site=site, subtypes=("intraparenchymal",))
healthy = make_phantom(33, site=site)
volume, blood = bleeding.volume, bleeding.mask > 0
print(f"{bleeding.blood_ml.sum():.1f} ml of blood")

# %% [markdown]
# ## What the model says
# `default` stands for the weights that come with the package. They have seen synthetic scans alone.

# %%
run = ich.open_run("default")
for name, scan in {"with the bleed": volume, "without": healthy.volume}.items():
    print(f"{name}: {run.predict(scan).scan_scores['any']:.3f}")

# %% [markdown]
# ## Where the score comes from
# Each method gives a map on the voxels of the scan, with 1 at its largest value. The lesion map is no explanation of
# the score: it is what the model says of each voxel. The last features of this model have 4 x 4 cells in a slice. An
# earlier layer with a finer grid is named behind an `@`.

# %%
methods = ("hires_cam", "hires_cam@encoder/stage0_block1", "input_x_gradient", "lesions")
maps = {method: run.explain(volume, "any", method=method, level="scan") for method in methods}
noise = np.random.default_rng(0).random(volume.hu.shape).astype(np.float32)
maps["noise"] = np.where(volume.hu > -300, noise, 0)
slice_with_most = int(blood.sum((1, 2)).argmax())

fig, axes = plt.subplots(1, 1 + len(maps), figsize=(3 * (1 + len(maps)), 3.4))
for axis, (name, heat) in zip(axes, {"the blood": blood.astype(np.float32), **maps}.items(), strict=True):
    axis.imshow(np.clip(volume.hu[slice_with_most], 0, 80), cmap="gray")
    heat = np.maximum(heat[slice_with_most], 0)
    heat = heat / max(heat.max(), 1e-9)  # on a scale of its own: what counts here is the place
    axis.imshow(heat, cmap="inferno", alpha=np.sqrt(heat), vmin=0, vmax=1)
    axis.set_title(name.replace("@", "\n@ "), fontsize=8)
    axis.set_axis_off()

# %% [markdown]
# ## Does it lie in the blood?

# %%
rows = []
for name, heat in maps.items():
    at = np.unravel_index(heat.argmax(), heat.shape)
    rows.append({"method": name, "highest voxel in the blood": bool(blood[at]), "share": mass_accuracy(heat, blood)})
pd.DataFrame(rows).round(2)

# %% [markdown]
# ## Does the score come from there?
# The voxels that a map names first are replaced by those of the same head without its bleed. Each scan on the way is
# one that could be. The sooner the score falls, the better the map. Noise is the control: what is no better tells
# nothing.

# %%
shares = np.array([0.0, 0.002, 0.005, 0.01, 0.03, 0.1, 1.0])
tissue = volume.hu > -300
curves = {}
for name, heat in maps.items():
    order = np.argsort(-np.where(tissue, heat, -np.inf), axis=None, kind="stable")
    scores = []
    for share in shares:
        hu = volume.hu.copy()
        gone = order[: round(share * tissue.sum())]
        hu.flat[gone] = healthy.volume.hu.flat[gone]
        scores.append(run.predict(replace(volume, hu=hu)).scan_scores["any"])
    curves[name] = scores
pd.DataFrame(curves, index=pd.Index(shares, name="share replaced")).round(3)

# %% [markdown]
# One scan proves little. `ichformer check-explanations` does this over many scans, with intervals over patients, and
# reports then draw only what was found to be better than noise and edges.

# %%
fig, axis = plt.subplots(figsize=(6, 4))
for name, scores in curves.items():
    axis.plot(np.maximum(shares, 1e-3), scores, marker="o", label=name, linestyle="--" if name == "noise" else "-")
axis.set_xscale("log")
axis.set_xlabel("share of the voxels that were replaced")
axis.set_ylabel('score of "any"')
axis.legend()
