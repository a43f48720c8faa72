"""Ready settings by name, each with what it reached and where. No JAX."""

from dataclasses import dataclass
from typing import Any

from ichformer.errors import InputError, nearest, one_line
from ichformer.objectives.config import ObjectiveConfig
from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.training.config.data import DataConfig
from ichformer.training.config.model import ModelConfig
from ichformer.training.config.optim import OptimConfig
from ichformer.training.config.train import TrainConfig

_HU_RANGES = ("hu_0_20", "hu_20_40", "hu_40_60", "hu_60_80", "hu_80_100")
"""Narrow windows side by side, each of which the network puts on a scale of its own (``Standardise``)."""

_NOT_MEASURED = "not measured: the data set was not at hand"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings that belong together.

    Attributes:
      about: what they are for, in a sentence.
      reached: the figure that they reached, with its data and hardware; or that there is none.
      config: the settings, without a store.
    """

    about: str
    reached: str
    config: TrainConfig


def _on_rsna2019(about: str, model: ModelConfig, *, steps: int = 30_000, **of_optim: Any) -> Recipe:
    """Training on the 874,000 slices of RSNA 2019's first stage, 40 slices of 16 scans a step."""
    config = TrainConfig(
        data=DataConfig(store="", batch_size=16, num_slices=40, num_workers=8),
        model=model,
        optim=OptimConfig(**{"learning_rate": 5e-4, "warmup_steps": 1000, "b2": 0.999} | of_optim),
        steps=steps,
        ema_decay=0.999,
        evaluate_every=1000,
        checkpoint_every=1000,
        log_every=100,
    )
    return Recipe(about=about, reached=_NOT_MEASURED, config=config)


RECIPES = {
    # Short stretches of many scans teach more than long stretches of few, and weak augmentation is enough where all
    # heads lie alike. With narrow windows and a low rate for all but matrices the network starts to recognise bleeds
    # after 100 steps on each of five cohorts (experiments/studies/2026-11-28-demo-plateau.md).
    "demo": Recipe(
        about="A small network for a few hundred scans of 80 x 80 pixels, as ichformer demo trains it on two cores.",
        reached="AUROC for any by scan 0.817 (0.684-0.902) on phantoms of an unseen site, in 6 min 32 s on two cores",
        config=TrainConfig(
            data=DataConfig(
                store="",
                batch_size=16,
                num_slices=8,
                augmentation=Augmentation(rotate_deg=5.0, scale=0.05, shift=0.03, noise_hu=4.0),
            ),
            objective=ObjectiveConfig(windows=_HU_RANGES),
            model=ModelConfig(name="hybrid_nano"),
            optim=OptimConfig(name="muon", learning_rate=0.014, adamw_factor=0.1, schedule="wsd", warmup_steps=30),
            steps=650,
            ema_decay=0.98,
        ),
    ),
    # Display pictures come with other windows and gammas, scanners with other calibrations and kernels. The scan's
    # logits are the largest of its slices, as a mean over all of a scan would thin out a bleed that a few show.
    "shipped-weights": Recipe(
        about="The first of the three stages of the weights in the package: slices, neighbours and maps of lesions. "
        "The store needs masks.",
        reached="after all three stages, AUROC for any 0.894 by slice and 0.792 by scan on 41 real trauma patients, "
        "from phantoms alone; the first stage took 49 minutes on two cores",
        config=TrainConfig(
            data=DataConfig(
                store="",
                batch_size=8,
                num_slices=8,
                num_workers=1,
                augmentation=Augmentation(
                    rotate_deg=15.0,
                    scale=0.15,
                    shift=0.05,
                    noise_hu=5.0,
                    offset_hu=5.0,
                    gain=0.08,
                    kernel=0.7,
                    display=0.5,
                    thicken_mm=7.0,
                ),
            ),
            objective=ObjectiveConfig(windows=_HU_RANGES, neighbours=1, neighbour_dropout=0.3, lesion_weight=1.0),
            model=ModelConfig(name="hybrid_ti", lesions=True, scan_pool="max"),
            optim=OptimConfig(name="muon", learning_rate=0.014, adamw_factor=0.1, schedule="wsd", warmup_steps=100),
            steps=2000,
            ema_decay=0.995,
        ),
    ),
    "rsna2019-slice-vit": _on_rsna2019(
        "A vision transformer in every slice and another over the slices, on RSNA 2019.",
        ModelConfig(name="slice_vit_b", compute_dtype="bfloat16", drop_path=0.2, remat="dots"),
        learning_rate=3e-4,
    ),
    "rsna2019-swin3d": _on_rsna2019(
        "Shifted windows over the whole scan, on RSNA 2019.",
        ModelConfig(name="swin3d_t", compute_dtype="bfloat16", drop_path=0.2, remat="full"),
    ),
    "rsna2019-hybrid": _on_rsna2019(
        "A convolutional encoder of slices and a transformer over them, on RSNA 2019.",
        ModelConfig(name="hybrid_s", compute_dtype="bfloat16", dropout=0.1),
    ),
    "rsna2019-hybrid-effnet": _on_rsna2019(
        "An EfficientNet-Lite2 from ImageNet and a transformer over the slices, on RSNA 2019.",
        ModelConfig(name="hybrid_efficientnet_lite2", compute_dtype="bfloat16", dropout=0.1, pretrained="imagenet"),
        head_warmup_steps=500,
    ),
    # A CNN over three windows, then recurrent layers over the slices, as the best entries of 2019 had it: here in one
    # network that is trained end to end.
    "rsna2019-medal": _on_rsna2019(
        "A ResNet-50 and two GRUs over the slices, the design of the best entries of RSNA 2019, in one network.",
        ModelConfig(name="cnn_gru_resnet50", compute_dtype="bfloat16", dropout=0.1),
    ),
    "pretrain-mae": Recipe(
        about="A masked autoencoder of vit3d_b on 361,000 scans without labels, for a slice of a TPU pod.",
        reached="not measured on a TPU; compiled for v5p-128, a step takes 51.6 GB a chip",
        config=TrainConfig(
            data=DataConfig(store="", batch_size=1024, num_slices=32, num_workers=16),
            model=ModelConfig(name="vit3d_b", compute_dtype="bfloat16"),
            objective=ObjectiveConfig(name="mae", mask_ratio=0.75),
            optim=OptimConfig(learning_rate=6e-4, warmup_steps=1762, b2=0.95),
            steps=35_254,
            checkpoint_every=250,
        ),
    ),
}
"""Name -> recipe, from the lightest to the heaviest."""


def find_recipe(name: str) -> Recipe:
    """The recipe with this name.

    Raises:
      InputError: there is none.

    Example:
      >>> find_recipe("demo").config.model.name
      'hybrid_nano'
    """
    if name not in RECIPES:
        near = nearest(name, RECIPES)
        raise InputError(
            f"there is no recipe {one_line(name, max_chars=60)!r}",
            where="--recipe",
            fix=f"{f'perhaps you meant {near}; ' * bool(near)}choose of {', '.join(RECIPES)}",
        )
    return RECIPES[name]
