"""Says of a folder that this package wrote what it is, for messages where another thing is meant."""

from pathlib import Path

_MARKERS = {
    "run": ("config.json", "run.json"),
    "ensemble": ("ensemble.json",),
    "store": ("index.json", "shards"),
}
"""What lies in each kind of folder, and hardly together in any other."""


def folder_kind(path: Path) -> str:
    """Returns "run", "ensemble" or "store" for a folder of that kind, and "" for anything else."""
    return next((kind for kind, names in _MARKERS.items() if all((path / name).exists() for name in names)), "")
