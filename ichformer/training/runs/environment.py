"""What a training ran on: the commit, the versions of libraries and the hardware, for the record of a run."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax


def environment() -> dict[str, Any]:
    """Commit, versions and hardware, for the record; nothing that names a person or a machine."""
    return {
        "commit": _commit(),
        "versions": {"python": platform.python_version()}
        | {
            name: version(name) for name in ("ichformer", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain")
        },
        "hardware": {
            "devices": [device.device_kind for device in jax.devices()],
            "processor": platform.machine(),
            "cores": os.cpu_count(),
        },
    }


def _commit() -> str:
    """The commit of the source tree that runs, with "+changes" where it has any; "" for an installed package."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return ""
    try:
        text = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty=+changes", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return text.strip()
