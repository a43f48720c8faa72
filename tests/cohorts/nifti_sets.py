"""Small imitations of CT-ICH, INSTANCE and BHSD as they lie on disk."""

import pathlib

import nibabel
import numpy as np

SLICES = 6


def write_nifti(path: pathlib.Path, voxels: np.ndarray, *, step_mm: float = 5.0) -> None:
    """Axes column, row, slice: to the left, to the back and up, or down where the step is negative."""
    affine = np.diag([-4.0, -4.0, step_mm, 1.0])
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


def scan(seed: int, slices: int = SLICES) -> np.ndarray:
    """HU of a blob in air, other ones for each seed."""
    voxels = np.full((24, 24, slices), -1000, np.int16)
    voxels[3:-3, 3:-3] = np.random.default_rng(seed).integers(-10, 90, (18, 18, slices))
    return voxels


def mask(places: dict[int, int], dtype: type = np.uint8, slices: int = SLICES) -> np.ndarray:
    """A few voxels of a value on each of the slices named, which are numbered from 1."""
    voxels = np.zeros((24, 24, slices), dtype)
    for number, value in places.items():
        voxels[8:11, 10:14, number - 1] = value
    return voxels


def write_ctich(root: pathlib.Path) -> None:
    """Patients 49 (epidural and a fracture), 50 (healthy), 51 (blood of no named kind) and 66 (no rows); rows of 59
    without a scan.

    Volumes are doubles, masks 0 and 255 in bytes, and the table ends in rows of commas.
    """
    bleeds = {49: {2: "Epidural", 3: "Epidural"}, 50: {}, 51: {4: ""}, 59: {1: "Subdural"}}
    subtypes = ("Intraventricular", "Intraparenchymal", "Subarachnoid", "Epidural", "Subdural")
    lines = [",".join(["PatientNumber", "SliceNumber", *subtypes, "No_Hemorrhage", "Fracture_Yes_No"])]
    for patient, found in bleeds.items():
        for number in range(1, SLICES + 1):
            kinds = [str(int(found.get(number) == name)) for name in subtypes]
            fracture = str(int(patient == 49 and number == 2))
            lines.append(",".join([str(patient), str(number), *kinds, str(int(number not in found)), fracture]))
    lines += [",,,,,,,,"] * 2
    root.mkdir(parents=True, exist_ok=True)
    (root / "hemorrhage_diagnosis_raw_ct.csv").write_text("\n".join(lines) + "\n")
    for patient in (49, 50, 51, 66):
        write_nifti(root / "ct_scans" / f"{patient:03d}.nii", scan(patient).astype(np.float64))
        write_nifti(root / "masks" / f"{patient:03d}.nii", mask(dict.fromkeys(bleeds.get(patient, {}), 255)))


def write_instance(root: pathlib.Path) -> None:
    """``train_2``: 001 bleeds in its slices 3 and 4, 002 does not, 003 has a mask of another scan."""
    for name, places, slices in (("001", {3: 1, 4: 1}, SLICES), ("002", {}, SLICES), ("003", {1: 1}, SLICES - 1)):
        write_nifti(root / "train_2" / "data" / f"{name}.nii.gz", scan(int(name)))
        write_nifti(root / "train_2" / "label" / f"{name}.nii.gz", mask(places, np.int16, slices))


BHSD = {
    "ID_2db7ee14_ID_2591d00dfc": {2: 1, 3: 5},
    "ID_2db7ee14_ID_f27e38fdfd": {1: 2, 5: 3, 6: 4},
    "ID_0237f3c9_ID_40015688b9": {4: 4},
}


def write_bhsd(root: pathlib.Path) -> None:
    """``label_192`` with two scans of one patient, one of them top down, and one of another; ``unlabel_2000`` with one
    that bleeds and one that does not."""
    for seed, (name, places) in enumerate(BHSD.items()):
        step_mm = -5.0 if seed == 1 else 5.0
        for part, voxels in (("images", scan(seed).astype(np.float32)), ("ground truths", mask(places, np.float32))):
            write_nifti(root / "label_192" / part / f"{name}.nii.gz", voxels, step_mm=step_mm)
    write_nifti(root / "unlabel_2000" / "anybleed" / "ID_039bebb1_ID_0fdcfd6fbb.nii.gz", scan(10))
    write_nifti(root / "unlabel_2000" / "nobleed" / "ID_0bee00a2_ID_0b9e78b135.nii.gz", scan(11))
