"""A contact sheet of all corruptions and severities on one scan, to look at.

Claim: none; it is there to see whether the corruptions look like what scanners do.
Cost: half a minute, one core.
Command: python experiments/corruption_sheet.py ../shared/data/dcm_qa_ct/GE --out sheet.png
Expected: a row a corruption, columns clean and severity 1 to 5; axial at the slice that severity 5 changes most.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ichformer.ct.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from ichformer.ct.geometry.orientation import slice_normal
from ichformer.ct.geometry.regrid import slice_offsets_mm, slice_origins_mm
from ichformer.ct.io.scans import read_volume
from ichformer.ct.volume import Volume
from ichformer.ct.windows import WINDOWS, apply_windows
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.recipe import prepare_volume


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plane", choices=["axial", "sagittal"], default="axial")
    parser.add_argument(
        "--size", type=int, default=256, help="prepare to so many pixels of 256 mm; 0 for the scan as it is"
    )
    parser.add_argument("--tile", type=int, default=220)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(CORRUPTIONS))
    told = parser.parse_args()
    volume = read_volume(told.scan)
    if told.size:
        volume = prepare_volume(volume, PrepareConfig(size=told.size, field_of_view_mm=256.0))
    sheet = Image.new("L", ((len(SEVERITIES) + 1) * told.tile, len(told.only) * told.tile))
    draw = ImageDraw.Draw(sheet)
    for row, name in enumerate(told.only):
        worse = [corrupt(volume, name, severity, seed=told.seed).volume for severity in SEVERITIES]
        height_mm = most_changed_mm(volume, worse[-1])
        for column, scan in enumerate([volume, *worse]):
            picture = axial(scan, height_mm) if told.plane == "axial" else sagittal(scan)
            grey = np.rint(apply_windows(picture, (WINDOWS["brain"],))[..., 0] * 255).astype(np.uint8)
            at = column * told.tile, row * told.tile
            sheet.paste(Image.fromarray(grey).resize((told.tile - 2, told.tile - 2)), at)
            said = (
                name if not column else f"{column}: {CORRUPTIONS[name].levels[column - 1]:g} {CORRUPTIONS[name].unit}"
            )
            draw.text((at[0] + 4, at[1] + 4), said, fill=200)
    sheet.save(told.out)
    print(told.out)


def most_changed_mm(clean: Volume, worst: Volume) -> float:
    """Height in the patient, along the slices' normal; the middle where slices do not correspond."""
    heights_mm = heights(clean)
    if clean.hu.shape != worst.hu.shape:
        return float(heights_mm[len(heights_mm) // 2])
    inner = slice(len(heights_mm) // 4, -len(heights_mm) // 6)
    change = np.abs(clean.hu.astype(np.float32) - worst.hu).clip(0, 200).mean(axis=(1, 2))[inner]
    return float(heights_mm[inner][change.argmax()])


def axial(volume: Volume, height_mm: float) -> np.ndarray:
    return volume.hu[np.abs(heights(volume) - height_mm).argmin()]


def heights(volume: Volume) -> np.ndarray:
    return slice_origins_mm(volume) @ slice_normal(volume.affine)


def sagittal(volume: Volume) -> np.ndarray:
    """The middle plane, head up, as high as its millimetres, on a square."""
    plane = volume.hu[::-1, :, volume.hu.shape[2] // 2]
    high = round(np.ptp(slice_offsets_mm(volume)) / volume.spacing_mm[1])
    stretched = plane[np.linspace(0, len(plane) - 1, max(high, 1)).round().astype(int)]
    square = np.full((max(stretched.shape),) * 2, -1024, np.int16)
    square[: stretched.shape[0], : stretched.shape[1]] = stretched
    return square


if __name__ == "__main__":
    main()
