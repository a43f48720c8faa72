"""The settings of what a training reads."""

from dataclasses import dataclass, field

from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.settings import check_ranges, check_settings


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which scans, and how they come.

    Attributes:
      store: folder that ``ichformer prepare`` wrote.
      split: the split to train on.
      batch_size: scans a step, over all devices.
      num_slices: slices a scan in training; a shorter scan is padded. A longer scan gives a random run of neighbouring
        slices. Where labels are known of scans only, it gives every k-th slice of the whole scan instead.
      num_workers: processes that read and augment; 0 reads in the training process.
      augmentation: what is changed at random.
    """

    store: str
    split: str = "train"
    batch_size: int = 8
    num_slices: int = 24
    num_workers: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "--data.")
        check_ranges(
            "--data.",
            ("batch_size", self.batch_size, 1 <= self.batch_size <= 1 << 20, "1 to 1048576 scans"),
            ("num_slices", self.num_slices, 1 <= self.num_slices <= 10_000, "1 to 10000 slices"),
            ("num_workers", self.num_workers, 0 <= self.num_workers <= 1024, "0 to 1024 processes"),
        )
