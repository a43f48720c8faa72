"""BHX 1.1 (Brain Hemorrhage Extended): boxes round the bleeds of CQ500.

Reis et al., PhysioNet 2020, https://doi.org/10.13026/9cft-hg92, open access. Three tables: what three neuroradiologists
drew on thick slices; these boxes carried over to all series of a study, 39,668 of them; and to one series of a study,
27,203. The second is taken, as it has boxes for whichever series is chosen; the others only where it is not there.

No table names a slice without a box. So boxes alone tell no negative slice: whether such a slice was looked at is not
said.
"""

import ast
import math
from pathlib import Path

import pandas as pd

from ichformer.cohorts.csv_text import line_of
from ichformer.cohorts.tables import BOX_COLUMNS, find_below, read_table
from ichformer.errors import InputError, one_line

FILES = (
    "2_Extrapolation_to_All_Series.csv",
    "3_Extrapolation_to_Selected_Series.csv",
    "1_Initial_Manual_Labeling.csv",
)
"""The tables, in the order in which they are wanted."""

_COLUMNS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "data", "labelName")
_NAMES = {
    "epidural": "epidural",
    "intraparenchymal": "intraparenchymal",
    "intraventricular": "intraventricular",
    "subarachnoid": "subarachnoid",
    "subdural": "subdural",
    "chronic": "chronic",
}
_PLACES = BOX_COLUMNS[3:]
_MAX_CHARS = 500


def find_boxes(folder: Path) -> Path | None:
    """Returns the best table of boxes in the folder or one folder deeper."""
    return find_below(folder, FILES)


def read_boxes(path: Path) -> pd.DataFrame:
    """Reads a table of BHX with the columns ``study`` and ``tables.BOX_COLUMNS``; old bleeds are "chronic".

    An image is known by its three UIDs together: slices of CQ500 can share a SOPInstanceUID.

    Raises:
      InputError: a column missing, a label or a box that makes no sense.
    """
    table = read_table(path, columns=_COLUMNS)
    labels = table["labelName"].str.strip().str.lower().map(_NAMES)
    if labels.isna().any():
        row = int(labels.isna().argmax())
        raise InputError(
            f"labelName is {one_line(table['labelName'].iloc[row])!r}",
            where=f"{path}{line_of(table, row)}",
            fix=f"one of {', '.join(_NAMES)} is expected: download it again",
        )
    boxes = [_parse_box(text, where=f"{path}{line_of(table, row)}") for row, text in enumerate(table["data"])]
    uids = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "slice": "SOPInstanceUID"}
    texts = pd.DataFrame({ours: table[theirs].str.strip() for ours, theirs in uids.items()}).assign(label=labels)
    places = pd.DataFrame(boxes, columns=list(_PLACES), dtype=float)
    return pd.concat([texts.reset_index(drop=True), places], axis=1)


def _parse_box(text: str, *, where: str) -> tuple[float, ...]:
    """x, y, width and height from a Python dict as text, such as ``{'x': 320.9, 'y': 235.8, 'width': 30, 'height':
    5}``."""
    try:
        if len(text) > _MAX_CHARS or "\\" in text:
            raise ValueError("too long")
        said = ast.literal_eval(text.strip())
        box = tuple(float(said[name]) for name in _PLACES)
        if not all(map(math.isfinite, box)) or min(box[2:]) <= 0:
            raise ValueError("no box")
    except (ValueError, TypeError, KeyError, IndexError, SyntaxError, MemoryError, RecursionError):
        raise InputError(
            f"data is {one_line(text, max_chars=80)!r}, no box",
            where=where,
            fix="x, y, width and height in pixels are expected: correct the line or take it out",
        ) from None
    return box
