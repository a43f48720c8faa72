# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Into the reading room
# A folder of studies is scored, the most urgent come first, and DICOM objects go back to an archive. Research use
# only: not for diagnosis.

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
# ## A folder that scans arrive in

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pydicom

import ichformer as ich
from ichformer.testing import tiny_cohort
from ichformer.triage.room import ReadingRoom
from ichformer.triage.simulate import simulate_triage
from ichformer.triage.text import format_simulation
from ichformer.workflows.write_worklist import write_worklist

folder = Path(tempfile.mkdtemp())
cohort = tiny_cohort(folder / "arrived", scans=6)

# %% [markdown]
# ## Score what is new
# Called again, it leaves out what is done: this is the loop of a gateway. A node that speaks DICOM itself is
# `ichformer serve`; see `docs/reading-room.md`.

# %%
result = ich.predict(cohort / "dicom", out=folder / "out", csv=folder / "out" / "scores.csv", skip_existing=True)
pd.read_csv(folder / "out" / "scores.csv").filter(regex="number|key|any|not_scored").head()

# %%
again = ich.predict(cohort / "dicom", out=folder / "out", csv=folder / "out" / "scores.csv", skip_existing=True)
print(len(again.series), "series, none of them scored twice")

# %% [markdown]
# ## Results for the archive
# `dicom=True` writes a structured report after TID 1500, segmentations, a map, key images and a presentation state.
# They need the extra `clinic`.

# %%
if importlib.util.find_spec("highdicom"):
    one = ich.predict(next(iter(sorted(cohort.rglob("*.dcm")))).parent, out=folder / "dicom", dicom=True)
    for file in sorted(one.series[0].folder.rglob("*.dcm")):
        header = pydicom.dcmread(file, stop_before_pixels=True)
        print(f"{file.name:<28}{header.SOPClassUID.name}")

# %% [markdown]
# ## The most urgent first
# Nothing is removed from the list. What could not be scored stands in it, too.

# %%
write_worklist(folder / "out")
ich.show_page(folder / "out" / "worklist.html", height_px=500)

# %% [markdown]
# ## What it would change
# A queue with and without triage: minutes until a study with a bleed is read.

# %%
room = ReadingRoom(studies_per_hour=5, reading_minutes=9, prevalence=0.1, sensitivity=0.9, specificity=0.8)
print(format_simulation(simulate_triage(room, days=20, replications=5)))

# %%
scans = pd.read_csv(folder / "out" / "scores.csv")
fig, axis = plt.subplots(figsize=(6, 3))
axis.bar(range(len(scans)), sorted(scans["score_any"], reverse=True))
axis.set(xlabel="place in the list", ylabel='score of "any"')
