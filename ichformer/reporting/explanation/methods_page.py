"""Methods of explanation compared, as one HTML file: a table a model, examples, and how each figure is read."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ichformer.errors import one_line
from ichformer.evaluation.explanations.compare_maps import ModelMaps, compare_maps
from ichformer.evaluation.explanations.map_figures import MAP_FIGURES, PEAK
from ichformer.evaluation.summary import NOT_ESTIMABLE
from ichformer.reporting.styled_page import render_styled

_HERE = Path(__file__).parent
_METHODS_SHOWN, _EXAMPLES = 2, 3
"""The methods of a model that are shown in pictures, and the pictures of each kind."""

_COMPARED = sum(figure.better is not None for figure in MAP_FIGURES)
_SENSE = {"high": "higher is better", "low": "lower is better", None: "describes a map"}

Pictures = Mapping[tuple[str, int, str], bytes]
"""PNGs by the model, the phantom and the method."""


@dataclass(frozen=True, kw_only=True)
class _Cell:
    value: str
    interval: str
    wins: bool


@dataclass(frozen=True, kw_only=True)
class _Row:
    name: str
    is_control: bool
    wins: int
    cells: Sequence[_Cell]


@dataclass(frozen=True, kw_only=True)
class _Example:
    caption: str
    is_right: bool
    uri: str


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """A method in pictures."""

    name: str
    note: str
    examples: Sequence[_Example]


@dataclass(frozen=True, kw_only=True)
class _Model:
    """What the page shows of a model, from top to bottom."""

    name: str
    scans: str
    verdict: str
    rows: Sequence[_Row]
    shown: Sequence[_Shown]


def render_methods_page(table: pd.DataFrame, pictures: Pictures, *, controls: Sequence[str], title: str) -> str:
    """Render methods of explanation beside controls as HTML that fetches nothing and runs no script.

    Every text from outside is made printable and escaped. Examples are those of the methods that are best by
    ``ModelMaps.best_first``: the first phantoms in which the highest voxel lies in the bleed, and the first in which it
    does not, as far as there are pictures.

    Args:
      table: as for ``compare_maps``, with a column ``bleed`` that says what each phantom has.
      pictures: such as ``example_picture`` draws; those that are not shown do no harm.
      controls: names of the methods that know nothing of the model.
      title: of the page.

    Raises:
      InputError: as ``compare_maps``.
    """
    models = compare_maps(table, controls=controls)
    return render_styled(
        _HERE / "methods.html.j2",
        styles=[_HERE.parent / "evaluation" / "page.css", _HERE / "methods.css"],
        title=title,
        models=[_model(found, table[table["model"].astype(str) == found.model], pictures) for found in models],
        figures=[(figure.name, _SENSE[figure.better], figure.about) for figure in MAP_FIGURES],
        controls=" and ".join(map(one_line, controls)),
    )


def _model(found: ModelMaps, rows: pd.DataFrame, pictures: Pictures) -> _Model:
    left = "".join(f", {count} left out ({why})" for why, count in found.left_out.items())
    compared = found.scans - sum(found.left_out.values())
    won = ", ".join(f"{one_line(method.method)} in {len(method.wins) or 'none'}" for method in found.best_first)
    verdict = f"Of {_COMPARED} figures by which maps are compared, better than all controls: {won}."
    return _Model(
        name=one_line(found.model),
        scans=f"{found.scans} phantoms: {compared} compared{left}.",
        verdict=verdict if won else "No phantom could be compared.",
        rows=[
            _Row(
                name=one_line(method.method),
                is_control=method.is_control,
                wins=len(method.wins),
                cells=[
                    _Cell(
                        value=NOT_ESTIMABLE if cell.estimate.value is None else f"{cell.estimate.value:.2f}",
                        interval=""
                        if cell.estimate.interval is None
                        else f"{cell.estimate.interval.low:.2f} to {cell.estimate.interval.high:.2f}",
                        wins=cell.beats_controls,
                    )
                    for cell in method.cells.values()
                ],
            )
            for method in found.methods
        ],
        shown=[
            _shown(found.model, method.method, rows[rows["method"] == method.method], pictures)
            for method in found.best_first[:_METHODS_SHOWN]
        ],
    )


def _shown(model: str, method: str, rows: pd.DataFrame, pictures: Pictures) -> _Shown:
    known = rows[rows["why"].isna()].sort_values("phantom")
    examples: list[_Example] = []
    for is_right in (True, False):
        for row in known[(known[PEAK] == 1) == is_right].to_dict("records"):
            key = model, int(row["phantom"]), method
            if key in pictures and sum(one.is_right == is_right for one in examples) < _EXAMPLES:
                data = base64.b64encode(pictures[key]).decode("ascii")
                caption = f"{'Right' if is_right else 'Wrong'}: phantom {row['phantom']}, {one_line(str(row['bleed']))}"
                examples.append(_Example(caption=caption, is_right=is_right, uri=f"data:image/png;base64,{data}"))
    right = int((known[PEAK] == 1).sum())
    return _Shown(
        name=one_line(method),
        note=f"The highest voxel lies in the bleed in {right} of {len(known)} phantoms.",
        examples=examples,
    )
