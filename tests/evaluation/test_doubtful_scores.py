"""Tables whose figures would be right and mean something else than their readers think."""

import numpy as np
import pandas as pd
import pytest

from ichformer.errors import InputError
from ichformer.evaluation.tables.table import ID_COLUMNS
from ichformer.workflows.evaluate_table import evaluate


def table(scores: np.ndarray, truth: np.ndarray, patients: list[str] | None = None) -> pd.DataFrame:
    named = patients or [f"p{i}" for i in range(len(truth))]
    ids = dict.fromkeys(ID_COLUMNS, "") | {"patient": named, "series": [f"s{i}" for i in range(len(truth))]}
    return pd.DataFrame(ids | {"any": truth.astype(float), "score_any": scores.astype(float)})


def warnings(scores: np.ndarray, truth: np.ndarray) -> str:
    return "\n".join(evaluate(table(scores, truth), labels=("any",), replicates=20).warnings)


TRUTH = np.arange(60) % 2
SCORES = np.clip(0.5 + 0.2 * (TRUTH - 0.5) + np.random.default_rng(0).normal(0, 0.1, 60), 0.01, 0.99)


def test_scores_that_rank_the_wrong_way():
    assert "Scan level, any: the scores rank the wrong way (AUROC 0." in warnings(1 - SCORES, TRUTH)
    assert "rank the wrong way" not in warnings(SCORES, TRUTH)
    chance = np.random.default_rng(1).random(60)
    assert "rank the wrong way" not in warnings(chance, TRUTH)


def test_scores_that_are_all_the_same():
    assert "score_any: all scores are 0.5, so they separate nothing" in warnings(np.full(60, 0.5), TRUTH)


def test_decisions_in_the_place_of_probabilities():
    assert "score_any: all scores are 0 or 1. They are decisions" in warnings((SCORES > 0.5), TRUTH)


@pytest.mark.parametrize(("first", "second"), [("Anna", "anna"), ("042", "42"), ("a b", "a  b"), ("P1", "P1\u200b")])
def test_one_patient_in_two_spellings_is_refused(first, second):
    named = [first, second, *(f"p{i}" for i in range(58))]
    with pytest.raises(InputError, match="spells one patient in several ways"):
        evaluate(table(SCORES, TRUTH, named), labels=("any",), replicates=20)
