"""The settings of an objective. No JAX."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from ichformer.ct.windows import WINDOWS, Window
from ichformer.errors import InputError, one_line
from ichformer.settings import check_ranges, check_settings


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """The loss that training minimises.

    Attributes:
      name: What is trained: "classification" of slices and scans; or, without labels, "mae", a masked autoencoder for
        slice_vit and vit3d, "simmim" for swin3d, "jepa" for these three, "spark" (sparse masked modeling, Tian et al.
        2023) for cnn2d, cnn_gru and hybrid, or "contrastive" or "dino" for any model; or an objective of a plugin.
      windows: Names of the display windows that become the channels of the input, of brain, subdural, soft_tissue,
        bone, stroke and the ranges hu_0_20, hu_20_40, hu_40_60, hu_60_80 and hu_80_100.
      neighbours: Number of neighbouring slices on either side that come as further channels. 1 is the "2.5-D" input of
        the winners of RSNA 2019. With 0 a slice comes alone.
      neighbour_dropout: For classification, the chance that a training scan is seen without neighbours, each slice as
        its own neighbour, 0 to 1. Raise it, to 0.3 for example, where the model is to read single pictures, too.
      labels: For classification, the labels and targets to train. Each label has to have positives and negatives among
        the training scans or slices, each target two different values. By default all that have them are trained, and
        the training says which are left out.
      scan_weight: For classification, the weight of the loss of scans beside the loss of slices, which has the weight
        1.
      loss: For classification, the loss of each label: "bce" (binary cross-entropy), "focal" (Lin et al. 2017),
        "asymmetric" (Ridnik et al. 2021) or "logit_adjusted" (Menon et al. 2021). The last three are for rare labels:
        "focal" and "asymmetric" give less weight to what is classified well already, "logit_adjusted" trains scores as
        if positives and negatives were equally frequent.
      positive_weight: For classification with "bce", the weight of a positive beside a negative. A value above 1 raises
        the sensitivity and the number of false alarms.
      target_loss: For classification, the loss of each regression target, which is standardised by its mean and spread
        in training: "smooth_l1" (squared for small errors, absolute for large ones), "l1" (absolute) or "l2" (squared).
      lesion_weight: For classification, the weight of the loss of lesion maps beside the loss of slices. It needs
        --model.lesions and scans with masks or boxes. 0 leaves it out. 1 is usual.
      mask_ratio: For mae, simmim, spark and jepa, the share of the patches with tissue that is hidden, 0 to 1. 0.75 is
        usual for mae and jepa, 0.6 for simmim and spark.
      masks: For mae, simmim, spark and jepa, how hidden patches lie: "random", "block" (in blocks of up to 4 x 4 x 4
        patches), "tube" (at the same places of all slices) or "column" (in blocks at the same places of all slices).
        The default is "random", and "tube" for a vit3d, which attends along the slices place by place. For jepa it is
        "column", and "block" for a slice_vit.
      normalise_targets: For mae, simmim and spark, whether the pixels of each patch are normalised by their own mean
        and deviation. Turn it off where the HU themselves matter more than edges.
      temperature: For contrastive, the temperature of the softmax over the scans of a batch. A lower one separates
        similar scans more.
      decoder_width: For mae, jepa and spark, the number of features of the decoder. That of spark has as many on the
        coarsest grid and half as many on finer ones.
      decoder_depth: For mae and jepa, the number of blocks of the decoder. For spark, its convolutions on each grid.
      prototypes: For dino, the number of prototypes. Large data sets take 65536.
      small_views: For dino, the number of small views of a scan beside the two large ones. Each costs a fourth of a
        large one.
      patch_weight: For dino, the weight of the loss of hidden patches (iBOT). 0 leaves it out.
      spread_weight: For dino, the weight of the loss that spreads the scans of a batch (KoLeo). 0 leaves it out, and
        the batch may then be computed in parts.
      centring: For dino, how the teacher is kept from calling all scans the same: "mean" takes a running mean off its
        outputs, "sinkhorn" gives all prototypes an equal share of the batch. It wants batches of hundreds.
    """

    name: str = "classification"
    windows: tuple[str, ...] = ("brain", "subdural", "bone")
    neighbours: int = 0
    neighbour_dropout: float = 0.0
    labels: tuple[str, ...] = ()
    scan_weight: float = 1.0
    loss: Literal["bce", "focal", "asymmetric", "logit_adjusted"] = "bce"
    positive_weight: float = 1.0
    target_loss: Literal["smooth_l1", "l1", "l2"] = "smooth_l1"
    lesion_weight: float = 0.0
    mask_ratio: float = 0.75
    masks: Literal["random", "block", "tube", "column"] | None = None
    normalise_targets: bool = True
    temperature: float = 0.1
    decoder_width: int = 128
    decoder_depth: int = 2
    prototypes: int = 4096
    small_views: int = 4
    patch_weight: float = 1.0
    spread_weight: float = 0.1
    centring: Literal["mean", "sinkhorn"] = "mean"

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "--objective.")
        if unknown := [name for name in self.windows if name not in WINDOWS]:
            raise InputError(
                f"there is no window {one_line(unknown[0])!r}",
                where="--objective.windows",
                fix=f"choose of {', '.join(WINDOWS)}",
            )
        for what, names in (("windows", self.windows), ("labels", self.labels)):
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise InputError(f"names {one_line(twice[0])} twice", where=f"--objective.{what}", fix="name each once")
        if self.positive_weight != 1 and self.loss != "bce":
            raise InputError('goes with "bce" only', where="--objective.positive-weight", fix="leave it out")
        width = self.decoder_width
        check_ranges(
            "--objective.",
            ("windows", self.windows, bool(self.windows), "at least one window"),
            ("windows", len(self.windows), len(self.windows) <= 16, "at most 16 windows"),
            (
                "neighbours",
                self.neighbours,
                0 <= self.neighbours <= 32,
                "0 for the slice alone, 1 for one on either side, at most 32",
            ),
            ("neighbour_dropout", self.neighbour_dropout, 0 <= self.neighbour_dropout <= 1, "0 to 1"),
            ("scan_weight", self.scan_weight, self.scan_weight >= 0, "a number of 0 or more"),
            ("positive_weight", self.positive_weight, self.positive_weight > 0, "a number above 0"),
            ("lesion_weight", self.lesion_weight, self.lesion_weight >= 0, "a number of 0 or more"),
            ("mask_ratio", self.mask_ratio, 0 < self.mask_ratio < 1, "a number above 0 and below 1"),
            ("temperature", self.temperature, 0 < self.temperature <= 10, "a number above 0, at most 10"),
            (
                "decoder_width",
                width,
                4 <= width <= 8192 and width % (4 if width < 64 else 32) == 0,
                "a multiple of 32, at most 8192",
            ),
            ("decoder_depth", self.decoder_depth, 1 <= self.decoder_depth <= 128, "1 to 128 blocks"),
            ("prototypes", self.prototypes, 2 <= self.prototypes <= 2**20, "2 to 1048576"),
            ("small_views", self.small_views, 0 <= self.small_views <= 32, "0 to 32"),
            ("patch_weight", self.patch_weight, self.patch_weight >= 0, "a number of 0 or more"),
            ("spread_weight", self.spread_weight, self.spread_weight >= 0, "a number of 0 or more"),
        )

    @property
    def display_windows(self) -> tuple[Window, ...]:
        """The windows that ``windows`` names."""
        return tuple(WINDOWS[name] for name in self.windows)

    @property
    def channels(self) -> str:
        """What the channels of the input are, in words."""
        beside = f" of the slice and {self.neighbours} on either side" if self.neighbours else ""
        return f"windows {', '.join(self.windows)}{beside}"
