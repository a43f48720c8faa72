"""Where metrics go: a file of JSON lines, TensorBoard events and, if asked for, Weights & Biases."""

import json
from pathlib import Path
from typing import Protocol, runtime_checkable

from ichformer.errors import InputError
from ichformer.files import write_text


@runtime_checkable
class Writer(Protocol):
    """Takes the metrics of a step."""

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Metrics after ``step`` steps."""
        ...

    def close(self) -> None:
        """Puts everything on disk."""
        ...


class JsonLines:
    """One JSON object a line. A resumed run takes back the lines after its checkpoint, so that none stands twice."""

    def __init__(self, path: Path, *, resumed_step: int):
        if path.exists():
            kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step(line) <= resumed_step]
            write_text("".join(line + "\n" for line in kept), path)
        self._file = path.open("a", encoding="utf-8")

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """One line, on disk at once."""
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class TensorBoard:
    """Event files; those of a resumed run hide what an interrupted one wrote after its checkpoint."""

    def __init__(self, folder: Path, *, resumed_step: int):
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=resumed_step + 1 if resumed_step else None)

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """One scalar a metric."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes and closes."""
        self._writer.close()


class WeightsAndBiases:
    """A run of the same name in the given project; the extra ``wandb`` has to be installed."""

    def __init__(self, project: str, folder: Path):
        try:
            import wandb
        except ImportError:
            raise InputError(
                "wandb is not installed", where="--wandb-project", mend="pip install 'ichformer[wandb]'"
            ) from None
        self._run = wandb.init(project=project, name=folder.name, id=folder.name, dir=str(folder), resume="allow")

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """All metrics of the step."""
        self._run.log(metrics, step=step)

    def close(self) -> None:
        """Ends the run there."""
        self._run.finish()


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        # The last line of a killed process may be cut off.
        return float("inf")
