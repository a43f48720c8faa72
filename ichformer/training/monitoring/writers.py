"""Writers of metrics: JSON lines, TensorBoard events and, if asked for, Weights & Biases."""

import json
import struct
import time
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

from ichformer.errors import InputError
from ichformer.files.json_files import parse_json
from ichformer.files.writing import append_bytes, write_bytes


@runtime_checkable
class Writer(Protocol):
    """Takes the metrics of a step."""

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Metrics after ``step`` steps."""
        ...

    def show(self, step: int, name: str, png: bytes) -> None:
        """A picture after ``step`` steps."""
        ...

    def close(self) -> None:
        """Puts everything on disk."""
        ...


class JsonLines:
    """One JSON object a line. A resumed run takes back the lines after its checkpoint, so that none stands twice."""

    def __init__(self, path: Path, *, resumed_step: int):
        if path.exists():
            kept = [line for line in path.read_bytes().splitlines() if _step(line) <= resumed_step]
            write_bytes(b"".join(line + b"\n" for line in kept), path)
        self._path = path

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """One line, on disk at once."""
        append_bytes((json.dumps({"step": step, **metrics}) + "\n").encode(), self._path)

    def show(self, step: int, name: str, png: bytes) -> None:
        """Nothing: it holds numbers alone."""

    def close(self) -> None:
        """Nothing is open."""


class TensorBoard:
    """An event file; that of a resumed run hides what an interrupted one wrote after its checkpoint.

    Written here and now: tensorboardX's own writer has a thread that dies of a full disk, and then waits for it.
    """

    def __init__(self, folder: Path, *, resumed_step: int):
        from tensorboardX.proto import event_pb2

        folder.mkdir(exist_ok=True)
        self._path = folder / f"events.out.tfevents.{time.time_ns()}"
        self._write(file_version="brain.Event:2")
        if resumed_step:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(step=resumed_step + 1, session_log=start)

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """One scalar a metric, on disk at once."""
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self._write(step=step, summary=Summary(value=values))

    def show(self, step: int, name: str, png: bytes) -> None:
        """A grey picture, on disk at once."""
        from tensorboardX.proto.summary_pb2 import Summary

        width, height = struct.unpack(">II", png[16:24])  # the header of every PNG
        image = Summary.Image(height=height, width=width, colorspace=1, encoded_image_string=png)
        self._write(step=step, summary=Summary(value=[Summary.Value(tag=name, image=image)]))

    def close(self) -> None:
        """Nothing is open."""

    def _write(self, **fields: Any) -> None:
        """A record: its length, the length's checksum, the event, its checksum (TensorFlow's ``record_writer.h``)."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.record_writer import masked_crc32c

        event = Event(wall_time=time.time(), **fields).SerializeToString()
        length = struct.pack("<Q", len(event))
        sums = [struct.pack("<I", masked_crc32c(data)) for data in (length, event)]
        append_bytes(length + sums[0] + event + sums[1], self._path)


class WeightsAndBiases:
    """A run of the same name in the given project; the extra ``wandb`` has to be installed."""

    def __init__(self, project: str, folder: Path):
        try:
            import wandb
        except ImportError:
            raise InputError(
                "wandb is not installed", where="--wandb-project", fix="pip install 'ichformer[wandb]'"
            ) from None
        self._run = wandb.init(project=project, name=folder.name, id=folder.name, dir=str(folder), resume="allow")

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """All metrics of the step."""
        self._run.log(metrics, step=step)

    def show(self, step: int, name: str, png: bytes) -> None:
        """Nothing: pictures show patients, and stay here."""

    def close(self) -> None:
        """Ends the run there."""
        self._run.finish()


class _Logged(msgspec.Struct):
    step: int


def _step(line: bytes) -> float:
    try:
        # A loss that is no number is written as NaN.
        return parse_json(line, _Logged, where="metrics.jsonl", fix="leave the line out", allow_nan=True).step
    except InputError:
        # The last line of a killed process may be cut off.
        return float("inf")
