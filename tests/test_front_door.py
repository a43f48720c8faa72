"""``import ichformer as ich``: its public names, and that asking for one loads no more than it needs."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

import ichformer as ich
from ichformer.ct.audit import Audit


def test_every_public_name_is_there_and_documented():
    assert set(ich.__all__) <= set(dir(ich))
    for name in ich.__all__:
        value = getattr(ich, name)
        if callable(value):
            assert inspect.getdoc(value), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ich.nothing


def test_names_and_places_are_the_same_list():
    assert sorted(ich._PLACES) == sorted(name for name in ich.__all__ if name not in ("LABELS", "SUBTYPES"))


@pytest.mark.slow  # two processes
@pytest.mark.parametrize(("names", "not_loaded"), [("ich", {"numpy", "jax"}), ("ich.read_volume, ich.Volume", {"jax"})])
def test_a_name_loads_only_what_it_needs(names, not_loaded):
    code = f"import sys, ichformer as ich; {names}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not_loaded & set(done.stdout.split()) == set()


def test_a_volume_is_shown_as_two_lines_without_arrays_or_header_text():
    audit = Audit(description="JOHN DOE", tilt_deg=18.46, missing_slices=2).with_note("tilt", "of JOHN DOE")
    volume = ich.Volume(
        hu=np.full((3, 4, 5), 40, np.int16),
        spacing_mm=(5.0, 0.4883, 0.4883),
        affine=np.diag([0.4883, 0.4883, 5.0, 1.0]),
        source=("1.2.3", "1.2.4", "1.2.5"),
        audit=audit,
    )
    shown = repr(volume)
    assert len(shown.splitlines()) == 2
    assert shown == (
        "Volume: 3 slices of 4 x 5, 40 to 40 HU, 5 mm between slices, pixels of 0.488 x 0.488 mm\n"
        "        CT; tilt 18.5 degrees; 2 slices missing; notes: tilt"
    )
