# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Many devices
# The same training on one device and on eight, and what happens when it is killed. Eight devices are imitated on a
# CPU; on a TPU or several GPUs the real ones are taken.

# %% [markdown]
# This has to be set before JAX starts.

# %%
import os

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

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
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

import ichformer as ich
from ichformer.reporting.training_curves import read_metrics
from ichformer.testing import tiny_cohort

folder = Path(tempfile.mkdtemp())
cohort = tiny_cohort(folder / "cohort", scans=24)
store = ich.prepare(
    "phantom", source=cohort, out=folder / "store", fractions={"train": 0.7, "val": 0.3}, config={"size": 48}, workers=1
)

# %% [markdown]
# ## Layouts
# Every batch and every random number follows from the seed and the step. So the layout changes the speed and the
# memory, and the loss only by rounding.

# %%
devices = jax.device_count()
layouts = {
    "one device": {"data": 1},
    f"batch over {devices}": {},
    "parameters over two, too": {"fsdp": min(2, devices)},
    "one device, two parts": {"data": 1, "accumulate": 2},
}
losses = {}
for name, parallel in layouts.items():
    run = folder / name.replace(" ", "-")
    ich.train(
        store,
        model="cnn2d_nano",
        out=run,
        steps=8,
        log_every=1,
        data={"num_slices": 4, "batch_size": 8},
        parallel=parallel,
        progress=False,
    )
    losses[name] = {each["step"]: each["loss"] for each in read_metrics(run)}
pd.DataFrame(losses).round(5)

# %% [markdown]
# ## Interrupted and resumed
# A training is killed after its checkpoint of step 4. The same call goes on from there, and ends as a training does
# that nothing disturbed.

# %%
settings = {
    "model": "cnn2d_nano",
    "out": folder / "resumed",
    "log_every": 1,
    "checkpoint_every": 4,
    "data": {"num_slices": 4, "batch_size": 8},
    "parallel": {"data": 1},
    "optim": {"schedule": "wsd"},
    "progress": False,
}
code = f"""
import os, signal, threading, time
import ichformer as ich
from pathlib import Path

def kill():
    while not any(Path({str(folder / "resumed" / "checkpoints")!r}).glob("4/*")):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=kill, daemon=True).start()
ich.train({str(folder / "store")!r}, **{settings | {"out": str(folder / "resumed")}!r}, steps=8)
"""
killed = subprocess.run([sys.executable, "-c", code], capture_output=True)
print("exit code of the killed training:", killed.returncode)
ich.train(store, **settings, steps=8)
ich.train(store, **settings | {"out": folder / "whole"}, steps=8)
pd.DataFrame(
    {name: {each["step"]: each["loss"] for each in read_metrics(folder / name)} for name in ("resumed", "whole")}
)

# %% [markdown]
# ## On real machines
# `experiments/launch/` has Slurm, TPU VMs and GKE. On each host the command is the same:
#
#     ichformer train --recipe pretrain-mae --data.store STORE --out RUN

# %%
fig, axis = plt.subplots(figsize=(6, 3.5))
for name, by_step in losses.items():
    axis.plot(list(by_step), list(by_step.values()), marker="o", label=name, alpha=0.6)
axis.set(xlabel="step", ylabel="training loss")
axis.legend()
