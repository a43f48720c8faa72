"""Reading a NIfTI file as a Volume: in HU, oriented, with an audit of what its header leaves open."""

import gzip
import math
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Float64, Int16

from ichformer.ct.audit import Audit
from ichformer.ct.geometry.orientation import are_square, lps_order, oblique_of, orient_lps, slice_normal, tilt_of
from ichformer.ct.io.archives import file_size, is_file, open_file
from ichformer.ct.io.headless import Headless
from ichformer.ct.io.nifti_affine import read_affine
from ichformer.ct.io.pixels.hounsfield import read_as_signed
from ichformer.ct.limits import MOST_UNPACKED_BYTES, MOST_UNPACKED_RATIO, check_grid
from ichformer.ct.plausibility import check_values
from ichformer.ct.volume import AIR_HU, Volume
from ichformer.errors import InputError, one_line
from ichformer.files.writing import path_text
from ichformer.process.quiet import collected_log

_MOST_DEFLATED = 1032
"""No deflate stream grows more than this (zlib, Technical Details), so a header that claims more lies."""

_THROUGH_PLANE = 1.5
"""Voxels that are longer than this along one axis than along both others were acquired in slices across that axis."""

_MASK_VALUES = 16
_FIX = "export the scan again as int16 HU"


@dataclass(frozen=True, kw_only=True)
class NiftiFile(Headless):
    """One scan in one file."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)


def read_nifti(path: Path | str) -> Volume:
    """Read one head CT from a NIfTI-1 or NIfTI-2 file.

    The affine is the one that ``nifti_affine.read_affine`` believes. The slices' axis is the one that runs along the
    patient; ``Volume.source`` names them ``"<file>#<number>"``, numbered from 1 as the file has them.

    Args:
      path: a NIfTI file, packed by gzip or not, whatever its suffix; it may lie in an archive.

    Raises:
      InputError: no NIfTI file, more or fewer than three axes, cut short, no affine that can be believed, slices that
        are not axial, or values that are no HU: a mask, scaled to 0 to 1, or what ``check_values`` refuses.
    """
    path = Path(path)
    image, affine, notes = _open(path)
    shape = image.shape
    if min(shape) < 2:
        raise InputError(f"has a shape of {list(shape)}, so it is no scan", where=path, fix="name the whole scan")
    grid, rounded, air, clipped, is_wrapped = _read_hu(image, path)
    hu, oriented = orient_lps(grid, affine)
    _check_values(hu, path, is_whole=not rounded)
    normal = slice_normal(oriented)
    row_mm, column_mm = (float(np.linalg.norm(oriented[:3, axis])) for axis in (1, 2))
    slice_mm = float(oriented[:3, 0] @ normal)
    for plane, across_mm, other_mm in (("coronal", row_mm, column_mm), ("sagittal", column_mm, row_mm)):
        if across_mm > _THROUGH_PLANE * max(slice_mm, other_mm):
            raise InputError(
                f"its slices are {plane}, {across_mm:.1f} mm apart, not axial", where=path, fix="name the axial scan"
            )
    if abs(oriented[:3, 1] @ oriented[:3, 2]) > 0.01 * row_mm * column_mm:
        raise InputError("its rows and columns are not perpendicular", where=path, fix="resample it to a regular grid")
    notes += [
        (not np.allclose(affine, oriented), "reoriented", "axes were flipped or exchanged"),
        (rounded, "hu_rounded", "values with fractions were rounded to whole HU"),
        (air > 0, "padding_repaired", f"{air} voxels that were no numbers or below {AIR_HU} HU set to {AIR_HU}"),
        (clipped > 0, "hu_clipped", f"{clipped} voxels above 32767 HU"),
        (is_wrapped, "sign_repaired", "unsigned values above 32767 were read as negative ones"),
        (
            not are_square(row_mm, column_mm),
            "pixels_not_square",
            f"rows are {row_mm:.3f} mm apart and columns {column_mm:.3f} mm, as no scanner has them",
        ),
        *((True, note.code, note.text) for note in check_values(hu, n_below=air, where=path, fix=_FIX)),
    ]
    tilt_deg, oblique_deg = tilt_of(oriented), oblique_of(oriented)
    notes += [
        (tilt_deg != 0, "tilt", f"slices lean {tilt_deg:.1f} degrees against their stack, from the affine"),
        (tilt_deg == 0 and oblique_deg > 1, "oblique", f"slices lie {oblique_deg:.1f} degrees off the patient's axis"),
    ]
    audit = Audit(modality="", tilt_deg=tilt_deg)
    for is_so, code, text in notes:
        audit = audit.with_note(code, text) if is_so else audit
    return Volume(
        hu=hu,
        spacing_mm=(slice_mm, row_mm, column_mm),
        affine=oriented,
        source=_names(path, shape, affine),
        audit=audit,
    )


def slice_names(path: Path) -> tuple[str, ...]:
    """``Volume.source`` of a NIfTI file, from its header alone."""
    image, affine = open_nifti(path)
    return _names(path, image.shape, affine)


def _names(path: Path, shape: tuple[int, ...], affine: Float64[np.ndarray, "4 4"]) -> tuple[str, ...]:
    """Slices in the order of the Volume, by their numbers in the file."""
    order, forward = lps_order(affine)
    numbers = range(1, shape[order[0]] + 1)
    return tuple(f"{path_text(path.name)}#{number}" for number in (numbers if forward[0] else reversed(numbers)))


def open_nifti(path: Path) -> tuple[Any, Float64[np.ndarray, "4 4"]]:
    """A NIfTI image of three axes whose voxels are not read yet, and its affine in mm, LPS.

    What the file is decides its content, not its name: a plain file may be called ``.nii.gz`` and the other way round.

    Raises:
      InputError: no NIfTI file, not three axes, more voxels than ``check_grid`` allows or than the file can hold, or
        no affine that can be believed (``read_affine``).
    """
    image, affine, _ = _open(path)
    return image, affine


def _open(path: Path) -> tuple[Any, Float64[np.ndarray, "4 4"], list[tuple[bool, str, str]]]:
    if not is_file(path):
        raise InputError("does not exist", where=path, fix="name a NIfTI file")
    image, is_packed, repairs = _load(path)
    dtype = image.get_data_dtype()
    if image.ndim != 3:
        raise InputError(f"has a shape of {list(image.shape)}, not three axes", where=path, fix="save one scan a file")
    if dtype.kind not in "iuf":
        raise InputError(f"holds voxels of {dtype}, not numbers", where=path, fix=_FIX)
    voxels = math.prod(map(int, image.shape))
    size = file_size(path)
    if voxels < 1:
        raise InputError(f"its header claims {list(image.shape)} voxels", where=path, fix="export the scan again")
    check_grid(image.shape, what="what its header claims", where=path, fix="export fewer or smaller slices")
    needed = voxels * dtype.itemsize + int(image.dataobj.offset)
    if needed > size * (_MOST_DEFLATED if is_packed else 1):
        raise InputError(
            f"is cut short: its header claims {list(image.shape)} voxels", where=path, fix="copy the file again"
        )
    if is_packed and needed > max(MOST_UNPACKED_BYTES, MOST_UNPACKED_RATIO * size):
        raise InputError(
            f"would unpack to {needed >> 20} MiB, which is over {MOST_UNPACKED_RATIO} times its own size",
            where=path,
            fix="if you trust it, unpack it with gunzip and name that file",
        )
    if int(image.dataobj.offset) < image.header.sizeof_hdr:
        raise InputError(
            f"its vox_offset is {image.dataobj.offset}, inside the header", where=path, fix="export the scan again"
        )
    affine, notes = read_affine(image.header, image.shape, path)
    return image, affine, [*notes, (bool(repairs), "header_repaired", "; ".join(repairs))]


def _load(path: Path) -> tuple[Any, bool, list[str]]:
    """The image without its voxels, axes of length 1 behind the third taken away; whether the file is gzip; repairs."""
    stream = open_file(path)
    try:
        is_packed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        unpacked: Any = gzip.GzipFile(fileobj=stream) if is_packed else stream
        size = {int.from_bytes(unpacked.read(4), order) for order in ("little", "big")}
        unpacked.seek(0)
        kind = nib.Nifti2Image if 540 in size else nib.Nifti1Image
        holder = nib.FileHolder(fileobj=unpacked)
        with collected_log("nibabel.global") as repairs:
            image = kind.from_file_map({"header": holder, "image": holder})
            if image.ndim > 3 and set(image.shape[3:]) == {1}:
                image = kind(image.dataobj.reshape(image.shape[:3]), None, image.header)
        # The stream stays open as long as voxels can be asked for, so that a packed one is read in one go.
        weakref.finalize(image.dataobj, stream.close)
    except Exception as error:  # nibabel raises whatever it stumbles over
        stream.close()
        raise InputError(
            f"cannot be read as NIfTI ({type(error).__name__}: {one_line(error)})", where=path, fix="check the file"
        ) from None
    return image, is_packed, repairs


def _read_hu(image: Any, path: Path) -> tuple[Int16[np.ndarray, "i j k"], bool, int, int, bool]:
    """Voxels as HU on the file's own grid, a slab at a time.

    Returns:
      The grid; whether values were rounded; how many voxels were set to air; how many were clipped; whether values
      were read as signed that the file has as unsigned.
    """
    grid = np.empty(image.shape, np.int16, order="F")
    rounded, air, clipped, is_wrapped = False, 0, 0, False
    highest = np.iinfo(np.int16).max
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    for k in range(image.shape[2]):
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                slab = np.asanyarray(image.dataobj[..., k])
        except Exception as error:
            raise InputError(
                f"its voxels cannot be read ({type(error).__name__}: {one_line(error)})",
                where=path,
                fix="copy the file again",
            ) from None
        if slab.dtype.kind == "f":
            with np.errstate(invalid="ignore"):  # signalling NaN
                whole = np.rint(slab)
            is_number = np.isfinite(slab)
            rounded |= bool((np.abs(whole[is_number] - slab[is_number]) > 1e-3).any())
            slab = np.where(is_number, whole, AIR_HU - 1)
        elif slab.dtype.kind == "u":
            slab = slab.astype(np.int64)
        signed = read_as_signed(slab, slope, intercept) if slab.max() > highest else None
        if signed is not None:
            slab, is_wrapped = signed, True
        low, high = slab < AIR_HU, slab > highest
        air, clipped = air + int(np.count_nonzero(low)), clipped + int(np.count_nonzero(high))
        grid[..., k] = np.clip(slab, AIR_HU, highest)
    return grid, rounded, air, clipped, is_wrapped


def _check_values(hu: Int16[np.ndarray, "s h w"], path: Path, *, is_whole: bool) -> None:
    low, high = int(hu.min()), int(hu.max())
    if high - low < 2 and not is_whole:
        raise InputError("holds values from 0 to 1: scaled, not HU", where=path, fix=_FIX)
    if high == low:
        raise InputError(f"holds the value {low} only", where=path, fix=_FIX)
    if high - low < 256 and len(np.unique(hu)) <= _MASK_VALUES:
        raise InputError(f"holds {len(np.unique(hu))} different values, like a mask", where=path, fix="name the scan")
