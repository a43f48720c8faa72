"""What torch itself writes is read without it."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ichformer.errors import InputError
from ichformer.models.weights.files import read_tensors

pytestmark = pytest.mark.full


@pytest.mark.parametrize("zipped", [True, False])
def test_state_dicts_as_torch_saves_them(tmp_path: Path, zipped: bool):
    base = torch.randn(6, 8)
    wanted = {
        "float": base,
        "view": base[1:5:2, ::3].T,
        "half": base.half(),
        "bfloat16": base.bfloat16(),
        "double": base.double(),
        "count": torch.tensor(7),
        "mask": base > 0,
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base),
        **torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)).state_dict(prefix="module."),
    }
    noise = {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": base}}, "lr": 1e-3}, "best": None, "names": ["a", "b"]}
    path = tmp_path / "weights.pth"
    torch.save({**noise, "state_dict": wanted}, path, _use_new_zipfile_serialization=zipped)
    found = read_tensors(path)
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        tensor = tensor.detach()
        kept = tensor.float().numpy() if tensor.is_floating_point() else tensor.numpy()
        np.testing.assert_array_equal(found[name], kept)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_module_is_refused(tmp_path: Path, zipped: bool):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match="only tensors are read; save the model's state_dict"):
        read_tensors(tmp_path / "module.pth")
