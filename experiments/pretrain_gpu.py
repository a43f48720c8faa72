"""slice_vit_b as a masked autoencoder on one GPU, and what its features tell before and after.

Any prepared store will do, labelled or not; the probe at the end needs labels in "train" and "test".

Claim: none yet. It has not been run: no GPU was at hand.
Cost: not measured. The memory is what `ichformer bench train` says of a supervised step, or less, as the encoder sees a
fourth of the patches.
Command: ichformer prepare --dataset rsna2019 --source RSNA --out STORE && python experiments/pretrain_gpu.py STORE RUN
Expected: a line of --probe-every for every 5000 steps in RUN/metrics.jsonl, and at the end the AUROC of "any" with 1,
5, 10 and 100 % of the labels. A classifier then starts from it:
  ichformer train --data.store STORE --model.name slice_vit_b --init-from RUN --out TUNED

With less memory, set `accumulate` to 2 or more; the result stays the same.
"""

import sys
from pathlib import Path

import ichformer as ich
from ichformer.training.config import DataConfig, ModelConfig, ObjectiveConfig, OptimConfig, ParallelConfig, TrainConfig
from ichformer.training.process import own_process
from ichformer.training.trainer import run_training


def config(store: str) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(store=store, batch_size=64, num_slices=16, num_workers=8),
        model=ModelConfig(name="slice_vit_b", compute_dtype="bfloat16"),
        objective=ObjectiveConfig(name="mae", mask_ratio=0.75),
        optim=OptimConfig(learning_rate=3e-4, warmup_steps=2000, b2=0.95),
        parallel=ParallelConfig(accumulate=1),
        steps=50_000,
        ema_decay=0.999,
        probe_every=5000,
        checkpoint_every=1000,
        log_every=100,
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python experiments/pretrain_gpu.py STORE RUN")
    told, run = config(sys.argv[1]), Path(sys.argv[2])
    own_process(told.parallel)
    run_training(told, run)
    print(ich.probe(ich.open_run(run), told.data.store, label="any", out=run / "probe"))
