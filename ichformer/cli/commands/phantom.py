"""``ichformer phantom``."""

from pathlib import Path

from ichformer.cli.printing import print_result
from ichformer.files.writing import path_text, shown


def phantom(
    *,
    out: Path,
    scans: int = 20,
    seed: int = 0,
    prevalence: float = 0.5,
    confounders: float = 0.0,
    small: float = 0.0,
    site: tuple[str, ...] = (),
    json: bool = False,
) -> None:
    """Writes synthetic head CT with all five subtypes of bleeds, as DICOM series with masks and labels.

    Args:
      out: Folder to write. Give it to ``prepare --dataset phantom --source``.
      scans: Number of scans. A training that learns something needs 100 or more.
      seed: Seed of everything random. The same seed gives the same files.
      prevalence: Share of the scans that have a bleed, from 0 to 1.
      confounders: Chance, from 0 to 1, that a scan has each of the findings that resemble a bleed or hide one:
        calcification, fracture, old infarct, metal, motion and others. Raise it for a harder test.
      small: Share of the bleeds that are small, 0.1 to 4 ml, from 0 to 1. Raise it for a harder test.
      site: Names of the hospitals to imitate, of alder, birch, cedar, dogwood, elm, rsna2019 and fir. By default the
        first five. Rsna2019 imitates the headers of the RSNA 2019 challenge. The scanner and the patients of fir lie
        outside the range of the others: hold it out of training to measure on another style.
      json: Print one JSON object in place of text.
    """
    from ichformer.ct.phantom.cohort import write_phantom_cohort

    written = write_phantom_cohort(
        out, scans=scans, seed=seed, sites=site or None, prevalence=prevalence, confounders=confounders, small=small
    )
    folder = shown(written)
    text = f"{folder}: {scans} scans; studies.csv has their paths and labels, contents.csv what is in each"
    print_result({"cohort": path_text(written), "scans": scans}, text, as_json=json)
