"""Does each family learn as fast as the plain network that somebody would write in PyTorch?

Both are trained on the same batches of the same store for the same number of steps, with AdamW, the same schedule and
the same clip, and score every slice of the test split.

Claim: each family reaches its twin's AUROC of "any" by slice within 0.03, from nothing and from ImageNet's weights.
Cost: about four hours on two cores for all models and two seeds.
Command:
  ichformer phantom cohort --scans 320 --confounders 0.3 --small 0.25 --seed 21
  ichformer prepare --cohort phantom --source cohort --out store --size 112 --field-of-view-mm 208 --keep brain
  python -m experiments.learning store --out learning.csv
It needs: pip install -e '.[parity]'
Expected: one row for each model and seed, and for each model the mean of ours minus its twin's.
"""

import argparse
import tempfile
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

import ichformer as ich
from experiments.twins import TWINS
from ichformer.ct.windows import WINDOWS, apply_windows
from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.pipeline.batch import Batch
from ichformer.pipeline.buckets import padded_length
from ichformer.pipeline.loader import evaluation_batches, training_batches
from ichformer.pipeline.store.records import Store
from ichformer.training.config import OptimConfig
from ichformer.training.optimizer.optim import learning_rate

ANY = ich.LABELS.index("any")
NAMES = ("hu_20_40", "hu_40_60", "hu_60_80")
FLIPS = Augmentation(rotate_deg=0.0, scale=0.0, shift=0.0, noise_hu=0.0, offset_hu=0.0)
OPTIM = OptimConfig(learning_rate=1e-3, warmup_steps=30, b2=0.999, weight_decay=1e-4)
SCANS, SLICES = 8, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--models", nargs="+", choices=list(TWINS), default=list(TWINS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument(
        "--encoder-factor", type=float, help="of the rate of our encoder, and of the twin's with --frozen-norms"
    )
    parser.add_argument("--frozen-norms", action="store_true", help="the twin's batch norms keep their statistics")
    parser.add_argument("--out", type=Path, required=True, help="the table, to which rows are added")
    options = parser.parse_args()
    store = Store.open(options.store)
    for model in options.models:
        for seed in options.seeds:
            row = {"model": model, "seed": seed, "steps": options.steps}
            row |= {"encoder_factor": options.encoder_factor, "frozen_norms": options.frozen_norms}
            row["ours"] = ours(store, model, seed=seed, steps=options.steps, factor=options.encoder_factor)
            factor = (options.encoder_factor or 1.0) if options.frozen_norms else None
            row["twin"] = twin(store, model, seed=seed, steps=options.steps, frozen_factor=factor)
            pd.DataFrame([row]).to_csv(options.out, index=False, mode="a", header=not options.out.exists())
            print(row, flush=True)
    table = pd.read_csv(options.out).groupby(["model", "encoder_factor", "frozen_norms"], dropna=False)
    table = table[["ours", "twin"]].mean()
    print(table.assign(difference=table["ours"] - table["twin"]).round(3).to_string())


def ours(store: Store, model: str, *, seed: int, steps: int, factor: float | None) -> float:
    """AUROC of a model of this library, trained as anybody would."""
    settings = {"name": model, "pretrained": "imagenet" if "efficientnet" in model else ""}
    with tempfile.TemporaryDirectory() as folder:
        run = ich.train(
            store,
            out=Path(folder) / "run",
            model=settings,
            objective={"windows": NAMES},
            data={"batch_size": SCANS, "num_slices": SLICES, "augmentation": FLIPS},
            optim=vars(OPTIM) | {"encoder_factor": factor},
            steps=steps,
            seed=seed,
            ema_decay=0.0,
            progress=False,
        )
    assert run is not None
    objective, params = run.run.objective, run.run.params
    predict = jax.jit(lambda batch: objective.predict(params, batch).slice_logits[..., ANY])
    rows = store.rows("test")
    longest = padded_length(max(store.n_slices[row] for row in rows))
    scores, positive = [], []
    for batch in evaluation_batches(store, rows=rows, batch_size=1):
        real, rest = int(batch.slice_mask.sum()), longest - batch.hu.shape[1]
        # All scans as long as the longest, so that one program is compiled.
        batch = batch._replace(
            **{
                name: np.pad(getattr(batch, name), ((0, 0), (0, rest)) + ((0, 0),) * extra)
                for name, extra in (("hu", 2), ("slice_mask", 0), ("slice_labels", 1))
            }
        )
        scores.append(np.asarray(predict(batch))[0, :real])
        positive.append(batch.slice_labels[0, :real, ANY])
    return float(roc_auc_score(np.concatenate(positive), np.concatenate(scores)))


def twin(store: Store, model: str, *, seed: int, steps: int, frozen_factor: float | None) -> float:
    """AUROC of its twin in PyTorch, on the same batches.

    With a ``frozen_factor``, batch norms keep their statistics, and the encoder's learning rate has that factor.
    """
    torch.manual_seed(seed)
    network = TWINS[model](store.config["size"])
    imported = {id(parameter) for parameter in network.encoder.parameters()}
    groups = [[p for p in network.parameters() if (id(p) in imported) == inside] for inside in (True, False)]
    optimizer = torch.optim.AdamW(
        [{"params": group} for group in groups], lr=1.0, betas=(OPTIM.b1, OPTIM.b2), weight_decay=OPTIM.weight_decay
    )
    factors = (1.0 if frozen_factor is None else frozen_factor, 1.0)
    rate = learning_rate(OPTIM, steps)
    batches = training_batches(store, split="train", seed=seed, batch_size=SCANS, num_slices=SLICES, augmentation=FLIPS)
    network.train()
    if frozen_factor is not None:
        network.encoder.eval()
    for step, batch in zip(range(steps), batches, strict=False):
        for group, factor in zip(optimizer.param_groups, factors, strict=True):
            group["lr"] = factor * float(rate(step))
        optimizer.zero_grad()
        _loss(network(_windowed(batch.hu)), batch).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), OPTIM.clip_norm)
        optimizer.step()
    network.eval()
    scores, positive = [], []
    with torch.no_grad():
        for scan in map(store.read, map(int, store.rows("test"))):
            scores.append(network(_windowed(scan.volume.hu[None]))[0, :, ANY].numpy())
            positive.append(scan.slice_labels[:, ANY])
    return float(roc_auc_score(np.concatenate(positive), np.concatenate(scores)))


def _windowed(hu: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(apply_windows(hu, tuple(WINDOWS[name] for name in NAMES)))


def _loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Binary cross-entropy of the slices, and of the run of slices by its largest logit, where labels are known."""
    truth = torch.from_numpy(np.where(batch.slice_mask[..., None], batch.slice_labels, np.nan))
    pairs = (logits, truth), (logits.amax(1), torch.from_numpy(batch.scan_labels))
    known = [(outputs[~labels.isnan()], labels[~labels.isnan()]) for outputs, labels in pairs]
    return sum(torch.nn.functional.binary_cross_entropy_with_logits(outputs, labels) for outputs, labels in known)


if __name__ == "__main__":
    main()
