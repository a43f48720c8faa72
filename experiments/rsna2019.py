"""hybrid_s on RSNA 2019, one network end to end.

Claim: none yet. It has not been run: the data set cannot be had where this was written.
Cost: not measured.
Command: ichformer prepare --dataset rsna2019 --source RSNA --out STORE && python experiments/rsna2019.py STORE RUN
Expected: to stand beside the best single model of the 2nd place, weighted log loss 0.046 (private leaderboard).
"""

import sys
from pathlib import Path

from ichformer.training.config import DataConfig, ModelConfig, ObjectiveConfig, OptimConfig, TrainConfig
from ichformer.training.process import own_process
from ichformer.workflows.train_run import train_and_freeze


def config(store: str) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(store=store, batch_size=16, num_slices=40, num_workers=8),
        model=ModelConfig(name="hybrid_s", compute_dtype="bfloat16", dropout=0.1),
        objective=ObjectiveConfig(windows=("brain", "subdural", "bone")),
        optim=OptimConfig(learning_rate=5e-4, warmup_steps=1000, b2=0.999),
        steps=30_000,
        ema_decay=0.999,
        checkpoint_every=1000,
        log_every=100,
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python experiments/rsna2019.py STORE RUN")
    told = config(sys.argv[1])
    own_process(told.parallel)
    train_and_freeze(told, Path(sys.argv[2]))
