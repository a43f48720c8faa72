"""The file with the thresholds of a lesion map."""

import json

import pytest

from ichformer.errors import InputError
from ichformer.lesions.frozen import FrozenLabel, FrozenLesions, frozen_values, read_frozen_lesions
from ichformer.lesions.volumes import VolumeClass

CLASSES = (
    VolumeClass(up_to_ml=0.0, n=30, low_factor=0.0, high_factor=1.5),
    VolumeClass(up_to_ml=None, n=3, low_factor=None, high_factor=None),
)
FROZEN = FrozenLesions(
    split="val",
    n_patients=40,
    labels=(FrozenLabel(label="any", threshold=0.45, dice=0.7, n=40, n_positive=20, volume_classes=CLASSES),),
    model="abc",
)


def test_what_is_written_is_read(tmp_path):
    file = tmp_path / "lesions.json"
    file.write_text(json.dumps(frozen_values(FROZEN)))
    assert read_frozen_lesions(file, model="abc") == FROZEN
    with pytest.raises(InputError, match="was made with other weights than this model has"):
        read_frozen_lesions(file, model="def")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "ichformer thresholds 1"}, "its format is 'ichformer thresholds 1'"),
        ({"labels": [{"label": "any", "threshold": 2}]}, "threshold"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, change, said):
    file = tmp_path / "lesions.json"
    file.write_text(json.dumps(frozen_values(FROZEN) | change))
    with pytest.raises(InputError, match=said) as refused:
        read_frozen_lesions(file)
    assert "chooses the thresholds of lesions again" in str(refused.value)
