"""``ichformer scrub``."""

import sys
from pathlib import Path

from ichformer.cli.printing import print_result
from ichformer.errors import InputError


def scrub(
    folder: Path,
    /,
    *,
    check: bool = False,
    out: Path | None = None,
    patient_key: Path | None = None,
    json: bool = False,
) -> None:
    """Says what a copy of a store, a run or a folder of reports would disclose, or makes a copy without it.

    It looks for the key of the pseudonyms, names that are not pseudonyms, UIDs, file names, dates, free text of
    headers, paths of this machine and addresses. The exit code is 0 if nothing was found, or if nothing is left in the
    copy; 1 if something was; 2 for bad input. The folder itself is never changed.

    Args:
      folder: Folder of a store or of a run, or any other folder that ichformer wrote.
      check: Only say what would be disclosed.
      out: Folder for the copy.
      patient_key: With --out, the file patient.key that pseudonyms are made with. By default it is the one in the
        folder, or else a new key that is not kept.
      json: Print one JSON object in place of text.
    """
    from ichformer.privacy.disclosure import find_disclosures, format_disclosures

    if check == (out is not None):
        raise InputError("give one of --check and --out", where="scrub", fix=f"ichformer scrub {folder} --check")
    if out is None:
        if patient_key is not None:
            raise InputError("goes with --out", where="--patient-key", fix="leave it out")
        found = find_disclosures(folder)
    else:
        from ichformer.privacy.scrub import scrub as copy

        found = copy(folder, out, patient_key=patient_key)
    print_result({"disclosed": [one.to_json() for one in found]}, format_disclosures(found), as_json=json)
    if found:
        sys.exit(1)
