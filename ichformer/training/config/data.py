"""The settings of what a training reads."""

from dataclasses import dataclass, field

from ichformer.pipeline.augmentation.augment import Augmentation
from ichformer.settings import check_ranges, check_settings

MOST_DRAWS = 10_000
"""Of patients. More of them tell nothing new."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which scans, and how they come.

    Attributes:
      store: Folder of the store, as `ichformer prepare` wrote it.
      more: Folders of further stores whose scans are trained on as well, such as a large one without labels in a
        pretraining. All have to be prepared with the same options, by the same ichformer and with the same labels,
        which may be unknown. Validation, thresholds and evaluation use `store` alone.
      weights: How often scans of each store are drawn, `store` first and then `more` in its order. 3 1 draws three
        scans of `store` for each one of the other. Raise the weight of a small store that would be drowned. By default
        every scan is drawn about equally often.
      split: Split of the stores to train on.
      fraction: Share of the patients of the split whose scans are trained on, above 0 and up to 1. Lower it to see how
        many labelled patients a training needs. Patients with and without "any" are drawn in the same share, at least
        one of each where there are some. The run's record and its list of scans name the drawn ones only.
      draw: Number of the draw where the fraction is below 1. Each number draws other patients. The seed of the run
        changes none of them, and a larger fraction holds the patients of a smaller one.
      batch_size: Scans in a step, over all devices. Lower it where memory runs out.
      num_slices: Slices that are taken of a scan in training. A shorter scan is padded. A longer scan gives a random
        run of neighbouring slices. If only whole scans are labelled, it gives that many slices of the whole scan,
        evenly spaced, in place of that. More slices show more of a scan, and take more memory and time.
      num_workers: Number of processes that read and augment scans. 0 reads in the training process. Raise it where the
        metric input_bound says that steps wait for batches.
      augmentation: How scans are changed at random in training.
    """

    store: str
    more: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    split: str = "train"
    fraction: float = 1.0
    draw: int = 1
    batch_size: int = 8
    num_slices: int = 24
    num_workers: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        """InputError for a value that is not of its type or outside its range."""
        check_settings(self, "--data.")
        check_ranges(
            "--data.",
            ("fraction", self.fraction, 0 < self.fraction <= 1, "a number above 0 and at most 1"),
            ("draw", self.draw, 1 <= self.draw <= MOST_DRAWS, f"1 to {MOST_DRAWS}"),
            ("batch_size", self.batch_size, 1 <= self.batch_size <= 1 << 20, "1 to 1048576 scans"),
            ("num_slices", self.num_slices, 1 <= self.num_slices <= 10_000, "1 to 10000 slices"),
            (
                "weights",
                self.weights,
                not self.weights or len(self.weights) == 1 + len(self.more) > 1,
                "one number for --data.store and one for each of --data.more, or none",
            ),
            *(
                ("weights", weight, 1e-6 <= weight <= 1e6, "numbers from 0.000001 to 1000000")
                for weight in self.weights
            ),
            ("num_workers", self.num_workers, 0 <= self.num_workers <= 1024, "0 to 1024 processes"),
        )
