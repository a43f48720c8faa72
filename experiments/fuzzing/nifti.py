"""NIfTI files, plain and gzipped, as scans and as masks, whose header's fields are broken."""

import gzip
import shutil
import struct
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np

from experiments.fuzzing.kind import Kind, Source
from experiments.fuzzing.mutations import Mutation, by_name, special_or_any
from ichformer.ct.io.scans import read_volume
from ichformer.ct.volume import Volume
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.masks import read_mask
from ichformer.pipeline.preparation.recipe import prepare_volume

_NIFTI_FIELDS = {
    "sizeof_hdr": (0, "i", 1),
    "dim": (40, "h", 8),
    "datatype": (70, "h", 1),
    "bitpix": (72, "h", 1),
    "pixdim": (76, "f", 8),
    "vox_offset": (108, "f", 1),
    "scl": (112, "f", 2),
    "codes": (252, "h", 2),
    "quatern": (256, "f", 6),
    "srow": (280, "f", 12),
    "magic": (344, "i", 1),
    "extension": (348, "i", 1),
}
"""Fields of NIfTI-1 (nifti1.h): where each begins, its type, how many."""

_NIFTI_NUMBERS = {
    "h": (32767, -32768, -1, 0, 1, 2, 3, 4, 16, 64, 512, 1024, 2304),
    "i": (2**31 - 1, -(2**31), -1, 0, 1, 348, 540, 16),
    "f": (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e38, 1e-38, 351.5, 3.5e9, 1e6),
}


def nifti_field(rng: np.random.Generator, data: bytearray) -> bytearray:
    for _ in range(int(rng.integers(1, 4))):
        start, kind, count = _NIFTI_FIELDS[str(rng.choice(sorted(_NIFTI_FIELDS)))]
        place = start + struct.calcsize(kind) * int(rng.integers(count))
        if place + 4 <= len(data):
            struct.pack_into("<" + kind, data, place, rng.choice(_NIFTI_NUMBERS[kind]).item())
    return data


def nifti_big(rng: np.random.Generator, data: bytearray) -> bytearray:
    """A header that claims a volume of gigabytes."""
    shape = [(3, 2000, 2000, 2000), (3, 32767, 32767, 32767), (3, 512, 512, 32767), (4, 64, 64, 64, 32767)]
    if len(data) >= 348:
        dims = shape[int(rng.integers(len(shape)))]
        struct.pack_into(f"<{len(dims)}h", data, 40, *dims)
    return data


def gzip_bomb(rng: np.random.Generator, data: bytearray) -> bytes:
    """The file with gigabytes of zeros behind it, gzipped; the header may ask for them."""
    if rng.random() < 0.5:
        data = nifti_big(rng, data)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = packer.compress(bytes(data)) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return body + zeros * int(rng.choice((512, 4096))) + packer.flush()


NIFTI = by_name((nifti_field, nifti_big, gzip_bomb))


def write_bases(folder: Path, source: Source) -> None:
    """A phantom as NIfTI-1 and NIfTI-2, of whole numbers and of fractions, its mask, and real files."""
    for number, row in enumerate(source.index.to_dict("records")[:2]):
        _write_phantom(folder, read_volume(row["path"]), Path(row["mask"]), f"phantom {number}")
    if source.real is not None:
        for name in ("scct", "scgrey"):
            place = folder / name
            place.mkdir(parents=True)
            shutil.copyfile(source.real / "ct_template" / f"{name}.nii", place / "scan.nii")


def _write_phantom(folder: Path, volume: Volume, mask: Path, name: str) -> None:
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine[:, [2, 1, 0, 3]]
    for suffix, kind in (("nii", nib.Nifti1Image), ("nii.gz", nib.Nifti1Image), ("nii", nib.Nifti2Image)):
        for dtype in (np.int16, np.float32):
            place = folder / f"{name} {kind.__name__} {suffix} {np.dtype(dtype).name}"
            place.mkdir(parents=True)
            nib.save(kind(volume.hu.T.astype(dtype), ras), place / f"scan.{suffix}")
    place = folder / f"{name} mask"
    place.mkdir()
    shutil.copyfile(mask, place / "mask.nii.gz")
    np.savez(place / "grid.npz", hu=volume.hu, affine=volume.affine)


def break_file(rng: np.random.Generator, folder: Path) -> str:
    """The file, or what is inside a gzipped one."""
    name, mutation = special_or_any(rng, NIFTI)
    (file,) = folder.glob("*.nii*")
    file.write_bytes(_apply(mutation, rng, file.read_bytes(), is_inside=rng.random() < 0.5))
    return name


def _apply(mutation: Mutation, rng: np.random.Generator, data: bytes, *, is_inside: bool) -> bytes:
    """The mutation of a file; of what is inside a gzipped one, where wanted or where its fields are meant."""
    is_packed = data[:2] == b"\x1f\x8b" and (is_inside or mutation.__name__ in NIFTI)
    changed = bytes(mutation(rng, bytearray(gzip.decompress(data) if is_packed else data)))
    is_still_plain = is_packed and changed[:2] != b"\x1f\x8b"
    return gzip.compress(changed, 1, mtime=0) if is_still_plain else changed


def read_file(folder: Path) -> None:
    """As a scan or as a mask."""
    (file,) = folder.glob("*.nii*")
    if not (folder / "grid.npz").exists():
        prepare_volume(read_volume(file), PrepareConfig(size=32))
        return
    with np.load(folder / "grid.npz") as grid:
        hu, affine = grid["hu"], grid["affine"]
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    spacing_mm = (abs(float(affine[2, 0])), float(lengths[1]), float(lengths[2]))
    read_mask(file, Volume(hu=hu, spacing_mm=spacing_mm, affine=affine, source=("",) * len(hu)))


KIND = Kind(name="nifti", share=0.1, write=write_bases, damage=break_file, read=read_file)
