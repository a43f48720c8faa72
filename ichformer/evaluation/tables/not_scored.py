"""The rows of a table that have no score, counted by their reasons. They are in no figure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Shaped

from ichformer.errors import InputError, one_line
from ichformer.evaluation.tables.table import (
    CheckedTable,
    LevelName,
    output_columns,
    reasons_of,
    rows_of_levels,
    score_columns,
)

MAX_REASONS = 20
"""Where there are more reasons than this, the rarest are counted as one."""


@dataclass(frozen=True, kw_only=True)
class NotScored:
    """Rows of one level that lack scores for one reason.

    Attributes:
      level: "slice" or "scan".
      label: whose score is missing; "" where the rows have no score at all.
      reason: as the table says it.
      n: how many rows.
      n_positive: of them, those that are positive for the label, or for any label where none is named.
      n_level: rows of the level, with and without scores.
    """

    level: LevelName
    label: str
    reason: str
    n: int
    n_positive: int
    n_level: int

    def __str__(self) -> str:
        of = f"{self.level.capitalize()} level" + (f", {self.label}" if self.label else "")
        if self.n == self.n_level:
            return f"{of}: not scored. {self.reason}"
        said = f"{of}: {self.n} of {self.n_level} {self.level}s were not scored and are in no figure."
        return f"{said} {self.n_positive} of them are positive. {self.reason}"


def not_scored(table: CheckedTable) -> tuple[NotScored, ...]:
    """Count the rows without a score by level, label and reason. Rows without any score come first."""
    found, labels = [], table.labels
    for name, rows in rows_of_levels(table)[0].items():
        missing, reasons = rows[score_columns(labels)].isna().to_numpy(), reasons_of(rows)
        truth = rows[list(labels)].to_numpy()
        whole = rows[output_columns(table.rows, labels)].isna().to_numpy().all(1)
        columns = {"": (whole, (truth == 1).any(1))}
        columns |= {label: (missing[:, i] & ~whole, truth[:, i] == 1) for i, label in enumerate(labels)}
        for label, (lacks, positive) in columns.items():
            shown = _shown_reasons(reasons[lacks])
            for reason in sorted(set(shown)):
                chosen = np.zeros(len(rows), bool)
                chosen[lacks] = shown == reason
                counts = {"n": int(chosen.sum()), "n_positive": int((chosen & positive).sum()), "n_level": len(rows)}
                found.append(NotScored(level=name, label=label, reason=one_line(reason), **counts))
    return tuple(found)


def said_of(missing: Sequence[NotScored]) -> list[str]:
    """A sentence for each, and one for all labels of a level that have no score at all for the same reason."""
    together: dict[object, list[NotScored]] = {}
    for i, one in enumerate(missing):
        together.setdefault((one.level, one.reason) if one.label and one.n == one.n_level else i, []).append(one)
    return [str(replace(ones[0], label=", ".join(one.label for one in ones))) for ones in together.values()]


def said_together(sentences: Iterable[tuple[str, str]]) -> list[str]:
    """Of labels and what is said of each: "LABELS: what", with all labels of which the same is said.

    >>> said_together([("any", "unknown"), ("epidural", "few"), ("subdural", "unknown")])
    ['any, subdural: unknown', 'epidural: few']
    """
    labels: dict[str, list[str]] = {}
    for label, said in sentences:
        labels.setdefault(said, []).append(label)
    return [f"{', '.join(names)}: {said}" for said, names in labels.items()]


def _shown_reasons(reasons: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
    """The reason of each row: the most frequent reasons as they are, all others as one."""
    counts = Counter(reasons.tolist())
    if len(counts) <= MAX_REASONS:
        return reasons
    own = {reason for reason, _ in sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:MAX_REASONS]}
    other = f"One of {len(counts) - MAX_REASONS} other reasons."
    return np.array([reason if reason in own else other for reason in reasons], object)


def check_scored(table: CheckedTable, *, where: object = "predictions") -> None:
    """InputError where a table has no score at all."""
    if table.rows[output_columns(table.rows, table.labels)].isna().to_numpy().all():
        reasons = "; ".join(map(one_line, dict.fromkeys(_shown_reasons(reasons_of(table.rows)))))
        raise InputError(f"not one row was scored ({reasons})", where=where, fix="give scans that the model can read")
