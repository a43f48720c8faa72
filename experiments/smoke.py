"""Smoke run: cohort, store, four steps, a second process that finds nothing left to do.

Claim: the way from DICOM to a trained run works on this machine. It says nothing about accuracy.
Cost: under a minute on 2 CPU cores.
Command: python experiments/smoke.py
Expected: one line with a finite loss; then "resumed: nothing left to do".
"""

import tempfile
from pathlib import Path

from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.testing import tiny_cohort
from ichformer.training.config import DataConfig, ModelConfig, TrainConfig
from ichformer.training.trainer import train
from ichformer.workflows.prepare_cohort import prepare


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny_cohort(folder / "cohort", scans=16)
        prepared = prepare(
            "phantom", source=folder / "cohort", out=folder / "store", config=PrepareConfig(size=64), workers=1
        )
        config = TrainConfig(
            data=DataConfig(store=str(prepared.store.path), num_slices=8),
            model=ModelConfig(name="slice_vit_nano"),
            steps=4,
        )
        print(f"loss {train(config, folder / 'run')['loss']:.3f}")
        print("resumed: nothing left to do" if not train(config, folder / "run") else "resumed: trained again?")


if __name__ == "__main__":
    main()
