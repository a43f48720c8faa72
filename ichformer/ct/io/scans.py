"""The entry point for reading: scans under a path (DICOM, NIfTI or pictures), each read as a Volume."""

from dataclasses import replace
from pathlib import Path

from ichformer.ct.geometry.missing import Missing
from ichformer.ct.io.dicom.reader import read_series
from ichformer.ct.io.dicom.series import Series, find_series
from ichformer.ct.io.display import WindowHU
from ichformer.ct.io.found import Found, nothing_found
from ichformer.ct.io.nifti import NiftiFile, read_nifti
from ichformer.ct.io.pictures import PictureStack, order_pictures, read_pictures
from ichformer.ct.volume import Volume
from ichformer.errors import InputError
from ichformer.files.folders import folder_kind
from ichformer.settings import as_path, fit

Scan = Series | NiftiFile | PictureStack

_NO_WINDOW = "leave out the window"
_SOURCE = "give the path of a scan; from an array make an ichformer.Volume"


def find_scans(path: Path | str) -> Found[Scan]:
    """Every scan under a path: the DICOM series of ``find_series``; where there is none, NIfTI files and pictures.

    Files are told by their content, so that a wrong suffix does no harm; they may lie in a zip or a tar, or behind
    symbolic links. A NIfTI file or a picture beside DICOM is set aside, as it may be a mask or a drawing: name it to
    read it. The pictures of one folder are one scan. Those in the folder of a run are none: they show its training.

    Raises:
      InputError: the path does not exist, or cannot be read.
    """
    path = Path(path)
    found = find_series(path)
    others = [aside for aside in found.set_aside if aside.code == "other_format"]
    left = tuple(aside for aside in found.set_aside if aside.code != "other_format")
    if found.series:
        beside = tuple(replace(aside, text=f"{aside.text} beside DICOM") for aside in others)
        return Found(path=path, series=found.series, set_aside=left + beside)
    if folder_kind(path):
        return Found(path=path, series=(), set_aside=found.set_aside)
    scans: list[Scan] = [NiftiFile(path=aside.path) for aside in others if aside.text == "NIfTI"]
    by_folder: dict[Path, list[Path]] = {}
    for aside in others:
        if aside.text != "NIfTI":
            by_folder.setdefault(aside.path.parent, []).append(aside.path)
    scans += [PictureStack(files=order_pictures(files)) for files in by_folder.values()]
    return Found(path=path, series=tuple(scans), set_aside=left)


def read_volume(
    source: Scan | Found[Scan] | Path | str, *, missing: Missing = "keep", window_hu: WindowHU | None = None
) -> Volume:
    """Read one scan.

    Example:
      >>> import ichformer as ich
      >>> volume = ich.read_volume("scan/")
      >>> volume.hu.dtype, volume.hu.ndim, len(volume.spacing_mm)
      (dtype('int16'), 3, 3)

    Args:
      source: a scan that was found, or a path that holds exactly one.
      missing: what becomes of slices that the positions of a DICOM series say are missing.
      window_hu: for display pictures, the HU that black and white stand for; estimated where None.

    Returns:
      The scan's HU on its own grid, with its geometry and a list of what was found and done.

    Raises:
      InputError: there is not exactly one scan, or it cannot be read rightly. Names the file, the tag and the fix.
    """
    missing = fit(Missing, missing, where="missing")
    window_hu = fit(WindowHU | None, window_hu, where="window_hu")
    if not isinstance(source, Found | Scan):
        source = find_scans(as_path(source, where="source", fix=_SOURCE))
    source = only_scan(source)
    if isinstance(source, PictureStack):
        return read_pictures(source, window_hu=window_hu)
    if window_hu is not None:
        raise InputError("is no picture: its values have a scale of their own", where=source.path, fix=_NO_WINDOW)
    if isinstance(source, NiftiFile):
        return read_nifti(source.path)
    return read_series(source, missing=missing)


def only_scan(found: Scan | Found[Scan]) -> Scan:
    """The scan itself, or the only one that was found; InputError where there is none, or more than one."""
    if not isinstance(found, Found):
        return found
    if not found.series:
        raise nothing_found(found)
    if len(found.series) > 1:
        names = ", ".join(str(scan.path) for scan in found.series[:4])
        raise InputError(f"holds {len(found.series)} series ({names})", where=found.path, fix="name one of them")
    return found.series[0]
