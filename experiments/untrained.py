"""What a linear model can tell from a slice before anything is trained: the windows, and what an encoder makes of them.

Claim: the mean of each window tells more than the grid of an untrained encoder, whose filters answer to outlines.
Cost: two minutes on two cores for the demo's 200 scans.
Command: python experiments/untrained.py runs/demo-data/store
Expected: the AUROC of any by slice in 5 folds by scan, 8 slices of each scan of all splits, with the slice's height
given; of encoders the mean over seeds.
"""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ichformer import LABELS
from ichformer.ct.windows import WINDOWS, Window, apply_windows
from ichformer.models.encoders.registry import ENCODERS, build_encoder
from ichformer.pipeline.store.records import Store
from ichformer.training.input_scale import standardise_inputs
from ichformer.training.state import TrainState

SLICES, SEEDS, CELL_PX, FUNCTIONS, AT_ONCE = 8, 3, 4, 64, 100
DEMO_WINDOWS = ("hu_0_20", "hu_20_40", "hu_40_60", "hu_60_80", "hu_80_100")

Features = Callable[[np.ndarray], dict[str, np.ndarray]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--encoder", default="residual_nano", choices=list(ENCODERS))
    parser.add_argument("--windows", nargs="+", default=DEMO_WINDOWS, choices=list(WINDOWS))
    told = parser.parse_args()
    store, windows = Store.open(told.store), tuple(WINDOWS[name] for name in told.windows)
    hu, positive, scans = _slices(store)
    height = np.tile(np.eye(SLICES), (len(hu) // SLICES, 1))

    def auroc(features: np.ndarray) -> float:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.02, max_iter=500))
        scores = cross_val_predict(
            model, np.c_[features, height], positive, groups=scans, cv=GroupKFold(5), method="decision_function"
        )
        return float(roc_auc_score(positive, scores))

    print(f"height alone: {auroc(height):.3f}")
    scaler = StandardScaler().fit(apply_windows(hu[::7], windows).reshape(-1, len(windows)))
    ways: dict[str, Callable[[int], Features]] = {
        "windows": lambda _: lambda some: {"mean": apply_windows(some, windows).mean((1, 2))},
        f"{FUNCTIONS} random functions of {CELL_PX} x {CELL_PX} pixels": lambda seed: functools.partial(
            _random_functions, windows=windows, scaler=scaler, seed=seed
        ),
        f"{told.encoder}, untrained": lambda seed: _encoder(told.encoder, store, windows, seed),
    }
    for name, way in ways.items():
        found = [_all(way(seed), hu) for seed in range(SEEDS)]
        said = [f"{pooled} {np.mean([auroc(one[pooled]) for one in found]):.3f}" for pooled in found[0]]
        print(f"{name}: {', '.join(said)}", flush=True)


def _slices(store: Store) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU, whether there is any bleed, and the scan, of slices spread evenly over each scan."""
    hu, positive = [], []
    for row in range(len(store.index)):
        scan = store.read(row)
        at = np.linspace(1, len(scan.volume.hu) - 2, SLICES).astype(int)
        hu.append(scan.volume.hu[at])
        positive.append(np.asarray(scan.slice_labels, float)[at, LABELS.index("any")] == 1)
    return np.concatenate(hu), np.concatenate(positive), np.arange(len(hu)).repeat(SLICES)


def _random_functions(
    hu: np.ndarray, *, windows: tuple[Window, ...], scaler: StandardScaler, seed: int
) -> dict[str, np.ndarray]:
    x = (apply_windows(hu, windows) - scaler.mean_) / scaler.scale_
    cells = np.asarray(nn.avg_pool(jnp.asarray(x), (CELL_PX,) * 2, (CELL_PX,) * 2, "SAME"))
    rng = np.random.default_rng(seed)
    values = np.maximum(cells @ rng.normal(size=(len(windows), FUNCTIONS)) + rng.normal(size=FUNCTIONS), 0)
    return {"mean": values.mean((1, 2)), "largest": values.max((1, 2))}


def _encoder(name: str, store: Store, windows: tuple[Window, ...], seed: int) -> Features:
    encoder = build_encoder(name)
    side = int(store.index["height"].iloc[0])
    params = jax.jit(
        lambda: encoder.init(jax.random.key(seed), jnp.zeros((1, side, side, len(windows))), train=False)
    )()["params"]
    state = TrainState(step=0, params=params, opt_state=(), ema_params=None, metric_means={}, guard=())
    params = standardise_inputs(state, store, split="train", windows=windows, neighbours=0).params

    @jax.jit
    def pooled(hu: jax.Array) -> dict[str, Any]:
        grid = encoder.apply({"params": params}, apply_windows(hu, windows, jnp), train=False)
        assert isinstance(grid, jax.Array)
        return {"mean": grid.mean((1, 2)), "largest": grid.max((1, 2))}

    return lambda hu: jax.device_get(pooled(hu))


def _all(features: Features, hu: np.ndarray) -> dict[str, np.ndarray]:
    parts = [features(hu[i : i + AT_ONCE]) for i in range(0, len(hu), AT_ONCE)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


if __name__ == "__main__":
    main()
