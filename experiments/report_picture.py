"""The picture of a report that the README shows: a synthetic scan, scored by the weights that come with ichformer.

  python -m experiments.report_picture docs/report.png

It needs Chromium, takes a minute, and gives the same scan each time.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from ichformer.ct.phantom import SITES, make_phantom
from ichformer.ct.phantom.write import write_series
from ichformer.workflows.predict_scans import predict

SEED, SITE, SUBTYPES = 4, "birch", ("intraparenchymal", "intraventricular")
WIDTH_PX, HEIGHT_PX = 1280, 930
WAIT_MS = 8000  # of the page's own clock, so that all slices are there


def draw(picture: Path) -> None:
    """Writes the PNG."""
    with tempfile.TemporaryDirectory() as place:
        scan = Path(place) / "scan"
        phantom = make_phantom(SEED, site=SITES[SITE], subtypes=SUBTYPES)
        write_series(phantom, scan, patient="phantom", name="phantom", study="2.25.1", series="2.25.2")
        predict(scan, out=Path(place) / "out", progress=False)
        subprocess.run(
            [
                "chromium",
                *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *(f"--user-data-dir={place}/profile", f"--window-size={WIDTH_PX},{HEIGHT_PX}"),
                *(f"--virtual-time-budget={WAIT_MS}", f"--screenshot={picture.absolute()}"),
                next(Path(place).rglob("report.html")).as_uri(),
            ],
            check=True,
            capture_output=True,
        )


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
