"""Methods of explanation beside controls, on tables whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from ichformer.errors import InputError
from ichformer.evaluation.explanations.compare_maps import compare_maps
from ichformer.evaluation.explanations.map_figures import GAIN, MAP_FIGURES, PEAK

CONTROLS = ("random", "edges")


def maps_table(*, phantoms: int = 12, model: str = "first", left_out: int = 2) -> pd.DataFrame:
    """A table in which ``good`` is better than both controls in all, and ``half`` than ``random`` alone."""
    rng = np.random.default_rng(0)
    level = {"random": 0.0, "edges": 2.0, "good": 4.0, "half": 1.0}
    rows = []
    for phantom in range(phantoms + left_out):
        for method, mean in level.items():
            known = {}
            for figure in MAP_FIGURES:
                known[figure.name] = (-mean if figure.better == "low" else mean) + rng.normal(0, 0.2)
            known[PEAK] = float(method == "good" or (method == "half" and phantom % 2 == 0))
            row = {"model": model, "phantom": phantom, "bleed": "subdural", "method": method, "why": None}
            rows.append(row | (known if phantom < phantoms else {"why": "not found"}))
    return pd.DataFrame(rows, columns=[*rows[0], *(f.name for f in MAP_FIGURES if f.name not in rows[0])])


@pytest.fixture(scope="module")
def compared():
    (found,) = compare_maps(maps_table(), controls=CONTROLS)
    return found


def test_a_method_wins_only_beside_every_control(compared):
    good, half = compared.best_first
    assert good.method == "good"
    assert good.wins == tuple(figure.name for figure in MAP_FIGURES if figure.better)
    assert half.wins == (PEAK,)  # better than random in all, than the edges in this alone
    assert not any(method.wins for method in compared.methods[:2])
    assert [method.is_control for method in compared.methods] == [True, True, False, False]


def test_figures_are_means_with_intervals_over_the_scans_that_were_compared(compared):
    assert (compared.scans, compared.left_out) == (14, {"not found": 2})
    cell = compared.methods[2].cells[GAIN]
    table = maps_table()
    values = table.loc[(table["method"] == "good") & table["why"].isna(), GAIN]
    assert cell.n == len(values) == 12
    assert cell.estimate.value == pytest.approx(values.mean())
    assert cell.estimate.interval.low < values.mean() < cell.estimate.interval.high
    assert compared.methods[2].cells[PEAK].estimate.interval is None  # 1 in every phantom


def test_the_difference_is_that_on_the_same_scans():
    """By as much in every scan, while scans differ by far more: intervals of the means lie over each other."""
    table = maps_table(left_out=0)
    table[GAIN] = 10.0 * np.sin(table["phantom"]) + table["method"].map(
        {"random": 0, "edges": 0, "good": 0.1, "half": 0}
    )
    (found,) = compare_maps(table, controls=CONTROLS)
    good, half = found.methods[2:]
    assert good.cells[GAIN].estimate.interval.low < half.cells[GAIN].estimate.interval.high
    assert good.cells[GAIN].beats_controls
    assert not half.cells[GAIN].beats_controls


def test_a_figure_that_is_unknown_in_some_scans_counts_where_it_is_known():
    table = maps_table(left_out=0)
    unknown = (table["method"] == "good") & (table["phantom"] < 6)
    (found,) = compare_maps(table.assign(**{GAIN: table[GAIN].where(~unknown), "Gini": np.nan}), controls=CONTROLS)
    cell = found.methods[2].cells[GAIN]
    assert cell.n == 6
    assert cell.estimate.interval is None  # of six scans
    assert not cell.beats_controls
    assert found.methods[2].cells["Gini"].estimate.value is None


def test_a_model_that_finds_nothing_has_no_methods():
    (found,) = compare_maps(maps_table(phantoms=0, left_out=3), controls=CONTROLS)
    assert (found.scans, found.left_out, found.methods, found.best_first) == (3, {"not found": 3}, (), ())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="gain"), "has no column 'gain'"),
        (lambda t: pd.concat([t, t.tail(1)]), "half of first on scan 13 twice"),
        (lambda t: t[t["method"] != "edges"], "no rows of every control"),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(change, said):
    with pytest.raises(InputError, match=said):
        compare_maps(change(maps_table()), controls=CONTROLS)
