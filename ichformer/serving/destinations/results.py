"""The results of a study as destinations take them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.files.json_files import read_json
from ichformer.reporting.scan.outputs import DICOM_SUFFIX, NUMBERS_NAME

REPORT_OBJECT = f"report{DICOM_SUFFIX}"


class NotSentError(Exception):
    """Results did not arrive. The text is for logs: it holds no header text, and nothing that the peer said."""


@dataclass(frozen=True)
class Results:
    """What was made of a round of a study.

    Attributes:
      study: its name in the node.
      folder: holds a folder for each series that was predicted.
    """

    study: str
    folder: Path

    @cached_property
    def series(self) -> tuple[Path, ...]:
        """The folder of each series."""
        return tuple(sorted(one.parent for one in self.folder.glob(f"*/{NUMBERS_NAME}")))

    def numbers(self, series: Path) -> dict[str, Any]:
        """What stands in ``prediction.json``."""
        return read_json(series / NUMBERS_NAME, dict, fix="score the study again")

    def objects(self) -> list[Dataset]:
        """All DICOM objects, reports last: whoever sees a report finds what it refers to."""
        files = [file for series in self.series for file in sorted(series.glob(f"*{DICOM_SUFFIX}"))]
        with quiet_pydicom():
            return [pydicom.dcmread(file) for file in sorted(files, key=lambda file: file.name == REPORT_OBJECT)]

    def report(self, series: Path) -> Dataset:
        """The structured report of a series."""
        with quiet_pydicom():
            return pydicom.dcmread(series / REPORT_OBJECT)
