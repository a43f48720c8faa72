"""A comparison of two models as aligned text."""

from ichformer.errors import one_line
from ichformer.evaluation.compare import Comparison
from ichformer.evaluation.comparison.level import LabelComparison
from ichformer.evaluation.summary import FEW, NOT_ESTIMABLE, aligned, bootstrap_note, figure
from ichformer.evaluation.summary_warnings import FEW_POSITIVES
from ichformer.evaluation.tables.not_scored import said_of
from ichformer.statistics.intervals import Estimate


def format_comparison(comparison: Comparison) -> str:
    """Format a comparison as aligned tables, one for each level.

    Rates are those at the thresholds of the first rule. The JSON has those of all rules.
    """
    blocks = [f"{one_line(comparison.candidate)} minus {one_line(comparison.reference)} (differences)"]
    for level in comparison.levels:
        header = ["label", "positive", "reference", "candidate", "AUROC difference", "p (Holm)"]
        if comparison.margin is not None:
            header.append(f"within {comparison.margin:g}")
        rules = [rate.rule for label in level.labels for rate in label.rates]
        rates = ["sensitivity", "specificity"] if rules else []
        header += [f"{rate}, p (Holm)" for rate in rates]
        rows = [_cells(label, comparison.margin, rules[:1]) for label in level.labels]
        macro = ["macro mean", "", "", "", figure(level.macro_auroc, signed=True)]
        rows.append(macro + [""] * (len(header) - len(macro)))
        at = f"; rates at {one_line(rules[0])}" if rules else ""
        blocks.append(
            "\n".join(
                [
                    f"{level.level} level: {level.n} {level.level}s of {level.n_patients} patients{at}",
                    *aligned([header, *rows]),
                ]
            )
        )
    notes = [
        "AUROCs are compared by DeLong's paired test, clustered by patient, with Student's quantile for the interval.",
        "P values are corrected over labels and models (Holm).",
        bootstrap_note(comparison.replicates, comparison.seed),
    ]
    if any(_rests_on_few(label) for level in comparison.levels for label in level.labels):
        notes.append(
            f"{FEW.strip()} marks figures that are unreliable, as fewer than {FEW_POSITIVES} patients are positive."
        )
    notes += [f"! {said}" for said in said_of(comparison.not_scored)]
    return "\n\n".join([*blocks, "\n".join(f"  {note}" for note in notes)])


def _rests_on_few(label: LabelComparison) -> bool:
    return label.auroc is not None and label.n_positive_patients < FEW_POSITIVES


def _cells(label: LabelComparison, margin: float | None, rules: list[str]) -> list[str]:
    cells = [one_line(label.label), f"{label.n_positive}/{label.n}"]
    cells += [NOT_ESTIMABLE if v is None else f"{v:.3f}" for v in (label.reference_auroc, label.candidate_auroc)]
    tested = label.auroc
    if tested is None:
        cells += [NOT_ESTIMABLE, ""]
    else:
        difference = figure(Estimate(value=tested.value, interval=tested.interval), signed=True)
        cells += [difference + FEW * _rests_on_few(label), _p(label.auroc_p_holm)]
    if margin is not None:
        cells.append("" if label.non_inferior is None else "yes" if label.non_inferior else "not shown")
    rates = [rate for rate in label.rates if rate.rule in rules]
    cells += [f"{figure(rate.difference, signed=True)}, {_p(rate.p_holm)}" for rate in rates]
    return cells + [NOT_ESTIMABLE] * (2 * len(rules) - len(rates))


def _p(value: float | None) -> str:
    return "" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"
