"""The settings of an optimiser and its schedule."""

from dataclasses import dataclass
from typing import Literal

from ichformer.settings import MOST_STEPS, check_ranges, check_settings


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The optimiser and its schedule.

    Attributes:
      name: "adamw"; "lamb", for batches of thousands of scans; "lion", half of AdamW's memory (take a third of its
        rate); "sgd" with momentum; or "muon", which orthogonalises the updates of matrices and leaves the rest to
        AdamW with Nesterov's momentum: the demo's small network, which starts from nothing, is trained with it.
      learning_rate: the peak.
      adamw_factor: muon: what AdamW optimises (biases, norms, heads) gets this part of the rate.
      schedule: how the rate falls to zero after a linear warm-up: along a "cosine", on a "linear" line, or "wsd"
        (warm-up, stable, decay: Hu et al. 2024, arXiv:2404.06395, section 4), at the peak until the cooldown.
      warmup_steps: steps from zero to the peak.
      cooldown_fraction: wsd: the part of all steps in which the rate falls.
      weight_decay: decoupled (sgd: added to the gradient); none on biases, norms and other vectors.
      layer_decay: factor of the rate from a layer to the one below, for fine-tuning; 1 for none.
      freeze: patterns of parameters that stay as they are, such as "encoder/*"; "*" stands for anything.
      b1: decay of the first moment; of sgd, its momentum.
      b2: decay of the second moment.
      clip_norm: largest global norm of a gradient; 0 for no clip.
    """

    name: Literal["adamw", "lamb", "lion", "muon", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    adamw_factor: float = 1.0
    schedule: Literal["cosine", "linear", "wsd"] = "cosine"
    warmup_steps: int = 20
    cooldown_fraction: float = 0.2
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    freeze: tuple[str, ...] = ()
    b1: float = 0.9
    b2: float = 0.99
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "--optim.")
        check_ranges(
            "--optim.",
            ("learning_rate", self.learning_rate, self.learning_rate > 0, "a number above 0"),
            ("adamw_factor", self.adamw_factor, self.adamw_factor > 0, "a number above 0"),
            (
                "cooldown_fraction",
                self.cooldown_fraction,
                0 < self.cooldown_fraction <= 1,
                "a number above 0 and at most 1",
            ),
            ("layer_decay", self.layer_decay, 0 < self.layer_decay <= 1, "a number above 0 and at most 1"),
            ("warmup_steps", self.warmup_steps, 0 <= self.warmup_steps <= MOST_STEPS, f"0 to {MOST_STEPS} steps"),
            ("weight_decay", self.weight_decay, self.weight_decay >= 0, "a number of 0 or more"),
            ("clip_norm", self.clip_norm, self.clip_norm >= 0, "a number of 0 or more"),
            ("b1", self.b1, 0 <= self.b1 < 1, "a number of at least 0 and below 1"),
            ("b2", self.b2, 0 <= self.b2 < 1, "a number of at least 0 and below 1"),
        )
