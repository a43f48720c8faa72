"""What nibabel repairs in a header stands in the audit and nowhere else; what libraries print, no command shows."""

import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from ichformer.ct.io.nifti import read_nifti
from ichformer.process.quiet import collected_log
from tests.ct.io.test_nifti import head, noted, write


@pytest.mark.parametrize(
    ("offset", "value", "said"),
    [
        (0, np.int32(999), "sizeof_hdr should be 348; set sizeof_hdr to 348"),
        (80, np.float32(-0.5), "pixdim[1,2,3] should be positive; setting to abs of pixdim values"),
        (252, np.int16(99), "qform_code 99 not valid; setting to 0"),
    ],
)
def test_a_repaired_header_is_a_note_and_no_line_on_standard_error(tmp_path, capfd, offset, value, said):
    path = tmp_path / "a.nii"
    write(path, head())
    whole = read_nifti(path)
    data = bytearray(path.read_bytes())
    data[offset : offset + value.nbytes] = value.tobytes()
    path.write_bytes(data)
    volume = read_nifti(path)
    assert noted(volume)["header_repaired"] == said
    assert "header_repaired" not in noted(whole)
    np.testing.assert_array_equal(volume.hu, whole.hu)
    assert volume.spacing_mm == whole.spacing_mm
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("code", [255, 7, 0x40])
def test_a_unit_that_does_not_exist_is_an_unknown_one(tmp_path, code):
    write(tmp_path / "a.nii", head())
    write(tmp_path / "b.nii", head(), xyzt_units=code)
    assert read_nifti(tmp_path / "b.nii").spacing_mm == read_nifti(tmp_path / "a.nii").spacing_mm


def test_nibabel_speaks_to_others_as_before(caplog):
    logger = nib.imageglobals.logger
    before = logger.handlers[:], logger.propagate, logger.level
    with collected_log("nibabel.global") as said:
        logger.warning("odd\x1b[31m")
        logger.warning("odd\x1b[31m")
        logger.info("a detail")
    assert said == ["odd\\x1b[31m"]
    assert (logger.handlers, logger.propagate, logger.level) == before


QUIET = """
import logging, warnings
from ichformer.process.quiet import quiet_command
quiet_command()
import os, subprocess, sys
code = "import warnings; warnings.warn('numpy says', RuntimeWarning)"
warnings.warn("matplotlib says", UserWarning)
subprocess.run([sys.executable, "-c", code])
for name in ("PIL.TiffImagePlugin", "matplotlib.font_manager", "nibabel.global", "pydicom"):
    logging.getLogger(name).warning("oddity")
logging.getLogger("jax").warning("no GPU")
"""


def test_a_command_shows_no_warnings_of_libraries_unless_asked_to():
    def said(*options: str, **environment: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"} | environment
        command = [sys.executable, *options, "-c", QUIET]
        return subprocess.run(command, capture_output=True, text=True, env=environment).stderr

    assert said() == "no GPU\n"
    for asked in (said("-W", "default"), said(PYTHONWARNINGS="default")):
        assert "UserWarning: matplotlib says" in asked
