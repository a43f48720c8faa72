"""The format of a file that is not DICOM: by its content, or by its name where the content does not tell."""

import zlib
from pathlib import Path
from typing import NamedTuple

from ichformer.ct.io.archives import is_archive, read_start
from ichformer.errors import InputError

NIFTI_SUFFIXES = (".nii", ".nii.gz")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_PICTURE_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*")

_APPLE_DOUBLE = b"\x00\x05\x16\x07"
"""The magic number of an AppleDouble header (Apple, AppleSingle/AppleDouble Formats for Foreign Files, 1990)."""

_GZIP = b"\x1f\x8b"
_START_BYTES = 4096


class _Foreign(NamedTuple):
    """A format that is not read: how its files begin, how they are called, and what to say."""

    starts: tuple[bytes, ...]
    suffixes: tuple[str, ...]
    text: str


_TO_NIFTI = "convert it to NIfTI, for instance with 3D Slicer or SimpleITK"
_UNPACK = "unpack it and name the folder"
_PAIR = "one half of a .hdr and .img pair: save the pair as one .nii file"
_NUMPY = "a NumPy file, which has no geometry: save the scan as DICOM or NIfTI"

_FOREIGN = (
    _Foreign((b"NRRD0",), (".nrrd", ".nhdr"), f"an NRRD file: {_TO_NIFTI}"),
    _Foreign((b"ObjectType", b"NDims"), (".mha", ".mhd"), f"a MetaImage file: {_TO_NIFTI}"),
    _Foreign((b"CDF\x01", b"CDF\x02", b"\x89HDF"), (".mnc", ".h5", ".hdf5"), f"a MINC or HDF5 file: {_TO_NIFTI}"),
    _Foreign((), (".mgh", ".mgz"), "a FreeSurfer file: convert it to NIfTI with mri_convert"),
    _Foreign((), (".hdr", ".img"), _PAIR),
    _Foreign((b"\x93NUMPY",), (".npy", ".npz"), _NUMPY),
    _Foreign((b"MATLAB 5.0",), (".mat",), "a MATLAB file: save the scan as DICOM or NIfTI"),
    _Foreign((b"Rar!",), (".rar",), f"a RAR archive: {_UNPACK}"),
    _Foreign((b"7z\xbc\xaf\x27\x1c",), (".7z",), f"a 7-Zip archive: {_UNPACK}"),
    _Foreign((b"(\xb5/\xfd",), (".zst",), f"a file packed by Zstandard: {_UNPACK}"),
    _Foreign(
        (b"GIF8", b"%!PS", b"\0\0\0\x0cjP  "),
        (".bmp", ".gif", ".eps", ".jp2", ".webp"),
        "a picture in a format that is not read: save it as PNG",
    ),
)


def describe(path: Path) -> tuple[str, str]:
    """The code of ``SET_ASIDE_CODES`` and a text for a file that is not DICOM; it may lie in an archive.

    A file that is called NIfTI or a picture but holds nothing that is known counts as what it is called: reading it
    says what is wrong.
    """
    try:
        packed = read_start(path, _START_BYTES)
    except (OSError, InputError) as error:
        return "unreadable", error.what if isinstance(error, InputError) else f"cannot be opened ({error.strerror})"
    start, is_damaged = _unpacked(packed)
    if start.startswith(_APPLE_DOUBLE):
        return "resource_fork", "what macOS keeps beside a file"
    if _is_nifti(start):
        return "other_format", "NIfTI"
    if packed.startswith(_PICTURE_STARTS):
        return "other_format", "a picture"
    name = path.name.lower()
    for foreign in _FOREIGN:
        if packed.startswith(foreign.starts) or name.endswith(foreign.suffixes):
            return "unsupported_format", foreign.text
    if is_archive(path):
        if path.is_file():
            return "archive", "a zip or a tar: name it to read it"
        return "archive", "an archive inside an archive: unpack the outer one, then name the inner one"
    if name.endswith(NIFTI_SUFFIXES):
        return "other_format", "NIfTI"
    if name.endswith(PICTURE_SUFFIXES):
        return "other_format", "a picture"
    if is_damaged:
        return "unreadable", "a gzip file that is damaged: copy it again"
    if packed.startswith((_GZIP, b"BZh", b"\xfd7zXZ")):
        return "unsupported_format", f"a packed file (gzip, bzip2 or xz): {_UNPACK}"
    return "not_dicom", "is not a DICOM file"


def _unpacked(packed: bytes) -> tuple[bytes, bool]:
    """The start of what gzip packed, or the bytes themselves; and whether they are damaged."""
    if not packed.startswith(_GZIP):
        return packed, False
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(packed, _START_BYTES), False
    except zlib.error:
        return b"", True


def _is_nifti(start: bytes) -> bool:
    """One file with header and voxels: NIfTI-1 (sizeof_hdr 348, magic at 344) or NIfTI-2 (540, magic at 4)."""
    size = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")}
    return (348 in size and start[344:348] == b"n+1\0") or (540 in size and start[4:8] == b"n+2\0")
