"""Fingerprints of what a training step computes: the SHA-256 of its StableHLO, for one small model of each family.

Claim: a change that only moves code leaves every line as it was.
Cost: a minute on one core; nothing is compiled.
Command: JAX_PLATFORMS=cpu python -m experiments.fingerprints > before.txt, then the same at the other commit and diff.
Expected: the same lines at both commits, with one version of JAX. What has to differ is said in the commit's message.
"""

import hashlib
from typing import Any

import jax

from ichformer.bench.train import noise_batch
from ichformer.models.registry import registered_models
from ichformer.training.assembled import compiled_step
from ichformer.training.build import build_objective
from ichformer.training.config import DataConfig, ModelConfig, ObjectiveConfig, OptimConfig, TrainConfig
from ichformer.training.runs.run import initial_state
from ichformer.training.sharding.parallel import make_mesh

SCANS, SLICES, SIZE = 2, 4, 64


def main() -> None:
    """Prints a line for each model, and more for the objectives without labels and for Muon."""
    print(f"jax {jax.__version__}")
    for name in (name for name in registered_models() if name.endswith("_nano")):
        print(f"{fingerprint(model=ModelConfig(name=name))}  {name}")
    without_labels = {"slice_vit_nano": "mae", "vit3d_nano": "mae", "swin3d_nano": "simmim", "hybrid_nano": "spark"}
    for name, objective in without_labels.items():
        settings = {"model": ModelConfig(name=name), "objective": ObjectiveConfig(name=objective)}
        print(f"{fingerprint(**settings)}  {name}, {objective}")
    muon = OptimConfig(name="muon")
    print(f"{fingerprint(model=ModelConfig(name='hybrid_nano'), optim=muon)}  hybrid_nano, muon")


def fingerprint(**settings: Any) -> str:
    """The SHA-256 of the StableHLO of a training step with these settings, without names of files and lines."""
    data = DataConfig(store="", batch_size=SCANS, num_slices=SLICES)
    config = TrainConfig(data=data, ema_decay=0.99, **settings)
    objective = build_objective(config)
    state = jax.eval_shape(lambda: initial_state(objective, config, SIZE))
    batch, rng = noise_batch(SCANS, SLICES, SIZE), jax.random.key(0)
    compiled: Any = compiled_step(config, objective, state, make_mesh(config.parallel))
    lowered = compiled.lower(state, batch, rng).as_text()
    return hashlib.sha256(lowered.encode()).hexdigest()


if __name__ == "__main__":
    main()
