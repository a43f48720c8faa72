"""Compressed slices for tests, written by gdcm, and slices with any code stream."""

import io
import pathlib
import tempfile

import gdcm
import numpy as np
import pydicom
from pydicom.encaps import encapsulate, generate_frames

from tests.ct.builders import dataset

SYNTAXES = {
    "JPEG": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    "JPEG-LS": gdcm.TransferSyntax.JPEGLSLossless,
    "JPEG 2000": gdcm.TransferSyntax.JPEG2000Lossless,
    "RLE": gdcm.TransferSyntax.RLELossless,
}
"""Name -> gdcm's number of a lossless transfer syntax."""


def compress(slice_: pydicom.FileDataset, coding: str) -> pydicom.FileDataset:
    """The slice in a lossless coding of ``SYNTAXES``."""
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = (str(pathlib.Path(folder) / name) for name in ("plain.dcm", "packed.dcm"))
        pydicom.dcmwrite(plain, slice_)
        reader = gdcm.ImageReader()
        reader.SetFileName(plain)
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(SYNTAXES[coding]))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(packed)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return pydicom.dcmread(io.BytesIO(pathlib.Path(packed).read_bytes()))


def stream_of(slice_: pydicom.FileDataset) -> bytes:
    """The code stream of a compressed slice."""
    return next(generate_frames(slice_.PixelData, number_of_frames=1))


def put_stream(slice_: pydicom.FileDataset, stream: bytes, **tags: object) -> pydicom.FileDataset:
    """The slice with another code stream, and other tags."""
    for keyword, value in tags.items():
        setattr(slice_, keyword, value)
    slice_.PixelData = encapsulate([stream])
    slice_["PixelData"].VR = "OB"
    return slice_


def write_compressed(folder: pathlib.Path, stored: np.ndarray, coding: str, **tags: object) -> list[pathlib.Path]:
    """A compressed series [S,H,W] with slices 5 mm apart; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for i, picture in enumerate(stored):
        files.append(folder / f"{i:03d}.dcm")
        made = dataset(picture, position_mm=(-10.0, -20.0, 5.0 * i), sop_uid=f"1.2.3.{i + 1}", **tags)
        pydicom.dcmwrite(files[-1], compress(made, coding))
    return files
