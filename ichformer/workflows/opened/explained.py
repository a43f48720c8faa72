"""The map of a label over a scan, from a run that was opened."""

from typing import Any

from ichformer.errors import InputError
from ichformer.evaluation.scorable import why_not_scored
from ichformer.explanations.heat_map import ScanMap, map_in_full
from ichformer.inference.trained import Trained
from ichformer.settings import check_known, fit
from ichformer.training.runs.outputs import OutputLevel
from ichformer.workflows.opened.prepared import prepare_as_trained, prepared_slices


def explain_volume(run: Trained, volume: Any, *, label: str, method: str, level: OutputLevel | None) -> ScanMap:
    """``TrainedModel.explain`` with what is to be said of the map beside its values."""
    names = run.objective.label_set.names
    level = fit(OutputLevel | None, level, where="level")
    levels: tuple[OutputLevel, ...] = ("slice", "scan") if level is None else (level,)
    of_level = {one: trained_names(run, one, names) for one in levels}
    can_be = [name for name in names if any(name in known for known in of_level.values())]
    if label not in names:
        check_known("label", label, can_be or names, where="label")
    trained = [one for one, known in of_level.items() if label in known]
    if not trained:
        fix = f"explain {' or '.join(can_be)}" if can_be else "train it with labels"
        raise InputError("the run was never trained for this label", where=label, fix=fix)
    prepared = prepare_as_trained(run, volume)
    if (reason := why_not_scored(prepared, run.prepare)) is not None:
        raise InputError(f"cannot be scored. {reason.text}", where=volume.source[0], fix="give another scan")
    return map_in_full(
        run.objective,
        run.variables,
        prepared,
        volume,
        label=label,
        level=trained[0],
        method=method,
        rows=prepared_slices(volume, prepared, run.prepare),
    )


def trained_names(run: Trained, level: OutputLevel, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some labels or targets whose outputs of a level were trained."""
    outputs = run.trained_outputs
    return tuple(name for name in names if outputs is None or name not in outputs.missing(level))
