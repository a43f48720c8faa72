"""``ichformer follow-up``."""

from pathlib import Path

from ichformer.cli.printing import print_result
from ichformer.files.writing import shown


def follow_up(
    earlier: Path,
    later: Path,
    /,
    *,
    out: Path,
    run: Path = Path("default"),
    dicom: bool = False,
    json: bool = False,
) -> None:
    """Compares two scans of a patient: how much bleeds grew, which are new and which are gone. Research use only.

    Both are scored as `ichformer predict` does it, and the heads are laid over each other. The folder gets
    follow_up.html, with tables and the slices of both scans side by side, and follow_up.json. Neither names a person.
    It needs a run that measures lesions, and the extra "clinic". Example:

    ichformer follow-up monday/ tuesday/ --out follow_up

    Args:
      earlier: The earlier scan: DICOM (a folder, a file, a zip or tar), a NIfTI file or pictures.
      later: The later scan. A wrong order is refused where the headers tell the times.
      out: Folder for what is written.
      run: Folder of a run or of an ensemble. The word default stands for the weights that come with ichformer.
      dicom: Write follow_up.dcm too, a structured report of the later study that refers to both. It has the patient's
        identity as the later series has it. It needs DICOM with one file a slice, of one PatientID.
      json: Print one JSON object in place of text.
    """
    from ichformer.reporting.follow_up.terminal import format_follow_up
    from ichformer.training.process import own_process
    from ichformer.workflows.follow_up.compare_scans import follow_up as compare_two

    own_process()
    result = compare_two(earlier, later, out=out, run=run, dicom=dicom)
    text = "\n".join([format_follow_up(result.compared), shown(result.page), "Research use only. Not for diagnosis."])
    print_result(result.to_json(), text, as_json=json)
