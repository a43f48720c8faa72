import ast
import json
import pathlib

import numpy as np
import pytest

import ichformer.ct
from ichformer.ct.audit import AUDIT_CODES, Audit, Note
from ichformer.ct.volume import Volume
from ichformer.errors import InputError


def test_an_audit_survives_json():
    audit = Audit(kernel="H31", steps_mm=(4.0, 7.0), missing_slices=1, tilt_deg=18.5).with_note("tilt", "leans")
    back = Audit.from_json(json.loads(json.dumps(audit.to_json())))
    assert np.isnan(back.thickness_mm)
    assert back.to_json() == audit.to_json()
    assert back.notes == (Note(code="tilt", text="leans"),)
    assert str(back.notes[0]) == "tilt: leans"
    assert Audit.from_json(Audit(thickness_mm=5.0).to_json()) == Audit(thickness_mm=5.0)


def test_codes_without_a_meaning_are_refused():
    with pytest.raises(ValueError, match="not documented"):
        Note(code="odd", text="")


def test_every_documented_code_is_used_somewhere():
    sources = list(pathlib.Path(ichformer.ct.__file__).parent.rglob("*.py"))
    words = {
        node.value
        for source in sources
        if source.name != "audit.py"
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(AUDIT_CODES) <= words


def test_a_volume_checks_what_it_is_made_of():
    parts = {
        "hu": np.zeros((3, 4, 4), np.int16),
        "spacing_mm": (5.0, 1.0, 1.0),
        "affine": np.eye(4),
        "source": ("a", "b", "c"),
    }
    for wrong, match in (
        ({"source": ("a",)}, "found 1 for 3 slices"),
        ({"spacing_mm": (0.0, 1.0, 1.0)}, "three positive"),
        ({"affine": np.full((4, 4), np.nan)}, "finite"),
        ({"audit": Audit(steps_mm=(1.0,))}, "1 steps between 3 slices"),
    ):
        with pytest.raises(InputError, match=match):
            Volume(**{**parts, **wrong})


def test_audits_of_before_age_and_sex_were_read_are_read():
    values = Audit(thickness_mm=5.0).to_json()
    del values["age_years"], values["sex"]
    found = Audit.from_json(values)
    assert (found.sex, found.age_years, found.thickness_mm) == ("", None, 5.0)
