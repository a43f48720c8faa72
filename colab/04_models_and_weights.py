# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Models and weights
# All families have one contract: windowed slices in, logits of slices and of the scan out.

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
# ## The families

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import ichformer as ich
from ichformer.ct.phantom import SITES, make_phantom
from ichformer.models.registry import registered_models

about = {name: model.about for name, model in registered_models().items() if name.endswith("_nano")}
pd.Series(about, name="what it is").to_frame()

# %% [markdown]
# ## A model is a Flax module
# `example_inputs` says what it takes. Slices that are padding are False in `slice_mask`, and change nothing.

# %%
rows = []
for name in ich.list_models("*_nano"):
    model = ich.create_model(name)
    inputs = ich.example_inputs(model, slices=6, size=64)
    variables = model.init(jax.random.key(0), **inputs)
    outputs = model.apply(variables, **inputs)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables))
    rows.append(
        {
            "model": name,
            "parameters": parameters,
            "slices": outputs.slice_logits.shape,
            "scan": outputs.scan_logits.shape,
        }
    )
pd.DataFrame(rows)

# %% [markdown]
# ## Labels of your own, and a map of lesions

# %%
model = ich.create_model("swin3d_nano", labels=("bleed", "fracture"), channels=5, lesions=True)
inputs = ich.example_inputs(model, slices=4, size=64)
outputs = model.apply(model.init(jax.random.key(0), **inputs), **inputs)
print("scan logits", outputs.scan_logits.shape, "- map of lesions", outputs.lesion_logits.shape)

# %% [markdown]
# ## The weights that come with the package
# They open as a run. The figures on real scans are in the model card.

# %%
run = ich.open_run("default")
print(run)
phantom = make_phantom(7, site=SITES["alder"], subtypes=("subdural",))
print(run.predict(phantom.volume))

# %% [markdown]
# A run can be passed on as a few files: parameters as safetensors, settings, thresholds. No patient and no path is in
# them.

# %%
folder = Path(tempfile.mkdtemp())
passed_on = run.export(folder / "passed-on")
for file in sorted((folder / "passed-on").iterdir()):
    print(f"{file.stat().st_size:>10,}  {file.name}")
again = ich.open_run(folder / "passed-on").predict(phantom.volume)
print("scores of the copy:", {name: round(score, 3) for name, score in again.scan_scores.items()})

# %% [markdown]
# ## A map of what it found

# %%
heat = run.explain(phantom.volume, "any", method="lesions", level="scan")
bloody = int((phantom.mask > 0).sum((1, 2)).argmax())
fig, axes = plt.subplots(1, 3, figsize=(11, 3.8))
for axis, picture, title in zip(
    axes,
    (np.clip(phantom.volume.hu[bloody], 0, 80), phantom.mask[bloody] > 0, heat[bloody]),
    ("scan", "blood", "map"),
    strict=True,
):
    axis.imshow(picture, cmap="gray")
    axis.set_title(title)
    axis.set_axis_off()
