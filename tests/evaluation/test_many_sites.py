"""Figures of very many sites, subgroups and reasons are bounded, and it is said which are taken together."""

import json

import numpy as np
import pandas as pd
import pytest

from ichformer.cohorts.index import MAX_SITES, shown_sites
from ichformer.evaluation.level_summary import MAX_GROUP_COLUMNS
from ichformer.evaluation.tables.checked import check_table
from ichformer.evaluation.tables.not_scored import MAX_REASONS, not_scored
from ichformer.workflows.evaluate_table import evaluate
from tests.evaluation.tables import prediction_table

ANY = ("any",)


def test_few_sites_stay_as_they_are():
    sites = ["", "other (3 sites)", *(f"s{i}" for i in range(MAX_SITES - 1))]
    assert shown_sites(sites) == sites


def test_of_many_sites_the_small_ones_are_one():
    sites = ["b"] * 3 + ["a"] * 3 + [f"s{i:04d}" for i in range(1000)] + ["", "other (7 sites)"]
    shown = shown_sites(sites)
    kept = {"a", "b", *(f"s{i:04d}" for i in range(MAX_SITES - 2))}
    assert set(shown) == {*kept, "", f"other ({1003 - MAX_SITES} sites)"}
    # A site that is called as if it were many is one of them.
    assert shown[-1] == f"other ({1003 - MAX_SITES} sites)"
    assert shown.count(shown[-1]) == 1003 - MAX_SITES


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A table in which nearly every patient has a site of its own, and three sites have many."""
    out = tmp_path_factory.mktemp("many")
    n = 3000
    rng = np.random.default_rng(0)
    truth = (rng.random(n) < 0.3).astype(np.float64)
    site = [f"large {i % 3}" if i < 600 else f"site {i:05d}" for i in range(n)]
    groups = {f"group_{i:02d}": np.where(rng.random(n) < 0.5, "x", "y") for i in range(MAX_GROUP_COLUMNS + 5)}
    table = pd.DataFrame({"patient": [f"p{i}" for i in range(n)], "site": site, "any": truth, **groups})
    score = 1 / (1 + np.exp(2 - 2 * truth - rng.normal(size=n)))
    table = table.assign(study="", series="", slice="", split="", score_any=score)
    return out, evaluate(table, out=out, labels=ANY, replicates=4), table


def test_every_row_is_in_one_site_and_large_ones_are_pooled(evaluated):
    _, summary, table = evaluated
    (level,) = summary.levels
    names = [site.name for site in level.sites]
    assert names[:3] == ["large 0", "large 1", "large 2"]
    assert names[-1] == f"other ({2403 - MAX_SITES} sites)"
    assert len(names) == MAX_SITES + 1
    assert sum(site.n for site in level.sites) == len(table)
    assert [site.n for site in level.sites[:3]] == [200, 200, 200]
    (pooled,) = level.pooled_sites
    assert pooled.sites == 3
    assert len(pooled.left_out) == MAX_SITES - 3
    assert names[-1] not in pooled.left_out
    assert len(level.subgroups) == MAX_GROUP_COLUMNS


def test_it_is_said_and_the_files_stay_small(evaluated):
    out, summary, _ = evaluated
    assert (
        f"The table has 2403 sites. The {MAX_SITES} with the most rows have figures of their own and are pooled."
        in " ".join(summary.warnings)
    )
    n = MAX_GROUP_COLUMNS
    said = f"The table has {n + 5} columns of subgroups. The first {n} of them have figures."
    assert said in summary.warnings
    assert said in json.loads((out / "metrics.json").read_text())["warnings"]
    page = (out / "evaluation.html").read_text(encoding="utf-8")
    assert said in page
    assert page.count("<tr") < 3 * (MAX_SITES + 3 * MAX_GROUP_COLUMNS)


def test_reasons_without_end_are_counted_together():
    table = prediction_table(n_patients=200, n_slices=1)
    names = [name for name in table if name.startswith("score_")]
    number = np.arange(len(table))
    reason = np.where(number < 50, "No brain was found.", [f"reason {i}" for i in number])
    table[names] = np.nan
    found = [one for one in not_scored(check_table(table.assign(not_scored=reason))) if one.level == "slice"]
    assert len(found) == MAX_REASONS + 1
    assert sum(one.n for one in found) == 200
    assert {one.reason: one.n for one in found}["No brain was found."] == 50
    other = f"One of {151 - MAX_REASONS} other reasons."
    assert {one.reason: one.n for one in found}[other] == 151 - MAX_REASONS
