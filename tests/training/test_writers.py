"""What the writers leave on disk is what other programs read."""

import struct
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter

from ichformer.training.monitoring.writers import JsonLines, TensorBoard


def records(path: Path) -> list[bytes]:
    data, found = path.read_bytes(), []
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        found.append(data[12 : 12 + size])
        data = data[16 + size :]
    return found


def test_events_are_framed_as_tensorboardx_frames_them(tmp_path):
    writer = TensorBoard(tmp_path / "tensorboard", resumed_step=3)
    writer.write(4, {"loss": 0.5, "val_loss": 0.25})
    writer.close()
    (path,) = (tmp_path / "tensorboard").iterdir()
    assert "tfevents" in path.name
    reference = RecordWriter(str(tmp_path / "reference"))
    for record in records(path):
        reference.write(record)
    reference.close()
    assert path.read_bytes() == (tmp_path / "reference").read_bytes()

    version, restart, scalars = map(Event.FromString, records(path))
    assert version.file_version == "brain.Event:2"
    assert (restart.step, restart.session_log.status) == (4, SessionLog.START)
    assert scalars.step == 4
    assert {value.tag: value.simple_value for value in scalars.summary.value} == {"loss": 0.5, "val_loss": 0.25}


def test_a_resumed_file_loses_the_lines_after_its_checkpoint_and_those_that_were_cut(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.0}\n{"step": 3, "loss": 1.0}\n{"step": 4, "lo')
    JsonLines(path, resumed_step=2).write(3, {"loss": 1.5})
    assert path.read_text().splitlines() == [
        '{"step": 1, "loss": 3.0}',
        '{"step": 2, "loss": 2.0}',
        '{"step": 3, "loss": 1.5}',
    ]
