"""A small imitation of CQ500 and BHX as they lie on disk: folders, series, headers, JPEG-lossless pixels, tables."""

import pathlib

import numpy as np

from tests.cohorts.jpeg_lossless import compress
from tests.ct.builders import write_series

FINDINGS = (
    *("ICH", "IPH", "IVH", "SDH", "EDH", "SAH", "BleedLocation-Left", "BleedLocation-Right", "ChronicBleed"),
    *("Fracture", "CalvarialFracture", "OtherFracture", "MassEffect", "MidlineShift"),
)
SLICES = 18


def series_uid(study: int, number: int) -> str:
    return f"1.2.276.0.{study}.{number}"


def write_reads(path: pathlib.Path, votes: dict[int, tuple[str, dict[str, int]]]) -> None:
    """``reads.csv`` with its 44 columns and a byte order mark: of each study the batch, and how many of three found
    what."""
    header = ["name", "Category", *(f"R{reader}:{finding}" for reader in (1, 2, 3) for finding in FINDINGS)]
    lines = [
        [f"CQ500-CT-{study}", batch, *(str(int(found.get(f, 0) > reader)) for reader in range(3) for f in FINDINGS)]
        for study, (batch, found) in votes.items()
    ]
    assert len(header) == 44
    path.write_text("\ufeff" + "\n".join(",".join(line) for line in [header, *lines]) + "\n", encoding="utf-8")


def write_study(root: pathlib.Path, study: int, descriptions: tuple[str, ...]) -> pathlib.Path:
    """``CQ500CT7 CQ500CT7/Unknown Study/CT Plain/CT000000.dcm``; one series for each description, contrast not
    tagged."""
    folder = root / f"CQ500CT{study} CQ500CT{study}" / "Unknown Study"
    rng = np.random.default_rng(study)
    for number, description in enumerate(descriptions):
        thin = "THIN" in description.upper()
        count, step_mm = (2 * SLICES, 2.5) if thin else (SLICES, 5.0)
        files = write_series(
            folder / description,
            (1024 + rng.integers(-10, 90, (count, 16, 16))).astype(np.uint16),
            [step_mm * k for k in range(count)],
            [f"CT{k:06d}.dcm" for k in range(count)],
            series_uid=series_uid(study, number),
            StudyInstanceUID=f"1.2.276.0.{study}",
            PatientID=f"CQ500CT{study}",
            PatientName=f"CQ500CT{study}",
            SeriesDescription=description.removeprefix("CT "),
            ConvolutionKernel="BONE" if "BONE" in description else "SOFT",
            SliceThickness=step_mm,
            SpacingBetweenSlices=20.7,
        )
        if description == "CT Plain":
            for file in files:
                compress(file)
    return folder


def write_cq500(root: pathlib.Path) -> None:
    """Four studies: 0 is negative; 7 has a subdural bleed, a chronic one, and five series; 12 came with contrast
    only; 30 has no reads, 31 no files, and readers differ on its kind of bleed."""
    write_study(root, 0, ("CT Plain",))
    series = ("CT 4cc sec 150cc D3D on", "CT BONE", "CT PLAIN THIN", "CT POST CONTRAST", "CT Plain")
    write_study(root / "qct01", 7, series)
    write_study(root, 12, ("CT POST CONTRAST",))
    write_study(root, 30, ("CT Plain",))
    found = {"ICH": 3, "SDH": 2, "IPH": 1, "ChronicBleed": 3, "MidlineShift": 2}
    reads = {7: ("B2", found), 0: ("B1", {"SAH": 1, "ICH": 1}), 12: ("B1", {}), 31: ("B1", {"ICH": 2})}
    write_reads(root / "reads.csv", reads)


def write_bhx(folder: pathlib.Path) -> None:
    """BHX's second and third table on study 7: boxes in its soft series, thick and thin, columns in another order
    each, and a slice whose SOPInstanceUID stands in two series."""
    folder.mkdir(parents=True)
    thick, thin = series_uid(7, 4), series_uid(7, 2)
    boxes = [
        (thick, 5, "Subdural", "{'x': 3.25, 'y': 4.5, 'width': 6.0, 'height': 2.75}"),
        (thick, 5, "Chronic", "{'x': 1, 'y': 1, 'width': 2, 'height': 2}"),
        (thick, 6, "Subdural", "{'y': 4, 'x': 3, 'height': 2, 'width': 6}"),
        (thick, 6, "Intraparenchymal", "{'x': 9.0, 'y': 9.0, 'width': 1.5, 'height': 1.5}"),
        (thick, 8, "Chronic", "{'x': 0, 'y': 0, 'width': 2, 'height': 2}"),
        (thin, 5, "Subdural", "{'x': 3.0, 'y': 4.0, 'width': 6.0, 'height': 2.0}"),
    ]
    for name, header, kept in (
        ("2_Extrapolation_to_All_Series.csv", "{sop},{series},{study},{data},{label},{kind}", boxes),
        ("3_Extrapolation_to_Selected_Series.csv", ",{series},{study},{sop},{data},{kind},{label}", boxes[-1:]),
    ):
        names = {"sop": "SOPInstanceUID", "series": "SeriesInstanceUID", "study": "StudyInstanceUID"}
        lines = [header.format(**names, data="data", label="labelName", kind="labelType")]
        for series, k, label, box in kept:
            values = {"sop": f"{series}.{k + 1}", "series": series, "study": "1.2.276.0.7"}
            lines.append(header.format(**values, data=f'"{box}"', label=label, kind="hand_drawn"))
        # A slice of another series that has the SOPInstanceUID of a thick one.
        twin = {"sop": f"{thick}.3", "series": series_uid(7, 1), "study": "1.2.276.0.7", "label": "Epidural"}
        lines.append(header.format(**twin, data=f'"{boxes[0][-1]}"', kind="extrapolated"))
        (folder / name).write_text("\n".join(lines) + "\n")
