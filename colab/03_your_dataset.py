# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own scans and labels
# A folder of NIfTI files and a CSV become a store, a trained run and its figures.

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
# ## A folder and a table
# Here both are made from synthetic scans. Yours can be DICOM folders or NIfTI files, nested as you like. In the table
# only `path` is needed. `patient` keeps the scans of a patient together, and unknown labels stay empty.

# %%
import tempfile
from pathlib import Path

import pandas as pd

import ichformer as ich
from ichformer.ct.nifti_out import nifti_bytes
from ichformer.evaluation.summary import format_summary
from ichformer.testing import tiny_cohort

folder = Path(tempfile.mkdtemp())
cohort = tiny_cohort(folder / "cohort", scans=24)
scans = folder / "scans"
scans.mkdir()
rows = []
for number, study in enumerate(pd.read_csv(cohort / "studies.csv").to_dict("records")):
    volume = ich.read_volume(cohort / study["path"])
    (scans / f"scan{number}.nii.gz").write_bytes(nifti_bytes(volume.hu, volume.affine))
    labels = {name: study[name] for name in ("any", "subdural")}
    rows.append({"path": f"scan{number}.nii.gz", "patient": f"p{number // 2}", "site": "AB"[number // 12], **labels})
pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
pd.DataFrame(rows).head()

# %% [markdown]
# ## Prepare
# Patients are divided, never scans. A second call with the same arguments does only what is missing.

# %%
store = ich.prepare(
    "folder",
    source=scans,
    labels=folder / "labels.csv",
    out=folder / "store",
    fractions={"train": 0.5, "val": 0.25, "test": 0.25},
    config={"size": 64},
    workers=1,
)
print((folder / "store" / "card.md").read_text()[:1500])

# %% [markdown]
# ## What stands in the way is said
# A patient in both training and test, for example.

# %%
leaking = pd.DataFrame(rows).assign(split=["train" if number % 2 else "test" for number in range(len(rows))])
leaking.to_csv(folder / "leaking.csv", index=False)
try:
    bad = ich.prepare(
        "folder", source=scans, labels=folder / "leaking.csv", out=folder / "bad", config={"size": 64}, workers=1
    )
    ich.train(bad, out=folder / "bad-run", steps=1)
except ich.InputError as error:
    print(error)

# %% [markdown]
# ## Train
# Labels that are unknown are left out of the loss. The training says which labels it knows.

# %%
run = ich.train(
    store, model="cnn2d_nano", out=folder / "run", steps=30, evaluate_every=10, data={"num_slices": 8, "batch_size": 4}
)

# %% [markdown]
# ## Evaluate
# By slice where slices are labelled, by scan, with intervals over patients. Few positives give wide intervals.

# %%
print(format_summary(run.evaluate(store, out=folder / "evaluation")))

# %%
from IPython.display import Image, display

display(Image(filename=str(folder / "run" / "curves.png")))
