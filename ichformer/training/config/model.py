"""The settings of a model."""

from dataclasses import dataclass
from typing import Literal

from ichformer.settings import check_ranges, check_settings


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which model.

    Attributes:
      name: a name of ``ichformer models``.
      scan_pool: how scan logits come from slices; the model's own choice where None.
      dropout: on the branches of the transformer's blocks.
      drop_path: stochastic depth: how often the last block's branch is left out; it grows from 0 at the first.
      remat: what the backward pass computes anew to save memory: nothing, all but dense layers, or each block.
      pretrained: weights to start from: a file (safetensors, .npz, torch), or "imagenet" for an EfficientNet-Lite.
      pretrained_layout: whose weights these are, which decides how the model is built; found in the file where empty.
      compute_dtype: of activations; parameters stay float32.
    """

    name: str = "hybrid_nano"
    scan_pool: Literal["attention", "max"] | None = None
    dropout: float = 0.0
    drop_path: float = 0.0
    remat: Literal["none", "dots", "full"] = "none"
    pretrained: str = ""
    pretrained_layout: str = ""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "--model.")
        check_ranges(
            "--model.",
            ("dropout", self.dropout, 0 <= self.dropout < 1, "a number of at least 0 and below 1"),
            ("drop_path", self.drop_path, 0 <= self.drop_path < 1, "a number of at least 0 and below 1"),
        )
