"""A number that no training can take is refused before anything is opened, under the name of its option."""

import pytest

from ichformer.errors import InputError
from ichformer.training.config import DataConfig, ModelConfig, TrainConfig


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        (ModelConfig, "dropout", 1.0),
        (ModelConfig, "drop_path", -0.1),
        (DataConfig, "batch_size", 0),
        (DataConfig, "num_slices", 0),
        (DataConfig, "num_workers", -1),
        (TrainConfig, "seed", -1),
        (TrainConfig, "seed", 2**31),
        (TrainConfig, "ema_decay", 1.0),
        (TrainConfig, "spike_factor", 0.5),
        (TrainConfig, "log_every", 0),
        (TrainConfig, "profile", (3, 2)),
    ],
)
def test_a_number_out_of_range(config, name, value):
    prefix = {ModelConfig: "model.", DataConfig: "data.", TrainConfig: ""}[config]
    needed = {DataConfig: {"store": "store"}, TrainConfig: {"data": DataConfig(store="store")}}.get(config, {})
    with pytest.raises(InputError, match="out of range; take") as error:
        config(**needed, **{name: value})
    assert error.value.where == f"--{prefix}{name.replace('_', '-')}"


def test_patience_needs_validation():
    data = DataConfig(store="store")
    with pytest.raises(InputError, match="--patience-steps: 5 is out of range; take 0, or at least --evaluate-every"):
        TrainConfig(data=data, patience_steps=5)
    TrainConfig(data=data, patience_steps=5, evaluate_every=5)
