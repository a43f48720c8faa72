"""What a folder holds and what is unusual about it, as plain values and as text for a terminal."""

from typing import Any

from ichformer.ct.anatomy.coverage import note_head
from ichformer.ct.audit import Note
from ichformer.ct.io.dicom.series import Series
from ichformer.ct.io.display import WindowHU
from ichformer.ct.io.found import Found, nothing_found
from ichformer.ct.io.scans import Scan, read_volume
from ichformer.ct.selection import choices
from ichformer.errors import InputError, one_line
from ichformer.faults import Fault, explain_failure


def inspect_found(found: Found[Scan], *, window_hu: WindowHU | None = None) -> dict[str, Any]:
    """Read every series that ``find_scans`` found and report what is in it, as plain values for JSON.

    Args:
      found: of ``find_scans``.
      window_hu: for display pictures, the HU that black and white stand for; estimated where None.

    Returns:
      ``{"series": [...], "set_aside": [...]}``. Each series has ``path, modality, n_slices, shape [S,H,W], spacing_mm
      [z,y,x], tilt_deg, missing_slices, hu_min, hu_max, kernel, description, warnings, choice``. A warning is ``"code:
      text"`` with the codes of ``AUDIT_CODES``. The choice is ``"chosen: why"`` for the one series of its study to
      look for blood in, else ``"code: text"`` with the codes of ``selection.REFUSAL_CODES``, or "" where there is
      nothing to choose by. A series that cannot be read has the warning ``unreadable: ...``, or ``failed: ...`` where
      that is a fault of ichformer, and None for what is unknown. Each file that was set aside has ``path`` and
      ``reason``, which is ``"code: text"`` with the codes of ``SET_ASIDE_CODES``.

    Raises:
      InputError: nothing readable is there.
      Fault: nothing could be read, and that is a fault of ours.
    """
    reports, said = [], choices(found)
    errors: list[InputError | Fault] = []
    for series in found.series:
        try:
            reports.append(_report(series, window_hu))
        except Exception as error:  # whatever happens to one series, the others are reported
            errors.append(explain_failure(error, where=series.path))
            code = "failed" if isinstance(errors[-1], Fault) else "unreadable"
            reports.append(_without_volume(series, Note(code=code, text=str(errors[-1]))))
        reports[-1]["choice"] = one_line(said[series]) if isinstance(series, Series) else ""
    if len(errors) == len(found.series):
        _refuse(found, errors)
    return {
        "series": reports,
        "set_aside": [{"path": one_line(file.path, max_chars=400), "reason": str(file)} for file in found.set_aside],
    }


def format_inspection(inspection: dict[str, Any]) -> str:
    """The result of ``inspect_found`` as text for a terminal: a block for each series, reasons counted."""
    lines = []
    for series in inspection["series"]:
        what = " ".join(part for part in (series["modality"], series["description"]) if part)
        lines.append(f"{series['path']}{'  ' + what if what else ''}")
        facts: list[tuple[str, str]] = [("slices", str(series["n_slices"]))]
        if series["shape"] is not None:
            z, y, x = series["spacing_mm"]
            facts = [
                ("grid", "{} slices of {} x {}".format(*series["shape"])),
                ("spacing", f"{z:.3f} mm between slices, {y:.3f} x {x:.3f} mm in them"),
                ("tilt", f"{series['tilt_deg']:.1f} degrees"),
                ("missing", f"{series['missing_slices']} slices"),
                ("range", f"{series['hu_min']} to {series['hu_max']} HU"),
                ("kernel", series["kernel"] or "not given"),
            ]
        if series["choice"]:
            facts.append(("choice", series["choice"]))
        lines += [f"  {name:<8} {value}" for name, value in facts]
        lines += [f"  {'note' if i == 0 else '':<8} {warning}" for i, warning in enumerate(series["warnings"])]
        lines.append("")
    reasons: dict[str, int] = {}
    for file in inspection["set_aside"]:
        reasons[file["reason"]] = reasons.get(file["reason"], 0) + 1
    if reasons:
        lines.append(f"set aside: {sum(reasons.values())} files")
        lines += [f"  {count:>4} x  {reason}" for reason, count in reasons.items()]
    return "\n".join(lines).rstrip() + "\n"


def _report(series: Scan, window_hu: WindowHU | None) -> dict[str, Any]:
    volume = note_head(read_volume(series, window_hu=window_hu))
    return {
        "path": one_line(series.path, max_chars=400),
        "modality": volume.audit.modality,
        "n_slices": volume.hu.shape[0],
        "shape": list(volume.hu.shape),
        "spacing_mm": [round(spacing, 4) for spacing in volume.spacing_mm],
        "tilt_deg": volume.audit.tilt_deg,
        "missing_slices": volume.audit.missing_slices,
        "hu_min": int(volume.hu.min()),
        "hu_max": int(volume.hu.max()),
        "kernel": volume.audit.kernel,
        "description": volume.audit.description,
        "warnings": [str(note) for note in volume.audit.notes],
    }


def _without_volume(series: Scan, note: Note) -> dict[str, Any]:
    unknown = dict.fromkeys(("shape", "spacing_mm", "tilt_deg", "missing_slices", "hu_min", "hu_max"))
    return {
        "path": one_line(series.path, max_chars=400),
        "modality": series.modality,
        "n_slices": len(series.headers) if isinstance(series, Series) else len(series.files),
        **unknown,
        "kernel": series.kernel,
        "description": series.description,
        "warnings": [str(note)],
    }


def _refuse(found: Found[Scan], errors: list[InputError | Fault]) -> None:
    if len(errors) == 1:
        raise errors[0]
    if faults := [error for error in errors if isinstance(error, Fault)]:
        raise Fault(f"none of {len(errors)} series can be read; the first fault: {faults[0]}")
    if errors:
        raise InputError(
            f"none of {len(errors)} series can be read; the first: {errors[0]}",
            where=found.path,
            fix="correct or leave out what is named",
        )
    raise nothing_found(found)
