"""The settings of an optimiser and its schedule."""

from dataclasses import dataclass
from typing import Literal

from ichformer.settings import MOST_STEPS, check_ranges, check_settings


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The optimiser and its schedule.

    Attributes:
      name: Optimiser: "adamw" for most trainings; "lamb" for batches of thousands of scans; "lion", which takes half
        the memory of AdamW (use a third of its learning rate); "sgd" with momentum; or "muon", which orthogonalises the
        updates of matrices and leaves the rest to AdamW with Nesterov's momentum. The demo trains its small network
        from random weights with muon.
      learning_rate: Largest learning rate, which the schedule reaches after the warm-up. Lower it where the loss jumps.
      encoder_factor: Factor of the learning rate for the encoder, above 0. By default 0.1 where the training starts
        from published weights (--model.pretrained), and 1 otherwise. At the full rate imported networks forget what
        they know, as their batch norms are frozen.
      head_warmup_steps: Steps at the start in which the encoder stays as it is, and only what reads it is trained. Then
        the encoder's learning rate rises to its own in --optim.warmup-steps. Some hundred steps keep a new head from
        spoiling an encoder that was loaded (--init-from, --model.pretrained). 0 trains all from the first step.
      adamw_factor: For muon, the factor of the learning rate for what AdamW optimises: biases, norms and heads.
      schedule: How the learning rate falls to zero after a linear warm-up: along a "cosine", on a "linear" line, or
        "wsd" (warm-up, stable, decay: Hu et al. 2024, arXiv:2404.06395, section 4), which stays at the largest rate
        until the cooldown.
      warmup_steps: Steps in which the learning rate rises from zero to its largest value. Large models want several
        hundred.
      cooldown_fraction: For wsd, the share of all steps in which the learning rate falls, 0 to 1.
      weight_decay: Weight decay. It is decoupled, but for sgd, where it is added to the gradient. Biases, norms and
        other vectors have none.
      layer_decay: Factor of the learning rate from a layer to the one below, above 0 and at most 1. Lower it, to 0.75
        for example, when you start from published weights. 1 gives all layers the same rate.
      freeze: Patterns of names of parameters that stay as they are, such as "encoder/*"; "*" stands for anything. By
        default all parameters are trained.
      b1: Decay of the first moment of the gradient; for sgd, its momentum.
      b2: Decay of the second moment of the gradient. Raise it, to 0.999 for example, for long trainings.
      clip_norm: Largest norm of a gradient over all parameters; a larger one is scaled down. 0 never scales.
    """

    name: Literal["adamw", "lamb", "lion", "muon", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    encoder_factor: float | None = None
    head_warmup_steps: int = 0
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
            (
                "encoder_factor",
                self.encoder_factor,
                self.encoder_factor is None or self.encoder_factor > 0,
                "a number above 0",
            ),
            (
                "head_warmup_steps",
                self.head_warmup_steps,
                0 <= self.head_warmup_steps <= MOST_STEPS,
                f"0 to {MOST_STEPS} steps",
            ),
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
