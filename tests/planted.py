"""Scans that are full of what must not come out, and a search through everything that a command wrote."""

import gzip
import json
import os
import shutil
import zipfile
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image, PngImagePlugin

from ichformer.errors import InputError
from ichformer.pipeline.store.records import read_shard
from tests.cohorts.nifti_sets import scan
from tests.ct.io.test_pictures import head
from tests.workflows.counter import write_head

UID = "1.2.826.0.1.9981"
FOLDER = "Quaxley_Orsolya"
TAGS = {
    "PatientName": "QUAXLEY^ORSOLYA",
    "PatientID": "MRN90417731",
    "PatientBirthDate": "19430217",
    "PatientAddress": "7 Vexil Lane",
    "StudyDate": "20230911",
    "SeriesDate": "20230911",
    "AcquisitionDate": "20230911",
    "ContentDate": "20230911",
    "AccessionNumber": "ACC55120987",
    "InstitutionName": "Saint Vexil",
    "ReferringPhysicianName": "DRUMMLE^HOBART",
    "OperatorsName": "DRUMMLE^HOBART",
    "StudyDescription": "CT for Quaxley",
    "SeriesDescription": "Head Quaxley 5.0",
    "ProtocolName": "Drummle routine",
    "ImageComments": "Orsolya, born 19430217",
    "StationName": "VEXILCT1",
    "Manufacturer": "SIEMENS at Saint Vexil",
    "ManufacturerModelName": "SOMATOM of Drummle",
    "ConvolutionKernel": "Quaxley",
    "PatientAge": "080Y",
    "PatientSex": "F",
}
SECRETS = ("quaxley", "orsolya", "90417731", "19430217", "20230911", "55120987", "vexil", "drummle", "hobart", UID)
"""In lower case, as they are looked for."""


def plant_dicom(place: Path, number: int, **tags: object) -> Path:
    """A head in a folder that is called as its patient; the patient's number ends in ``number``."""
    said = {**TAGS, "PatientID": f"{TAGS['PatientID']}{number}", "StudyInstanceUID": f"{UID}.1.{number}", **tags}
    return write_head(place / f"{FOLDER}_{number}", series_uid=f"{UID}.2.{number}", **said)


def plant_nifti(place: Path, number: int) -> None:
    image = nibabel.Nifti1Image(scan(number), np.diag([-4.0, -4.0, 5.0, 1.0]))
    image.header["descrip"], image.header["db_name"] = b"QUAXLEY 19430217", b"ORSOLYA"
    image.header["aux_file"], image.header["intent_name"] = b"Saint Vexil", b"DRUMMLE"
    place.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, place / f"{FOLDER}_{number}.nii.gz")


def plant_pictures(place: Path, number: int) -> None:
    folder = place / f"{FOLDER}_{number}"
    folder.mkdir(parents=True)
    for name in ("Quaxley1.png", "Quaxley2.png", "Quaxley3.jpg"):
        image = Image.fromarray(np.roll(head(64), number, axis=1))
        text, exif = PngImagePlugin.PngInfo(), Image.Exif()
        text.add_text("Author", "DRUMMLE HOBART", zip=True)
        text.add_text("Comment", "QUAXLEY ORSOLYA 19430217")
        exif[0x010E], exif[0x013B] = "QUAXLEY ORSOLYA", "DRUMMLE"
        image.save(folder / name, **({"pnginfo": text} if name.endswith("png") else {"exif": exif, "quality": 95}))


KINDS = ("dicom", "zip", "nifti", "pictures")


def plant(place: Path, kind: str, numbers: tuple[int, ...]) -> Path:
    """Scans of one kind below a folder; returns what to name as the source."""
    one = {"dicom": plant_dicom, "zip": plant_dicom, "nifti": plant_nifti, "pictures": plant_pictures}[kind]
    for number in numbers:
        one(place / "scans", number)
    if kind == "zip":
        return Path(shutil.make_archive(str(place / FOLDER), "zip", place / "scans"))
    return place / "scans"


def texts(place: Path) -> dict[str, bytes]:
    """All that lies below a folder by its path, names of files, links and what is compressed included."""
    found: dict[str, bytes] = {}
    for folder, folders, files in os.walk(place):
        for name in (*folders, *files):
            path = Path(folder) / name
            said = name.encode()
            if path.is_symlink():
                found[str(path)] = said + os.fsencode(os.readlink(path))
            elif path.is_file():
                found[str(path)] = said + path.read_bytes() + _inflated(path)
            else:
                found[str(path)] = said
    return found


def _inflated(path: Path) -> bytes:
    if path.suffix == ".array_record":
        try:
            return read_shard(path)
        except InputError:
            return b""
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return b"".join(archive.read(name) for name in archive.namelist())
    if path.suffix == ".png":
        with Image.open(path, formats=("PNG",)) as image:
            return json.dumps({str(key): str(value) for key, value in image.info.items()}).encode()
    return b""


def disclosed(place: Path, secrets: tuple[str, ...] = SECRETS) -> set[tuple[str, str]]:
    """(file, secret) for every secret that lies below a folder."""
    return {
        (os.path.relpath(path, place), secret)
        for path, said in texts(place).items()
        for secret in secrets
        if secret.encode() in said.lower()
    }
