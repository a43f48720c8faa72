"""The folder that holds the maps of a scan: voxels, pictures, and what each map is; nothing tells whose scan it is."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ichformer.ct.nifti_out import nifti_bytes
from ichformer.ct.volume import Volume
from ichformer.explanations.heat_map import ScanMap
from ichformer.explanations.registry import Grid, find_method
from ichformer.files.sets import write_set
from ichformer.reporting.explanation.sheet import explanation_sheet

FACTS_NAME = "explanation.json"

_UNITS: dict[Grid, str] = {"features": "logits a cell", "input": "logits a voxel", "lesions": "of probability"}


def write_explanations(volume: Volume, maps: Sequence[ScanMap], folder: Path, *, model: str) -> dict[str, Any]:
    """Write a NIfTI file and a picture for each map of a scan, and ``explanation.json``; all of them or none.

    Args:
      volume: the scan as it was read.
      maps: over its voxels, of different methods.
      folder: made where it is not there.
      model: what it is called.

    Returns:
      What ``explanation.json`` holds.

    Raises:
      InputError: the folder cannot be written.
    """
    files: dict[str, bytes] = {}
    told = []
    for found in maps:
        method = find_method(found.method)
        name = f"{found.method.replace('@', '-').replace('/', '-')}-{found.label}-{found.level}"
        unit = _UNITS[method.grid]
        picture = io.BytesIO()
        explanation_sheet(volume, found, about=method.about, is_signed=method.signed, unit=unit).save(picture, "PNG")
        files |= {f"{name}.nii.gz": nifti_bytes(found.values, volume.affine), f"{name}.png": picture.getvalue()}
        told.append(
            {
                "method": found.method,
                "about": method.about,
                "label": found.label,
                "level": found.level,
                "signed": method.signed,
                "cells": {"of": method.grid, "rows": found.grid[0], "columns": found.grid[1]},
                "largest": found.largest,
                "unit": unit,
                "completeness_error": found.completeness_error,
                "voxels": f"{name}.nii.gz",
                "picture": f"{name}.png",
            }
        )
    facts = {
        "notice": "Research use only. Not for diagnosis.",
        "model": model,
        "slices_are_even": bool(np.ptp(volume.audit.steps_mm or (0.0,)) < 1e-3),
        "explanations": told,
    }
    files[FACTS_NAME] = json.dumps(facts, indent=2).encode()
    write_set(files, folder, what="explanation")
    return facts
