"""A processing module for the DICOM gateway mercure: the results of all head CT in one folder, written into another.

mercure starts the container for each series or study, with the files in MERCURE_IN_DIR. It sends on what lies in
MERCURE_OUT_DIR afterwards, and keeps result.json, from which it notifies people. Any gateway that hands over two
folders works alike. ICHFORMER_RUN names another run than the weights that come with ichformer.

Exit code 0: every head CT was predicted, scored or not. 2: some could not be read, and result.json says which; 1: a
fault of ichformer.
Research use only. Not for diagnosis.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import ichformer as ich
from ichformer.errors import InputError
from ichformer.faults import Fault
from ichformer.files.writing import write_text


def main() -> int:
    given, out = (Path(os.environ[name]) for name in ("MERCURE_IN_DIR", "MERCURE_OUT_DIR"))
    run = os.environ.get("ICHFORMER_RUN", "default")
    try:
        with tempfile.TemporaryDirectory() as work:
            found = ich.predict(given, out=work, run=run, report=False, dicom=True, progress=False)
            scans = [one.values for one in found.series]
            for one in found.series:
                for file in one.folder.glob("*.dcm"):
                    shutil.copyfile(file, out / f"{one.folder.name}_{file.name}")
        failed = [str(one.text) for one in found.left_out if one.code in ("unreadable", "no_memory", "failed")]
        code = 2 if failed else 0
    except (InputError, Fault) as error:
        scans, failed = [], [str(error)]
        code = 1 if isinstance(error, Fault) else 2
    write_text(json.dumps(result(scans, failed), indent=1, allow_nan=False) + "\n", out / "result.json")
    for text in failed:
        print(f"ichformer: error: {text}", file=sys.stderr)
    return code


def result(scans: list[dict[str, Any]], failed: list[str]) -> dict[str, Any]:
    """What mercure keeps; somebody is notified where a scan is raised, not scored or not read, or none is there."""
    raised = [label for scan in scans for label, is_raised in scan["positive"].items() if is_raised]
    not_scored = sum(not scan["scored"] for scan in scans)
    said = f"raised: {', '.join(dict.fromkeys(raised)) or 'nothing'}; not scored: {not_scored}; not read: {len(failed)}"
    return {
        "notice": "Research use only. Not for diagnosis.",
        "scans": [
            {name: scan.get(name) for name in ("key", "scored", "reason", "scan", "positive", "ml", "remarks")}
            for scan in scans
        ],
        "not_read": failed,
        "__mercure_notification": {
            "text": f"ichformer, research use only. {len(scans)} scans; {said}",
            "requested": bool(raised or not_scored or failed or not scans),
        },
    }


if __name__ == "__main__":
    sys.exit(main())
