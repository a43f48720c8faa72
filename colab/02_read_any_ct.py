# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Read any head CT
# DICOM in any order and form, NIfTI and pictures become the same thing: a volume in HU with its geometry, and notes on
# what was unusual.

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
# ## Some scans
# Synthetic ones. To read your own on Colab, upload a folder and put its path here.

# %%
import shutil
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import ichformer as ich
from ichformer.ct.inspect import format_inspection, inspect_found
from ichformer.ct.io.scans import find_scans
from ichformer.ct.nifti_out import nifti_bytes
from ichformer.testing import tiny_cohort

folder = Path(tempfile.mkdtemp())
cohort = tiny_cohort(folder / "cohort", scans=2)
print(format_inspection(inspect_found(find_scans(cohort))))

# %% [markdown]
# ## DICOM
# The order of the files plays no part, nor do their names. A folder, a zip or a tar will do.

# %%
series = sorted({file.parent for file in cohort.rglob("*.dcm")})
zipped = shutil.make_archive(str(folder / "scan"), "zip", series[0])
volume, same = ich.read_volume(series[0]), ich.read_volume(zipped)
print(volume)
print("the zip gives the same HU:", np.array_equal(volume.hu, same.hu))

# %% [markdown]
# `hu` is int16 with the axes slices (feet to head), rows (front to back), columns (the patient's right to left).
# `affine` leads from (slice, row, column) to millimetres, so a tilted gantry stays tilted and nothing is resampled.

# %%
print("spacing in mm (z, y, x):", volume.spacing_mm)
print(np.round(volume.affine, 2))
print(*volume.audit.notes, sep="\n")

# %% [markdown]
# ## NIfTI
# Whatever its orientation, the volume is the same. Here the file is written with its axes reversed.

# %%
(folder / "scan.nii.gz").write_bytes(nifti_bytes(volume.hu, volume.affine))
again = ich.read_volume(folder / "scan.nii.gz")
print(
    "the same HU:",
    np.array_equal(volume.hu, again.hu),
    "- the same spacing:",
    np.allclose(volume.spacing_mm, again.spacing_mm),
)

# %% [markdown]
# ## Pictures
# A picture has no HU. The window that its grey values stand for is given, or it is estimated, and the audit says so.

# %%
middle = len(volume.hu) // 2
grey = (np.clip(volume.hu[middle], 0, 80) / 80 * 255).astype(np.uint8)
Image.fromarray(grey).save(folder / "slice.png")
picture = ich.read_volume(folder / "slice.png", window_hu=(0, 80))
print(picture, *picture.audit.notes, sep="\n")

# %% [markdown]
# ## What cannot be read is refused
# In one line that says what is wrong and what to do.

# %%
broken = folder / "broken"
shutil.copytree(series[0], broken)
for file in sorted(broken.iterdir()):
    file.write_bytes(file.read_bytes()[:400])
try:
    ich.read_volume(broken)
except ich.InputError as error:
    print(error)

# %% [markdown]
# ## Windows
# A model sees HU through windows. `WINDOWS` has the usual ones.

# %%
names = ("brain", "subdural", "bone", "stroke")
channels = ich.apply_windows(volume.hu[middle], tuple(ich.WINDOWS[name] for name in names))
fig, axes = plt.subplots(1, len(names), figsize=(12, 3.4))
for axis, name, channel in zip(axes, names, np.moveaxis(channels, -1, 0), strict=True):
    axis.imshow(channel, cmap="gray")
    axis.set_title(name)
    axis.set_axis_off()
