"""``ichformer inspect``."""

from pathlib import Path

from ichformer.cli.printing import print_result
from ichformer.errors import InputError, one_line
from ichformer.faults import Fault
from ichformer.files.writing import appearing_whole, shown


def inspect(
    path: Path,
    /,
    *,
    window: tuple[float, float] | None = None,
    json: bool = False,
    sheet: Path | None = None,
) -> None:
    """Says which scans a folder holds, and what is unusual about them.

    Args:
      path: The scan or the folder of scans: DICOM (a folder, a file, a zip or tar, a DICOMDIR), a NIfTI file or
        pictures.
      window: The HU that are black and white in display pictures (PNG, JPEG, TIFF), such as 0 80. By default they are
        estimated from the pictures. Give them where you know them.
      json: Print one JSON object in place of text.
      sheet: Also draw the slices of one series into this PNG file. It is the series that ``predict`` would choose, or
        else the first one that can be read.
    """
    from ichformer.ct.contact_sheet import contact_sheet
    from ichformer.ct.inspect import format_inspection, inspect_found
    from ichformer.ct.io.scans import find_scans, read_volume

    scans = find_scans(path)
    found = inspect_found(scans, window_hu=window)
    text = format_inspection(found)
    if sheet is not None:
        pairs = zip(scans.series, found["series"], strict=True)
        readable = [(facts["choice"].startswith("chosen"), s) for s, facts in pairs if facts["shape"] is not None]
        if not readable:
            raise InputError("holds no readable series to draw", where=path, fix="see the warnings without --sheet")
        _, drawn = max(readable, key=lambda each: each[0])
        with appearing_whole(sheet) as file:
            contact_sheet(read_volume(drawn, window_hu=window)).save(file, format="PNG")
        text += f"\nsheet: {shown(sheet)} shows {one_line(drawn.path, max_chars=400)}"
        text += f", one of {len(scans.series)} series\n" if len(scans.series) > 1 else "\n"
    print_result(found, text, as_json=json)
    if failed := [note for series in found["series"] for note in series["warnings"] if note.startswith("failed: ")]:
        raise Fault(f"{len(failed)} of {len(found['series'])} series could not be read; the first: {failed[0]}")
