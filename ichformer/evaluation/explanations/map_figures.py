"""What the maps of explanations are measured by, and how each figure is read."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class MapFigure:
    """What a map is measured by.

    Attributes:
      name: its column in a table of maps.
      better: which values speak for a map; None where a figure describes maps and does not say which is better.
      about: how it is read, as a whole sentence.
    """

    name: str
    better: Literal["high", "low"] | None
    about: str


PEAK, GAIN = "peak in bleed", "gain"

MAP_FIGURES = (
    MapFigure(name=PEAK, better="high", about="How often the map's highest voxel lies in the bleed."),
    MapFigure(name="mass in bleed", better="high", about="The share of the map's positive sum that lies in the bleed."),
    MapFigure(
        name="rank accuracy",
        better="high",
        about="Of the highest voxels, as many as the bleed has, the share that lies in the bleed.",
    ),
    MapFigure(
        name="best IoU",
        better="high",
        about="The overlap with the bleed (intersection over union) at the threshold that suits the map best.",
    ),
    MapFigure(
        name=GAIN,
        better="high",
        about="Pixel flipping, in logits: insertion less deletion. Healthy tissue of the same head takes the place of "
        "voxels in the order of the map. 0 for a random order.",
    ),
    MapFigure(
        name="gain, neighbours",
        better="high",
        about="The same, with means of what lies around a voxel in its place.",
    ),
    MapFigure(
        name="infidelity",
        better="low",
        about="How badly sums of the map foretell the fall of the score where blocks become plain brain: 0 for a map "
        "that foretells every fall, 1 for one that tells nothing.",
    ),
    MapFigure(
        name="sensitivity",
        better=None,
        about="The largest change of the map under noise of 4 HU, over the map. A map that does not depend on the scan "
        "has 0, so a control is not beaten here.",
    ),
    MapFigure(
        name="entropy",
        better=None,
        about="How widely the map is spread, in nats: 0 where one voxel has all. A simple map need not be true.",
    ),
    MapFigure(
        name="Gini",
        better=None,
        about="How unequal the map's values are: 0 where all are equal, near 1 where few have all.",
    ),
    MapFigure(
        name="as random model",
        better="low",
        about="The rank correlation with the map of the same network with random parameters. A map that stays the same "
        "(1) explains the picture and not the model.",
    ),
    MapFigure(
        name="as other label",
        better="low",
        about="The rank correlation with the map of another label. A map that stays the same (1) does not explain the "
        "label. That of a lesion head always does.",
    ),
    MapFigure(
        name="peak, random model",
        better=None,
        about="How often the highest voxel of the map of the same network with random parameters lies in the bleed. "
        "What finds bleeds without having learnt them explains the picture.",
    ),
)
"""Every figure, in the order in which it is shown."""
