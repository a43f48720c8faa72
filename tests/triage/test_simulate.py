"""Simulated times beside the formulas of the literature, and what has to hold exactly."""

import functools
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom
from scipy.stats import t as student

from ichformer.cli import main
from ichformer.errors import InputError
from ichformer.triage.formulas import erlang_c, expected_waits, mg1_priority_waits, mmc_priority_waits
from ichformer.triage.results import GROUPS, Figure, TriageSimulation
from ichformer.triage.room import ReadingRoom
from ichformer.triage.simulate import days_to_leave_out, simulate_triage
from ichformer.triage.text import format_simulation
from tests.typecheck import unchecked

ROOM = ReadingRoom(studies_per_hour=4.5, reading_minutes=10, prevalence=0.2, sensitivity=0.8, specificity=0.9)
ROOMS = {
    "M/M/1": ROOM,
    "M/D/1": replace(ROOM, reading_times="deterministic"),
    "M/lognormal/1": replace(ROOM, reading_times="lognormal", variation=0.6),
    "M/M/3": replace(ROOM, reading_minutes=30, readers=3),
}


@functools.cache
def simulated(name: str) -> TriageSimulation:
    return simulate_triage(ROOMS[name], days=30, replications=10)


def figure(found: TriageSimulation, measure: str, group: str, statistic: str = "mean") -> Figure:
    (one,) = (f for f in found.figures if (f.measure, f.group, f.statistic) == (measure, group, statistic))
    return one


@pytest.mark.parametrize("name", ROOMS)
def test_the_intervals_hold_the_exact_means(name):
    """Each interval is widened from 95 to 99.95 %, as there are twenty of them in a room."""
    found = simulated(name)
    wider = np.divide(*student.ppf([0.99975, 0.975], found.replications - 1))
    compared = 0
    for one in found.figures:
        for estimate, exact in (
            (one.without_triage, one.formula_without_triage),
            (one.with_triage, one.formula_with_triage),
        ):
            if exact is not None:
                half = (estimate.interval.high - estimate.interval.low) / 2
                assert abs(estimate.value - exact) <= wider * half, (name, one)
                assert half < 0.4 * exact  # it says something
                compared += 1
    assert compared == 2 * 2 * len(GROUPS)


def test_percentiles_of_waits_in_the_order_of_arrival_are_the_exact_ones():
    """In M/M/c, a wait is longer than t with probability C exp(-(c mu - lambda) t)."""
    found = simulated("M/M/3")
    waits = erlang_c(2.25, 3)
    for statistic, share in (("median", 0.5), ("percentile_95", 0.95)):
        exact = math.log(waits / (1 - share)) / (3 / 30 - 4.5 / 60)
        estimate = figure(found, "wait", "all", statistic).without_triage
        assert estimate.interval.low < exact < estimate.interval.high


def test_formulas_by_hand():
    assert erlang_c(2.0, 3) == pytest.approx(4 / 9)
    assert erlang_c(0.7, 1) == pytest.approx(0.7)
    # rho = 0.8 of which 0.2 come first: W0 = 0.8 * 2 / 2.
    np.testing.assert_allclose(mg1_priority_waits(np.array([0.2, 0.6]), 1.0, 2.0), [0.8 / 0.8, 0.8 / (0.8 * 0.2)])
    np.testing.assert_allclose(
        mmc_priority_waits(np.array([0.2, 0.6]), 1.0, servers=1), mg1_priority_waits(np.array([0.2, 0.6]), 1.0, 2.0)
    )


@pytest.mark.parametrize("name", ROOMS)
def test_what_some_gain_others_lose(name):
    """Kleinrock's conservation law: with equal services, the mean wait of all studies stays as it is."""
    room = ROOMS[name]
    waits = expected_waits(room)
    share = room.flagged_share
    assert share * waits.flagged + (1 - share) * waits.not_flagged == pytest.approx(waits.without_triage)
    assert waits.flagged < waits.without_triage < waits.not_flagged


def test_there_is_no_formula_for_late_flags_and_for_several_readers_of_other_times():
    assert expected_waits(replace(ROOM, ai_minutes=1)) is None
    assert expected_waits(replace(ROOMS["M/D/1"], readers=2)) is None
    assert simulate_triage(replace(ROOM, ai_minutes=1), days=1, replications=5).figures[0].formula_with_triage is None


def test_a_flag_that_flags_nothing_changes_nothing():
    found = simulate_triage(replace(ROOM, sensitivity=0, specificity=1), days=20, replications=5)
    assert found.flagged_positive_share is None
    assert {one.group for one in found.figures} == {"all", "positive", "positive_missed", "negative"}
    assert all(one.difference.value == 0 for one in found.figures)


def test_a_flag_that_comes_after_the_report_changes_nothing():
    found = simulate_triage(replace(ROOM, ai_minutes=2000), days=5, replications=5)
    assert found.days_left_out == math.ceil(5 * 2000 / 1440)
    assert all(one.difference.value in (0, None) for one in found.figures)


def test_notification_is_at_the_flag_or_with_the_report():
    found = simulate_triage(replace(ROOM, ai_minutes=4), days=20, replications=5)
    flagged, missed = (figure(found, "notification", f"positive_{which}") for which in ("flagged", "missed"))
    assert flagged.with_triage.value < 4  # some reports come before the flag
    assert figure(found, "notification", "positive_flagged", "percentile_95").with_triage.value == pytest.approx(4)
    report = figure(found, "report", "positive_missed")
    assert missed.with_triage == report.with_triage
    assert missed.without_triage == report.without_triage
    assert missed.studies + flagged.studies == figure(found, "notification", "positive").studies


def test_the_same_seed_brings_the_same_studies_and_few_give_no_percentile():
    found, better = (
        simulate_triage(replace(ROOM, sensitivity=sensitivity), days=2, replications=5) for sensitivity in (0.8, 0.9)
    )
    assert figure(found, "wait", "all").without_triage == figure(better, "wait", "all").without_triage
    assert figure(found, "wait", "all") != figure(better, "wait", "all")
    assert figure(found, "report", "positive_missed", "median").without_triage.value is None
    assert "not estimable" in format_simulation(found)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"studies_per_hour": 6}, "reading room: the utilisation is 1: .*fewer --studies-per-hour"),
        ({"studies_per_hour": 0}, "--studies-per-hour: 0 is out of range; take more than 0"),
        ({"prevalence": 1.5}, "--prevalence: 1.5 is out of range; take a share from 0 to 1"),
        ({"readers": 0}, "--readers: 0 is out of range"),
        ({"ai_minutes": -1.0}, "--ai-minutes: -1.0 is out of range"),
        ({"reading_times": "lognormal"}, "--variation: goes with --reading-times lognormal; give it too"),
        ({"variation": 0.5}, "--variation: goes with --reading-times lognormal; leave one of them out"),
        ({"reading_times": "normal"}, "--reading-times: found 'normal'; perhaps you meant 'lognormal'"),
    ],
)
def test_what_no_room_can_be_is_refused(changed, said):
    with unchecked(), pytest.raises(InputError, match=said):
        replace(ROOM, **changed)


def test_what_would_take_too_long_is_refused_and_the_busier_the_more_is_left_out():
    with pytest.raises(InputError, match=r"about .* studies would be simulated, more than .* fewer --days"):
        simulate_triage(replace(ROOM, studies_per_hour=5.999))
    with pytest.raises(InputError, match="--replications: 4 is out of range; take at least 5"):
        simulate_triage(ROOM, replications=4)
    assert days_to_leave_out(ROOM) == 2
    assert days_to_leave_out(replace(ROOM, studies_per_hour=5.9)) > 100


def test_the_command_prints_a_table_and_one_json_object(capsys):
    words = "simulate --studies-per-hour 4.5 --reading-minutes 10 --prevalence 0.2 --sensitivity 0.8 --specificity 0.9"
    words += " --days 2 --replications 5"
    main(words.split())
    text = capsys.readouterr().out
    assert "utilisation 0.75" in text
    assert "20.0% are positive; 24.0% are flagged, 66.7% of these rightly" in text
    assert " = 30.0" in text  # lambda m^2 / (1 - rho)
    main([*words.split(), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["room"]["prevalence"] == 0.2
    assert {one["measure"] for one in found["figures"]} == {"wait", "report", "notification"}
    with pytest.raises(SystemExit):
        main([*words.split(), "--studies-per-hour", "7"])
    assert capsys.readouterr().err.count("\n") == 1


def test_what_the_page_shows_runs(capsys):
    page = Path(__file__).parents[2] / "docs" / "reading-room.md"
    (snippet,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(snippet, page.name, "exec"), {})
    assert "'measure': 'wait', 'group': 'all', 'statistic': 'mean'" in capsys.readouterr().out


@pytest.mark.full(minutes=2)
def test_95_percent_of_the_intervals_hold_the_exact_mean():
    trials = 150
    found = [simulate_triage(ROOM, days=8, replications=10, seed=seed) for seed in range(trials)]
    low, high = binom.ppf([0.0005, 0.9995], trials, 0.95)
    for group in GROUPS:
        figures = [figure(one, "wait", group) for one in found]
        inside = [f.with_triage.interval.low <= f.formula_with_triage <= f.with_triage.interval.high for f in figures]
        assert low <= sum(inside) <= high, group
