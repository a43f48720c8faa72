import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.full(minutes=4)
def test_a_pretraining_loses_half_of_its_devices_and_ends_as_an_exported_classifier(tmp_path):
    """The script asserts each stage itself, and the losses."""
    command = [sys.executable, ROOT / "experiments" / "dress_rehearsal.py", tmp_path / "work"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr
    assert "killed: killed" in done.stdout
    assert "exported: opens" in done.stdout
