"""How far phantoms look like heads: figures of both side by side, and a small network that tells them apart.

Claim: a small network trained to tell patches of real brain from patches of ours is right less often than it was: 0.75
is aimed at, 0.5 would be perfect. A larger network, or more heads, would find more.
Cost: about five minutes on one core for 24 phantoms beside the 41 patients of ``ctich_dev``.
Command: python experiments/phantom_realism.py --real ../shared/data --out realism
Expected: ``realism.json`` with the figures below of real and made-up heads, and two contact sheets. AUROC of the
network by patch, in 3 folds by patient, with an interval over patients: 0.916 (0.845 to 0.968) for version 2 of the
phantom, 0.777 (0.736 to 0.818) for version 3 without bleeds, seen at commit d43b09b.

Real heads are measured only: nothing of them goes into a phantom or a model. They are display pictures, so ours are
made so, too: 512 pixels, grey 0 to 255 for -20 to 100 HU. Both then lose what tells the file rather than the head: they
come to pixels of 1 mm after a random change of size (10 %), are compressed as JPEG of random quality, and their grey is
shifted and stretched a little at random. Slices with a bleed are left out of both.
"""

import argparse
import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.ndimage as ndi
from PIL import Image
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ichformer.ct.phantom import CONFOUNDERS, SITES, make_phantom
from ichformer.statistics.bootstrap import auroc_statistic, bootstrap

LOW_HU, HIGH_HU, FIELD_MM, PATCH, OF_A_HEAD = -20.0, 100.0, 230.0, 48, 60
EDGES_HU = np.arange(-20, 101, 4)


class Head(NamedTuple):
    """Display pictures of one head, from the base to the vertex, and the side of their pixels in mm."""

    name: str
    grey: list[np.ndarray]
    pixel_mm: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="folder that holds ctich_dev")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scans", type=int, default=24)
    parser.add_argument("--confounders", type=float, default=0.15, help="chance of each confounder in a phantom")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with threadpool_limits(1):
        groups = {
            "real": list(real_heads(args.real / "ctich_dev")),
            "phantom": list(phantom_heads(args.scans, confounders=args.confounders, seed=args.seed)),
        }
    figures: dict[str, Any] = {name: measure(heads) for name, heads in groups.items()}
    for name, heads in groups.items():
        contact_sheet(heads[:8]).save(args.out / f"{name}.png")
    rng = np.random.default_rng(args.seed)
    sets = [cut_patches(heads, rng) for heads in groups.values()]
    patches = np.concatenate([found for found, _ in sets])
    owner = np.concatenate([sets[0][1], sets[1][1] + 1 + sets[0][1].max()])
    is_real = np.repeat([1.0, 0.0], [len(found) for found, _ in sets])
    scores = cross_validate(patches, is_real, owner, epochs=args.epochs, seed=args.seed)
    figures["network"] = {**auroc_of(is_real, scores, owner), "patches": [len(found) for found, _ in sets]}
    (args.out / "realism.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures["network"]))


def real_heads(folder: Path) -> Iterator[Head]:
    """The patients of CT-ICH without the slices that show blood."""
    files: dict[str, list[str]] = defaultdict(list)
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["ich"] == "0":
                files[row["patient"]].append(row["file"])
    for patient, names in sorted(files.items()):
        grey = [np.asarray(Image.open(folder / name).convert("L")) for name in sorted(names)]
        yield Head(patient, grey, FIELD_MM / max(grey[0].shape))


def phantom_heads(scans: int, *, confounders: float, seed: int) -> Iterator[Head]:
    """Phantoms without a bleed, of all sites in turn, as display pictures of 512 pixels."""
    for i in range(scans):
        site = replace(list(SITES.values())[i % len(SITES)], pixels=512, header="full")
        chosen = np.random.default_rng([seed, i]).random(len(CONFOUNDERS)) < confounders
        names = tuple(name for name, take in zip(CONFOUNDERS, chosen, strict=True) if take)
        volume = make_phantom(7000 + 100 * seed + i, site=site, confounders=names).volume
        grey = np.clip((volume.hu.astype(np.float32) - LOW_HU) * (255 / (HIGH_HU - LOW_HU)), 0, 255)
        yield Head(f"{site.name} {i}", list(np.rint(grey).astype(np.uint8)), volume.spacing_mm[1])


def inside_skull(grey: np.ndarray, pixel_mm: float, *, within_mm: float) -> np.ndarray:
    """Pixels ``within_mm`` or more from the bone that encloses them, of slices that show a closed ring of it."""
    bone = grey > 250
    filled = ndi.binary_fill_holes(bone) & ~bone
    labels, count = ndi.label(filled)
    if not count:
        return np.zeros_like(bone)
    sizes = ndi.sum_labels(filled, labels, np.arange(1, count + 1))
    brain = labels == 1 + int(np.argmax(sizes))
    if sizes.max() * pixel_mm**2 < 3000:
        return np.zeros_like(bone)
    # Dots of bone or calcium in the brain belong to it.
    depth_mm = ndi.distance_transform_edt(ndi.binary_fill_holes(brain)) * pixel_mm
    return np.asarray(depth_mm > within_mm)


def measure(heads: list[Head]) -> dict[str, Any]:
    """Medians over heads: HU in the brain, fluid, grey over white, the inner table's edge, and noise by frequency."""
    found: dict[str, list[Any]] = defaultdict(list)
    for head in heads:
        brain, profiles = [], []
        for grey in head.grey[::3]:
            inside = inside_skull(grey, head.pixel_mm, within_mm=0)
            if not inside.any():
                continue
            hu = grey * ((HIGH_HU - LOW_HU) / 255) + LOW_HU
            depth = ndi.distance_transform_edt(inside) * head.pixel_mm
            profiles.append([hu[(depth > k) & (depth <= k + 1)].mean() for k in range(12)])
            brain.append((hu, depth > 4))
        if len(brain) < 3:
            continue
        values = np.concatenate([hu[inner] for hu, inner in brain])
        smooth = np.concatenate([ndi.gaussian_filter(hu, 1.5 / head.pixel_mm)[inner] for hu, inner in brain])
        found["histogram"].append(np.histogram(values, EDGES_HU)[0] / len(values))
        found["fluid_share"].append((smooth < 18).mean())
        tissue = smooth[(smooth > 20) & (smooth < 48)]
        found["tissue_p10_p50_p90_hu"].append(np.percentile(tissue, [10, 50, 90]))
        found["edge_profile_hu_by_mm"].append(np.mean(profiles, axis=0))
        if (spectrum := noise_spectrum([hu for hu, _ in brain], head.pixel_mm)) is not None:
            found["noise_sd_hu"].append(spectrum[0])
            found["noise_share_by_tenth_cycle_per_mm"].append(spectrum[1])
    return {name: np.round(np.median(values, axis=0), 3).tolist() for name, values in found.items()} | {
        "heads": len(found["fluid_share"])
    }


def noise_spectrum(slices: list[np.ndarray], pixel_mm: float) -> tuple[float, np.ndarray] | None:
    """Standard deviation and radial power (shares of bands of 0.1 cycles per mm) of the flattest squares of 22 mm."""
    n = round(22 / pixel_mm)
    y, x = np.mgrid[:n, :n]
    planes = np.stack([np.ones(n * n), *(z.ravel() for z in (x, y, x * x, y * y, x * y))], axis=1)
    of_planes, rests = np.linalg.pinv(planes), []
    for hu in slices:
        for top in range(0, hu.shape[0] - n, n // 2):
            for left in range(0, hu.shape[1] - n, n // 2):
                square = hu[top : top + n, left : left + n]
                if square.min() > -10 and square.max() < 80 and 20 < square.mean() < 45:
                    flat = square.ravel()
                    rests.append((flat - planes @ (of_planes @ flat)).reshape(n, n))
    if len(rests) < 10:
        return None
    rests = sorted(rests, key=np.std)[: max(5, len(rests) // 5)]
    power = np.mean([np.abs(np.fft.fft2(rest)) ** 2 for rest in rests], axis=0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(n, pixel_mm), np.fft.fftfreq(n, pixel_mm)))
    bands = np.array([power[(frequency >= k / 10) & (frequency < (k + 1) / 10)].sum() for k in range(10)])
    return float(np.median([rest.std() for rest in rests])), bands / bands.sum()


def cut_patches(heads: list[Head], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Patches of the brain, [n, PATCH, PATCH] from 0 to 1, and which head each is of."""
    patches, owner = [], []
    for number, head in enumerate(heads):
        coarse = [inside_skull(grey[::3, ::3], 3 * head.pixel_mm, within_mm=10).any() for grey in head.grey]
        usable = np.flatnonzero(coarse)
        for s in rng.choice(usable, OF_A_HEAD) if len(usable) else ():
            picture = as_display(head.grey[s], head.pixel_mm * float(np.exp(rng.uniform(-0.1, 0.1))), rng)
            rows, columns = np.nonzero(inside_skull(picture, 1.0, within_mm=0.35 * PATCH))
            if len(rows):
                pick = int(rng.integers(len(rows)))
                top, left = rows[pick] - PATCH // 2, columns[pick] - PATCH // 2
                patch = np.pad(picture, PATCH)[top + PATCH : top + 2 * PATCH, left + PATCH : left + 2 * PATCH]
                grey = patch / 255 * rng.uniform(0.93, 1.07) + rng.uniform(-0.03, 0.03)
                patches.append(np.clip(grey, 0, 1))
                owner.append(number)
    return np.asarray(patches, np.float32), np.asarray(owner)


def as_display(grey: np.ndarray, pixel_mm: float, rng: np.random.Generator) -> np.ndarray:
    """The picture with pixels of 1 mm, after one round of JPEG of random quality."""
    size = round(grey.shape[1] * pixel_mm), round(grey.shape[0] * pixel_mm)
    small = Image.fromarray(grey).resize(size, Image.Resampling.BOX if rng.random() < 0.5 else Image.Resampling.HAMMING)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=int(rng.integers(75, 96)))
    return np.asarray(Image.open(file))


class Small(nn.Module):
    """Four convolutions and a mean."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in (16, 24, 32, 48):
            x = nn.Conv(width, (3, 3), strides=2)(x)
            x = nn.gelu(nn.GroupNorm(num_groups=8)(x))
        return nn.Dense(1)(x.mean(axis=(1, 2)))[:, 0]


def cross_validate(
    patches: np.ndarray, is_real: np.ndarray, heads: np.ndarray, *, epochs: int, seed: int
) -> np.ndarray:
    """Score of each patch by a network that has not seen its head."""
    rng, scores = np.random.default_rng(seed), np.zeros(len(patches))
    fold = rng.permutation(heads.max() + 1)[heads] % 3
    x = ((patches - 0.45) / 0.15)[..., None]
    model, optimiser = Small(), optax.adamw(optax.cosine_decay_schedule(2e-3, epochs * (2 * len(x) // 3 // 64)))

    @jax.jit
    def step(params: Any, state: Any, x: jax.Array, y: jax.Array) -> Any:
        loss = lambda p: optax.sigmoid_binary_cross_entropy(model.apply(p, x), y).mean()  # noqa: E731
        updates, state = optimiser.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    for k in range(3):
        params = model.init(jax.random.key(seed), x[:1])
        state = optimiser.init(params)
        # As many real ones as made-up ones in a batch, so that the score's threshold says nothing.
        known = [np.flatnonzero((fold != k) & (is_real == y)) for y in (0, 1)]
        for _ in range(epochs * ((fold != k).sum() // 64)):
            batch = np.concatenate([rng.choice(rows, 32) for rows in known])
            seen = x[batch][:, :, :: rng.choice([-1, 1])]
            params, state = step(params, state, jnp.asarray(seen), jnp.asarray(is_real[batch]))
        held = np.flatnonzero(fold == k)
        for rows in np.array_split(held, max(1, len(held) // 256)):
            scores[rows] = np.asarray(model.apply(params, x[rows]))
    return scores


def auroc_of(is_real: np.ndarray, scores: np.ndarray, heads: np.ndarray) -> dict[str, Any]:
    """AUROC by patch, with the 95 % percentile interval over resampled heads."""
    count = int(heads.max()) + 1
    drawn = bootstrap([auroc_statistic(is_real, scores, heads)], n_patients=count, replicates=1000, seed=0)
    low, high = np.nanpercentile(drawn.replicates[:, 0], [2.5, 97.5])
    return {"auroc": round(float(drawn.values[0]), 3), "interval": [round(float(low), 3), round(float(high), 3)]}


def contact_sheet(heads: list[Head], *, columns: int = 9, tile: int = 200) -> Image.Image:
    """A row of slices from base to vertex for each head."""
    sheet = Image.new("L", (columns * tile, len(heads) * tile))
    for row, head in enumerate(heads):
        for column, s in enumerate(np.linspace(1, len(head.grey) - 2, columns).round().astype(int)):
            picture = Image.fromarray(head.grey[s])
            picture.thumbnail((tile - 2, tile - 2))
            sheet.paste(picture, (column * tile, row * tile))
    return sheet


if __name__ == "__main__":
    main()
