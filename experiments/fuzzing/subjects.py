"""What is broken and who has to read it: DICOM series, NIfTI files and stores, whole at first."""

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from array_record.python.array_record_module import ArrayRecordWriter

from experiments.fuzzing.mutations import ANY, DICOM, NIFTI, RECORD, Mutation, json_value
from ichformer.cohorts.index import read_index
from ichformer.ct.headers import quiet_pydicom
from ichformer.ct.scans import find_scans, read_volume
from ichformer.ct.series import find_series
from ichformer.ct.volume import Volume
from ichformer.errors import InputError
from ichformer.pipeline.masks import read_mask
from ichformer.pipeline.prepare import prepare
from ichformer.pipeline.prepare_config import PrepareConfig
from ichformer.pipeline.recipe import prepare_volume
from ichformer.pipeline.records import Store, read_shard
from ichformer.testing import tiny_cohort

_CONFIG = PrepareConfig(size=32)


def write_bases(folder: Path, real: Path | None) -> None:
    """The whole files under ``folder``: ``dicom/NAME/*``, ``nifti/NAME/*`` and ``store/NAME``.

    Args:
      folder: an empty one.
      real: real files to take too, as ``shared/data`` has them.
    """
    cohort = tiny_cohort(folder / "cohort", scans=4, prevalence=1.0)
    index = read_index(cohort / "studies.csv")
    with ThreadPoolExecutor(1) as executor:
        prepare(index, folder / "store" / "tiny", config=_CONFIG, executor=executor, progress=False)
    for number, row in enumerate(index.to_dict("records")[:2]):
        files = find_series(row["path"]).series[0].files
        for name, syntax in _CODINGS.items():
            _write_pair(folder / "dicom" / f"phantom {number} {name}", files[4], files[5], syntax)
        _write_nifti(folder / "nifti", read_volume(row["path"]), Path(row["mask"]), f"phantom {number}")
    if real is not None:
        ge = real / "dcm_qa_ct" / "GE"
        _write_pair(folder / "dicom" / "GE", ge / "05.dcm", ge / "06.dcm", None)
        for file in sorted((real / "decoders").glob("*.dcm")):
            _write_pair(folder / "dicom" / file.stem[-60:], file, file, None)
        for name in ("scct", "scgrey"):
            place = folder / "nifti" / name
            place.mkdir(parents=True)
            shutil.copyfile(real / "ct_template" / f"{name}.nii", place / "scan.nii")
    shutil.rmtree(cohort)


_CODINGS = {
    "explicit": pydicom.uid.ExplicitVRLittleEndian,
    "implicit": pydicom.uid.ImplicitVRLittleEndian,
    "deflated": pydicom.uid.DeflatedExplicitVRLittleEndian,
    "rle": pydicom.uid.RLELossless,
    "j2k": pydicom.uid.JPEG2000Lossless,
}


def _write_pair(folder: Path, first: Path, second: Path, syntax: pydicom.uid.UID | None) -> None:
    """Two slices of one series, since one alone is no scan; the second 5 mm above where both are the same."""
    folder.mkdir(parents=True)
    for i, file in enumerate((first, second)):
        with quiet_pydicom():
            dataset = pydicom.dcmread(file)
            if syntax in (pydicom.uid.RLELossless, pydicom.uid.JPEG2000Lossless):
                dataset.compress(syntax, generate_instance_uid=False)
            elif syntax is not None:
                dataset.file_meta.TransferSyntaxUID = syntax
            if i == 1 and first == second and "ImagePositionPatient" in dataset:
                x, y, z = dataset.ImagePositionPatient
                dataset.ImagePositionPatient = [x, y, f"{z + 5:.3f}"]
                dataset.SOPInstanceUID = f"{dataset.SOPInstanceUID}.1"
            is_implicit = dataset.file_meta.TransferSyntaxUID.is_implicit_VR
            is_little = dataset.file_meta.TransferSyntaxUID.is_little_endian
            pydicom.dcmwrite(folder / f"{i}.dcm", dataset, implicit_vr=is_implicit, little_endian=is_little)


def _write_nifti(folder: Path, volume: Volume, mask: Path, name: str) -> None:
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


def read_dicom(folder: Path) -> None:
    """What ``prepare`` does with the scans under a folder; InputError if none can be read."""
    found = find_scans(folder)
    errors = []
    for scan in found.series:
        try:
            prepare_volume(read_volume(scan), _CONFIG)
        except InputError as error:
            errors.append(error)
    if len(errors) == len(found.series):
        raise errors[0] if errors else InputError("no series", where=folder, mend="nothing: this is what was tried")


def read_nifti_file(folder: Path) -> None:
    """As a scan or as a mask."""
    (file,) = folder.glob("*.nii*")
    if not (folder / "grid.npz").exists():
        prepare_volume(read_volume(file), _CONFIG)
        return
    with np.load(folder / "grid.npz") as grid:
        hu, affine = grid["hu"], grid["affine"]
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    spacing_mm = (abs(float(affine[2, 0])), float(lengths[1]), float(lengths[2]))
    volume = Volume(hu=hu, spacing_mm=spacing_mm, affine=affine, source=("",) * len(hu))
    read_mask(file, volume)


def read_store(folder: Path) -> None:
    """Every record of a store, whole and by slices."""
    store = Store.open(folder)
    for row in range(len(store.index)):
        scan = store.read(row)
        store.read(row, slices=[len(scan.volume.hu) - 1])
    store.rows(str(store.index["split"].iloc[0]))


READERS: dict[str, Callable[[Path], None]] = {"dicom": read_dicom, "nifti": read_nifti_file, "store": read_store}
_SHARES = {"dicom": 0.5, "nifti": 0.25, "store": 0.25}


def make_case(bases: Path, out: Path, *, seed: int, number: int) -> tuple[str, str, str]:
    """Writes one broken input under ``out``: always the same for a seed and a number.

    Returns:
      Kind, name of the base and name of the mutation.
    """
    rng = np.random.default_rng([seed, number])
    kind = str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
    base = sorted((bases / kind).iterdir())[int(rng.integers(len(list((bases / kind).iterdir()))))]
    shutil.copytree(base, out, copy_function=shutil.copyfile)
    if kind == "store":
        return kind, base.name, _break_store(rng, out)
    special = DICOM if kind == "dicom" else NIFTI
    name, mutation = _choose(rng, special if rng.random() < 0.6 else ANY)
    files = sorted(out.glob("*.dcm")) or sorted(out.glob("*.nii*"))
    again = int(rng.integers(2**32))
    # Half of the time every slice is broken in the same way: they still go together, and the fault is met later.
    for file in files if rng.random() < 0.5 else files[:1]:
        file.write_bytes(
            _apply(mutation, np.random.default_rng(again), file.read_bytes(), is_inside=rng.random() < 0.5)
        )
    return kind, base.name, name


def _choose(rng: np.random.Generator, mutations: dict[str, Mutation]) -> tuple[str, Mutation]:
    return list(mutations.items())[int(rng.integers(len(mutations)))]


def _apply(mutation: Mutation, rng: np.random.Generator, data: bytes, *, is_inside: bool) -> bytes:
    """The mutation of a file; of what is inside a gzipped one, where wanted or where its fields are meant."""
    is_packed = data[:2] == b"\x1f\x8b" and (is_inside or mutation.__name__ in NIFTI)
    changed = bytes(mutation(rng, bytearray(gzip.decompress(data) if is_packed else data)))
    is_still_plain = is_packed and changed[:2] != b"\x1f\x8b"
    return gzip.compress(changed, 1, mtime=0) if is_still_plain else changed


def _break_store(rng: np.random.Generator, store: Path) -> str:
    """The index, a shard, or a record inside a sound shard that the index agrees with."""
    index = store / "index.json"
    values = json.loads(index.read_bytes())
    entry = values["series"][int(rng.integers(len(values["series"])))]
    shard = store / "shards" / entry["shard"]
    what = rng.random()
    if what < 0.3:
        name, mutation = _choose(rng, {**ANY, **{str(i): json_value for i in range(len(ANY))}})
        index.write_bytes(mutation(rng, bytearray(index.read_bytes())))
        return "index " + mutation.__name__
    if what < 0.5:
        name, mutation = _choose(rng, ANY)
        shard.write_bytes(mutation(rng, bytearray(shard.read_bytes())))
    else:
        name, mutation = _choose(rng, RECORD if rng.random() < 0.8 else ANY)
        record = bytes(mutation(rng, bytearray(read_shard(shard))))
        shard.unlink()
        writer = ArrayRecordWriter(str(shard), "group_size:1,uncompressed")
        writer.write(record)
        writer.close()
        entry["sha256"] = hashlib.sha256(record).hexdigest()
        name = "record " + name
    entry["bytes"] = shard.stat().st_size
    index.write_text(json.dumps(values))
    return name if name.startswith("record") else "shard " + name
