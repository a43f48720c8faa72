"""The settings of a node: one file, in which nothing is believed that is not known."""

from pathlib import Path

import pytest

from ichformer.errors import InputError
from ichformer.serving.settings import read_settings
from tests.typecheck import unchecked

WHOLE = """
out = "node"
[listen]
aet = "NODE"
allowed_aets = ["CT1", "CT2"]
allowed_addresses = ["10.0.0.0/24", "::1"]
[study]
quiet_s = 3
[[send]]
kind = "dicomweb"
url = "https://pacs/dicom-web"
[[send]]
kind = "hl7"
host = "broker"
port = 2575
[[pull]]
kind = "dicom"
aet = "PACS"
host = "pacs"
port = 104
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "node.toml"
    file.write_text(text)
    return file


def test_a_file_is_read_and_options_take_the_place_of_its_values(tmp_path):
    with unchecked():
        found = read_settings(written(tmp_path, WHOLE), {"out": "other", "listen": {"port": 104}})
    assert (found.out, found.listen.aet, found.listen.port, found.study.quiet_s) == ("other", "NODE", 104, 3)
    assert found.listen.allowed_aets == ("CT1", "CT2")
    assert [one.name for one in found.send] == ["dicomweb https://pacs/dicom-web", "hl7 broker:2575"]
    assert found.pull[0].kind == "dicom"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("out = 'node'\n[listn]\naet='A'", "perhaps you meant listen"),
        ("out = 'node'\n[listen]\nprot = 1", "perhaps you meant port"),
        ("out = 'node'\n[listen]\nport = 'eleven'", "take a whole number"),
        ("out = 'node'\n[listen]\naet = 'A TITLE THAT IS TOO LONG'", "is no AE title"),
        ("out = 'node'\n[listen]\nallowed_addresses = ['10.0.0.300']", "addresses or networks"),
        ("out = 'node'\n[listen]\ntls_key = 'key.pem'", "give both"),
        ("out = 'node'\n[study]\nquiet_s = 60\ncut_short_s = 5", "at least quiet_s"),
        ("out = 'node'\n[[send]]\nurl = 'https://pacs'", "kind is missing"),
        ("out = 'node'\n[[send]]\nkind = 'fax'", "'dicomweb' or 'dicom'"),
        ("out = 'node'\n[[send]]\nkind = 'dicomweb'\nurl = 'ftp://pacs'", "needs a url"),
        ("out = 'node'\n[send]\nkind = 'dicomweb'", "is not a list"),
        ("out = 'node'\n" + 2 * "[[send]]\nkind = 'dicomweb'\nurl = 'http://a'\n", "named twice"),
        ("[listen]\nport = 1", "name a folder"),
        ("out = [", "is not TOML"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path, text, said):
    with unchecked(), pytest.raises(InputError, match=said) as error:
        read_settings(written(tmp_path, text), {})
    assert "\n" not in str(error.value)
