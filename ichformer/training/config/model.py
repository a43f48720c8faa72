"""The settings of a model."""

from dataclasses import dataclass
from typing import Literal

from ichformer.settings import check_ranges, check_settings


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which model.

    Attributes:
      name: Name of the model. `ichformer models` lists them. The "nano" models train on a CPU; others want a GPU.
      encoder: For models that see slice by slice with an encoder (hybrid, cnn2d, cnn_gru), another encoder, such as
        "resnet18" or one of a plugin. By default each model has its own.
      scan_pool: How the scores of a scan come from those of its slices: "attention" learns how much each slice counts,
        "max" takes the largest score. By default each model has its own way.
      dropout: Share of the features that dropout sets to zero in each block of a transformer, 0 to 1. Raise it, to 0.1
        for example, where the training loss falls but the validation loss does not.
      drop_path: Stochastic depth: the chance that the last block of a transformer is skipped in a step, 0 to 1. It
        grows from 0 at the first block. Raise it, to 0.1 for example, for large models on few scans.
      lesions: Whether the model also gives a map of lesions for every label, on a grid of half the rows and columns. It
        is trained on masks and needs --objective.lesion-weight. By default it does not.
      remat: What the backward pass computes a second time to save memory: "none", "dots" for all but the dense layers,
        or "full" for each block. Take "full" where memory runs out; a step then takes about a third longer.
      position_step: For slice_vit and vit3d, how many patches of the full size lie between two patches. Take 2 for a
        first stage on slices of half the size, and 1 again for the stage on whole ones that starts from it. Each place
        of the head then has the same position in both stages.
      pretrained: Weights to start from: a file (safetensors, .npz or PyTorch), or "imagenet" for an EfficientNet-Lite.
        By default training starts from random weights.
      pretrained_layout: Which library the file of weights comes from. By default it is recognised from the names in the
        file. Give it where that fails.
      compute_dtype: Type of the activations. Parameters stay float32. Take bfloat16 on GPUs and TPUs: it is faster and
        takes less memory.
    """

    name: str = "hybrid_nano"
    encoder: str = ""
    scan_pool: Literal["attention", "max"] | None = None
    dropout: float = 0.0
    drop_path: float = 0.0
    lesions: bool = False
    remat: Literal["none", "dots", "full"] = "none"
    position_step: float = 1.0
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
            ("position_step", self.position_step, 1 <= self.position_step <= 64, "a number from 1 to 64"),
        )
