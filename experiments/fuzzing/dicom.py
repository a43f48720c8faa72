"""DICOM series: two slices of each coding, whose elements, code streams and deflated data sets are broken."""

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataelem import RawDataElement

from experiments.fuzzing.kind import Kind, Source
from experiments.fuzzing.mutations import HUGE, Mutation, append, by_name, special_or_any
from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.ct.io.dicom.series import find_series
from ichformer.ct.io.scans import find_scans, read_volume
from ichformer.errors import InputError
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.recipe import prepare_volume

_TEXTS = (b"nan", b"inf", b"-1e308", b"1e-308", b"0", b"-1", b"", b"9999999999", b"\x1b[31m", b"\\\\\\", b"\xff\xfe")
_VRS = (b"SQ", b"OB", b"OW", b"UN", b"UT", b"DS", b"IS", b"US", b"FD", b"UI", b"AT", b"PN", b"ZZ", b"\0\0")
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_SIZE_TAGS = ("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel")
_VALUE_TAGS = (
    *("PixelRepresentation", "PhotometricInterpretation", "PlanarConfiguration", "RescaleSlope", "RescaleIntercept"),
    *("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", "PixelPaddingValue"),
    *("ImageType", "Modality", "SpecificCharacterSet", "SeriesInstanceUID", "SeriesDescription", "ConvolutionKernel"),
)


def _elements(data: bytes) -> dict[str, tuple[int, int, bool]]:
    """Keyword of each element of a data set -> where its value begins, its length, whether its VR is written."""
    with quiet_pydicom():
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
        found: dict[str, tuple[int, int, bool]] = {}
        for tag in dataset.keys():  # noqa: SIM118, a data set's values are parsed when it is iterated
            raw: object = dataset.get_item(tag)
            if isinstance(raw, RawDataElement) and (keyword := pydicom.datadict.keyword_for_tag(tag)):
                found[keyword] = (raw.value_tell, raw.length, not dataset.original_encoding[0])
        return found


def _inflated(change: Mutation) -> Mutation:
    """``change`` on what is inside, where a data set is deflated: its elements lie there."""

    def apply(rng: np.random.Generator, data: bytearray) -> bytes | bytearray:
        if _DEFLATED not in data[:1024]:
            return change(rng, data)
        start = _body(data)
        meta, body = bytes(data[:start]), zlib.decompress(data[start:], -15)
        plain = meta.replace(_DEFLATED, _DEFLATED[:-3] + b"\0\0\0")
        return _deflate(meta, bytes(change(rng, bytearray(plain + body)))[start:])

    apply.__name__ = change.__name__
    return apply


def _body(data: bytearray) -> int:
    """Where the data set begins behind the preamble and a meta group that says its length."""
    return 144 + int.from_bytes(data[140:144], "little")


def _deflate(meta: bytes, body: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    return meta + packer.compress(body) + packer.flush()


def tag_size(rng: np.random.Generator, data: bytearray) -> bytearray:
    """Sizes that ask for memory; NumberOfFrames takes the place of another element's text."""
    present = _elements(bytes(data))
    name = str(rng.choice([name for name in _SIZE_TAGS if name in present] or [""]))
    if name:
        start, length, _ = present[name]
        number = int(rng.choice((65535, 32768, 4096, 4097, 64, 32, 12, 8, 2, 1, 0)))
        data[start : start + length] = struct.pack("<H", number)[:length].ljust(length, b" ")
    return data


def tag_value(rng: np.random.Generator, data: bytearray) -> bytearray:
    present = _elements(bytes(data))
    names = [name for name in _VALUE_TAGS if name in present]
    if names:
        start, length, _ = present[str(rng.choice(names))]
        text = bytes(rng.choice(np.array(_TEXTS, object)))
        repeated = b"\\".join([text] * int(rng.integers(1, 7)))
        data[start : start + length] = repeated[:length].ljust(length, b" ")
    return data


def tag_length(rng: np.random.Generator, data: bytearray) -> bytearray:
    present = _elements(bytes(data))
    if present:
        start, _, has_vr = present[str(rng.choice(sorted(present)))]
        is_long = not has_vr or data[start - 8 : start - 6] in (b"OB", b"OW", b"UN", b"SQ", b"UT", b"OF")
        width = 4 if is_long else 2
        data[start - width : start] = struct.pack("<I", int(rng.choice(HUGE)))[:width]
    return data


def tag_vr(rng: np.random.Generator, data: bytearray) -> bytearray:
    present = [at for at in _elements(bytes(data)).values() if at[2]]
    if present:
        start = present[int(rng.integers(len(present)))][0]
        data[start - 4 : start - 2] = bytes(rng.choice(np.array(_VRS, object)))
    return data


def tag_frames(rng: np.random.Generator, data: bytearray) -> bytearray:
    """NumberOfFrames (0028,0008) put before Rows (0028,0010), with its VR or without."""
    place = _elements(bytes(data)).get("Rows")
    if place:
        start, _, has_vr = place
        text = rng.choice(["2147483647", "-1        ", "2         ", "1e9       "]).encode()
        head = b"\x28\0\x08\0" + (b"IS\x0a\0" if has_vr else b"\x0a\0\0\0")
        data[start - 8 : start - 8] = head + text
    return data


def transfer_syntax(rng: np.random.Generator, data: bytearray) -> bytearray:
    """The file says that it is coded in another way."""
    found = re.search(rb"1\.2\.840\.10008\.1\.2[.0-9]*\0?", data[:1024])
    if found:
        names = (b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2", _DEFLATED, b"1.2.840.10008.1.2.4.90", b"9.9")
        others = (*names, b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.4.70", b"1.2.840.10008.1.2.4.80")
        other = bytes(rng.choice(np.array(others, object)))
        data[found.start() : found.end()] = other[: len(found.group())].ljust(len(found.group()), b"\0")
    return data


def code_stream(rng: np.random.Generator, data: bytearray) -> bytearray:
    """The sizes inside a JPEG, JPEG-LS or JPEG 2000 code stream, or bytes of its first kilobyte."""
    markers = [m.start() for m in re.finditer(rb"\xff(?:\x51\0|[\xc0-\xc3\xf7]\0)", data)]
    if not markers or rng.random() < 0.5:
        start = data.find(b"\xe0\x7f\x10\0")
        for _ in range(int(rng.integers(1, 9))):
            if start >= 0 and start + 8 < len(data):
                data[start + 8 + int(rng.integers(min(1024, len(data) - start - 8)))] = int(rng.integers(256))
        return data
    start = int(rng.choice(markers))
    is_j2k = data[start + 1] == 0x51
    width, place = (4, start + 6 + 4 * int(rng.integers(8))) if is_j2k else (2, start + 5 + 2 * int(rng.integers(2)))
    data[place : place + width] = (int(rng.choice((*HUGE, 65500, 30000, 4096))) & (2 ** (8 * width) - 1)).to_bytes(
        width, "big"
    )
    return data


def bomb(rng: np.random.Generator, data: bytearray) -> bytes | bytearray:
    """Deflated gigabytes, inside the data set or behind it."""
    if _DEFLATED not in data[:1024]:
        return append(rng, data)
    start = _body(data)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(zlib.decompress(data[start:], -15)) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return bytes(data[:start]) + body + zeros * int(rng.choice((512, 3072, 8192))) + packer.flush()


DICOM: dict[str, Mutation] = {
    **by_name(map(_inflated, (tag_size, tag_value, tag_length, tag_vr, tag_frames))),
    **by_name((transfer_syntax, code_stream, bomb)),
}

_CODINGS = {
    "explicit": pydicom.uid.ExplicitVRLittleEndian,
    "implicit": pydicom.uid.ImplicitVRLittleEndian,
    "deflated": pydicom.uid.DeflatedExplicitVRLittleEndian,
    "rle": pydicom.uid.RLELossless,
    "j2k": pydicom.uid.JPEG2000Lossless,
    "jpeg": pydicom.uid.JPEGBaseline8Bit,
}


def write_bases(folder: Path, source: Source) -> None:
    """A phantom's slices in every coding that there is an encoder for, and real ones."""
    for number, row in enumerate(source.index.to_dict("records")[:2]):
        files = find_series(row["path"]).series[0].files
        for name, syntax in _CODINGS.items():
            write_pair(folder / f"phantom {number} {name}", files[4], files[5], syntax)
    if source.real is not None:
        ge = source.real / "dcm_qa_ct" / "GE"
        write_pair(folder / "GE", ge / "05.dcm", ge / "06.dcm")
        for file in sorted((source.real / "decoders").glob("*.dcm")):
            write_pair(folder / file.stem[-60:], file, file)


def write_pair(folder: Path, first: Path, second: Path, syntax: pydicom.uid.UID | None = None) -> None:
    """Two slices of one series, since one alone is no scan; the second 5 mm above where both are the same."""
    folder.mkdir(parents=True)
    for i, file in enumerate((first, second)):
        with quiet_pydicom():
            dataset = pydicom.dcmread(file)
            if syntax in (pydicom.uid.RLELossless, pydicom.uid.JPEG2000Lossless):
                dataset.compress(syntax, generate_instance_uid=False)
            elif syntax == pydicom.uid.JPEGBaseline8Bit:
                _compress_jpeg(dataset)
            elif syntax is not None:
                dataset.file_meta.TransferSyntaxUID = syntax
            if i == 1 and first == second and "ImagePositionPatient" in dataset:
                x, y, z = dataset.ImagePositionPatient
                dataset.ImagePositionPatient = [x, y, f"{z + 5:.3f}"]
                dataset.SOPInstanceUID = f"{dataset.SOPInstanceUID}.1"
            is_implicit = dataset.file_meta.TransferSyntaxUID.is_implicit_VR
            is_little = dataset.file_meta.TransferSyntaxUID.is_little_endian
            pydicom.dcmwrite(folder / f"{i}.dcm", dataset, implicit_vr=is_implicit, little_endian=is_little)


def _compress_jpeg(dataset: pydicom.Dataset) -> None:
    """Eight bits a pixel as JPEG, whose grey is four HU."""
    grey = np.clip((dataset.pixel_array.astype(np.int64) + 256) // 4, 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "JPEG", quality=90)
    dataset.PixelData = pydicom.encaps.encapsulate([stream.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.RescaleSlope, dataset.RescaleIntercept = "4", "-256"
    if "PixelPaddingValue" in dataset:
        del dataset.PixelPaddingValue


def break_series(rng: np.random.Generator, folder: Path) -> str:
    """One slice, or both in the same way: they still go together, and the fault is met later."""
    name, mutation = special_or_any(rng, DICOM)
    files, again = sorted(folder.glob("*.dcm")), int(rng.integers(2**32))
    for file in files if rng.random() < 0.5 else files[:1]:
        file.write_bytes(mutation(np.random.default_rng(again), bytearray(file.read_bytes())))
    return name


def read_scans(path: Path) -> None:
    """What ``prepare`` does with the scans under a path; InputError if none can be read."""
    found = find_scans(path)
    errors = []
    for scan in found.series:
        try:
            prepare_volume(read_volume(scan), PrepareConfig(size=32))
        except InputError as error:
            errors.append(error)
    if len(errors) == len(found.series):
        raise errors[0] if errors else InputError("no series", where=path, fix="nothing: this is what was tried")


KIND = Kind(name="dicom", share=0.2, write=write_bases, damage=break_series, read=read_scans)
