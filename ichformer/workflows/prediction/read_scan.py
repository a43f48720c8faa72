"""A scan read and prepared for a model: the part of a prediction that needs no model, for this process or another."""

import time
from dataclasses import dataclass, replace

import pydicom

from ichformer.ct.anatomy.brain import brain_mask
from ichformer.ct.anatomy.coverage import note_head
from ichformer.ct.fingerprint import fingerprint
from ichformer.ct.io.archives import open_file
from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.ct.io.dicom.series import Series
from ichformer.ct.io.display import WindowHU
from ichformer.ct.io.scans import Scan, read_volume
from ichformer.ct.known_words import without_free_text
from ichformer.ct.volume import Volume
from ichformer.errors import InputError, one_line
from ichformer.evaluation.scorable import Reason, why_not_scored
from ichformer.faults import Fault, explain_failure
from ichformer.lesions.midline import Midline, find_midline
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.recipe import even_volume, prepare_volume
from ichformer.reporting.scan.outputs import series_key
from ichformer.reporting.scan.sources import state_of_files

_IDENTITY_TAGS = {"Name": "PatientName", "Birth date": "PatientBirthDate", "ID": "PatientID", "Study date": "StudyDate"}


@dataclass(frozen=True, kw_only=True)
class ScanTask:
    """One series to read.

    Attributes:
      number: its place among the series that were found, from 1.
      scan: the series.
      config: how it is prepared.
      window_hu: for display pictures, the HU of black and of white.
      with_identity: whether the header is asked for the patient.
      with_midline: whether the midline is searched, for models with a lesion map.
    """

    number: int
    scan: Scan
    config: PrepareConfig
    window_hu: WindowHU | None
    with_identity: bool
    with_midline: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadScan:
    """A series that was read.

    Attributes:
      volume: the slices as the report shows them.
      prepared: the slices as the model sees them.
      not_scored: why it must not be scored; None where it may be.
      key: of the series.
      pixels: ``ct.fingerprint`` of the scan as it was read.
      state: of its files, before they were read (``sources.state_of_files``).
      identity: what the header says of the patient; empty unless it was asked for.
      midline: of ``volume``; None where it was not asked for.
      seconds: that it took.
    """

    volume: Volume
    prepared: Volume
    not_scored: Reason | None
    key: str
    pixels: str
    state: str
    identity: dict[str, str]
    midline: Midline | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a series cannot be predicted: a code of ``results.LEFT_OUT_CODES``, and the error in words."""

    code: str
    error: InputError | Fault


def explained(error: Exception, scan: Scan) -> Failure:
    """The failure of a series, whatever exception it was."""
    said = explain_failure(error, where=scan.path)
    code = "failed" if isinstance(said, Fault) else "unreadable" if said is error else "no_memory"
    return Failure(code=code, error=said)


def read_scan(task: ScanTask) -> ReadScan | Failure:
    """Read one series and prepare it; whatever goes wrong with it comes back, so that the others are read."""
    started = time.perf_counter()
    try:
        state = state_of_files(task.scan)
        volume = read_volume(task.scan, missing=task.config.missing, window_hu=task.window_hu)
        key, pixels = series_key(task.scan, volume), fingerprint(volume.hu)
        brain = brain_mask(volume)
        volume = note_head(volume, brain)
        volume = replace(volume, audit=without_free_text(volume.audit))
        shown = even_volume(volume, task.config)
        prepared = prepare_volume(shown, task.config, brain if shown is volume else None)
        return ReadScan(
            volume=shown,
            prepared=prepared,
            not_scored=why_not_scored(prepared, task.config),
            key=key,
            pixels=pixels,
            state=state,
            identity=_identity(task.scan) if task.with_identity else {},
            midline=find_midline(shown, brain if shown is volume else brain_mask(shown)) if task.with_midline else None,
            seconds=time.perf_counter() - started,
        )
    except Exception as error:  # one series must not stop a night's work, whatever a library makes of it
        return explained(error, task.scan)


def _identity(series: Scan) -> dict[str, str]:
    if not isinstance(series, Series):
        return dict.fromkeys(_IDENTITY_TAGS, "not given")
    with quiet_pydicom(), open_file(series.files[0]) as file:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_IDENTITY_TAGS.values()), force=True)
        found = {name: one_line(header.get(tag) or "") for name, tag in _IDENTITY_TAGS.items()}
    return {name: value or "not given" for name, value in found.items()}
