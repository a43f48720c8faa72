"""Compressed pixels, decoded by a process of its own: decoders in C++ abort, crash or loop on broken code streams.

The process is started at the first compressed slice and serves all others. It is told a transfer syntax and a length as
a line of JSON, with the file behind it, and answers with a line of JSON and the pixels as they lie in memory.
"""

import atexit
import contextlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from jaxtyping import Integer
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import pixel_array

from ichformer.ct.codestream import stream_size
from ichformer.ct.headers import DicomFile, quiet_pydicom

CPU_LIMIT_S = 4
"""Processor time for one slice; 2048 x 2048 in JPEG 2000 take about one second."""

_MEMORY_LIMIT_BYTES = 2 << 30


def decode(data: bytes, syntax: str) -> Integer[np.ndarray, "..."]:
    """The stored values of a file with compressed pixels.

    Args:
      data: the file; that its size is sane has been checked.
      syntax: UID of its transfer syntax.

    Raises:
      ValueError: what the decoder said, or that it died of the file or took too long.
    """
    with _ONE_AT_A_TIME:
        process = _running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"syntax": syntax, "bytes": len(data)}).encode() + b"\n" + data)
            process.stdin.flush()
            answer = json.loads(process.stdout.readline() or b"null")
            pixels = process.stdout.read(answer["bytes"]) if answer and "bytes" in answer else b""
        except OSError:
            answer = None
        if answer is None:
            _stop()
            raise ValueError(f"the decoder crashed, or needed more than {CPU_LIMIT_S} s")
    if "error" in answer:
        raise ValueError(answer["error"])
    return np.frombuffer(pixels, answer["dtype"]).reshape(answer["shape"])


def decode_here(data: bytes, syntax: str) -> Integer[np.ndarray, "..."]:
    """``decode`` in this process; raises whatever pydicom and its decoders stumble over."""
    dataset = pydicom.dcmread(DicomFile(io.BytesIO(data)), force=True)
    dataset.file_meta.TransferSyntaxUID = uid = pydicom.uid.UID(syntax)
    if uid.is_encapsulated and uid != pydicom.uid.RLELossless:
        said = stream_size(next(generate_frames(dataset.PixelData, number_of_frames=1)))
        if said != (dataset.Rows, dataset.Columns, 1):
            raise ValueError(f"its code stream says {said.rows} x {said.columns} x {said.samples}")
    pixels = pixel_array(dataset, raw=True)
    if pixels.dtype.kind not in "iu":
        raise ValueError(f"decoded to {pixels.dtype} {list(pixels.shape)}")
    return pixels


_ONE_AT_A_TIME = threading.Lock()
_process: "subprocess.Popen[bytes] | None" = None


def _running() -> "subprocess.Popen[bytes]":
    global _process
    if _process is None or _process.poll() is not None:
        _stop()
        _process = subprocess.Popen(
            [sys.executable, "-m", "ichformer.ct.decoding"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # gdcm grumbles there; what counts comes back as an error
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    return _process


@atexit.register
def _stop() -> None:
    global _process
    if _process is not None:
        _process.kill()
        with contextlib.suppress(BrokenPipeError), _process:  # closes its pipes and waits
            pass
        _process = None


def _serve() -> None:
    """In the process: one answer for each line, until there is no more."""
    import resource

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a decoder prints
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):  # where there is no /proc, sizes are still checked
        own_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (own_bytes + _MEMORY_LIMIT_BYTES, hard))
    for line in sys.stdin.buffer:
        question: dict[str, Any] = json.loads(line)
        data = sys.stdin.buffer.read(question["bytes"])
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + CPU_LIMIT_S, hard))
        answer: dict[str, Any]
        pixels = b""
        try:
            with quiet_pydicom():
                stored = decode_here(data, question["syntax"])
            pixels = stored.tobytes()
            answer = {"dtype": stored.dtype.str, "shape": stored.shape, "bytes": len(pixels)}
        except Exception as error:  # decoders raise whatever they stumble over
            answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
        answers.write(json.dumps(answer).encode() + b"\n" + pixels)
        with contextlib.suppress(BrokenPipeError):
            answers.flush()


if __name__ == "__main__":
    _serve()
