"""What a table of predictions has no score for, and why: it is counted, said and in no figure."""

from dataclasses import dataclass

import pandas as pd

from ichformer import LABELS
from ichformer.errors import InputError, one_line
from ichformer.evaluation.table import LevelName, reasons_of, rows_of_levels, score_columns


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
        of = f"{self.level} {self.label}" if self.label else f"{self.level} level"
        if self.n == self.n_level:
            return f"{of}: not scored. {self.reason}"
        said = f"{of}: {self.n} of {self.n_level} {self.level}s were not scored and are in no figure"
        return f"{said}, {self.n_positive} positive ones among them. {self.reason}"


def not_scored(table: pd.DataFrame, *, labels: tuple[str, ...] = LABELS) -> tuple[NotScored, ...]:
    """What has no score in a checked table, and why: by level, then whole rows before single labels."""
    found = []
    for name, rows in rows_of_levels(table, labels)[0].items():
        missing, reasons = rows[score_columns(labels)].isna().to_numpy(), reasons_of(rows)
        truth = rows[list(labels)].to_numpy()
        whole = missing.all(1)
        columns = {"": (whole, (truth == 1).any(1))}
        columns |= {label: (missing[:, i] & ~whole, truth[:, i] == 1) for i, label in enumerate(labels)}
        for label, (lacks, positive) in columns.items():
            for reason in sorted(set(reasons[lacks])):
                chosen = lacks & (reasons == reason)
                counts = {"n": int(chosen.sum()), "n_positive": int((chosen & positive).sum()), "n_level": len(rows)}
                found.append(NotScored(level=name, label=label, reason=one_line(reason), **counts))
    return tuple(found)


def check_scored(table: pd.DataFrame, *, labels: tuple[str, ...] = LABELS, where: object = "predictions") -> None:
    """InputError where a checked table has no score at all: there is nothing to judge."""
    if table[score_columns(labels)].isna().to_numpy().all():
        reasons = "; ".join(dict.fromkeys(map(one_line, reasons_of(table))))
        raise InputError(f"not one row was scored ({reasons})", where=where, mend="judge scans that the model can read")
