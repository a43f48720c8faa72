"""Decoding compressed pixels in a separate process, as decoders in C++ crash or loop on broken code streams.

The process is started at the first compressed slice and serves all others. It is told a transfer syntax and a length as
a line of JSON, with the file behind it, and answers with a line of JSON and the pixels as they lie in memory.
"""

import atexit
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from jaxtyping import Integer
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pixel_array

from ichformer.ct.io.dicom.dicom_file import DicomFile, quiet_pydicom
from ichformer.ct.io.pixels.codestream import check_rle, check_stream
from ichformer.ct.io.pixels.fragments import frame_stream

_DAMAGE = re.compile(r"Corrupt JPEG data[^\r\n]*|Premature end of JPEG[^\r\n]*|Inconsistent progression[^\r\n]*")
"""What libjpeg, inside gdcm, prints before it returns a picture that is partly grey (its jerror.h)."""

CPU_LIMIT_S = 4
"""Processor time for one slice; 2048 x 2048 in JPEG 2000 take about one second."""

_MEMORY_LIMIT_BYTES = 2 << 30


def decode(data: bytes, syntax: str, *, all_bits: bool = False) -> Integer[np.ndarray, "..."]:
    """The stored values of a file with compressed pixels.

    Args:
      data: the file; that its size is sane has been checked.
      syntax: UID of its transfer syntax.
      all_bits: leave the bits above BitsStored in the values, as far as the coding carries them.

    Raises:
      ValueError: what the decoder said, or that it died of the file or took too long.
    """
    question = {"syntax": syntax, "bytes": len(data), "all_bits": all_bits}
    with _ONE_AT_A_TIME:
        process = _running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(question).encode() + b"\n" + data)
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


def decode_here(data: bytes, syntax: str, *, all_bits: bool = False) -> Integer[np.ndarray, "..."]:
    """``decode`` in this process; raises whatever pydicom and its decoders raise."""
    dataset = pydicom.dcmread(DicomFile(io.BytesIO(data)), force=True)
    dataset.file_meta.TransferSyntaxUID = uid = pydicom.uid.UID(syntax)
    if all_bits:
        dataset.BitsStored, dataset.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
    if uid.is_encapsulated:
        stream = frame_stream(dataset.PixelData, 0, 1)
        rows, columns, bits = dataset.Rows, dataset.Columns, dataset.BitsAllocated
        if uid == pydicom.uid.RLELossless:
            check_rle(stream, pixels=rows * columns, bytes_a_pixel=bits // 8)
        else:
            check_stream(stream, rows=rows, columns=columns, bits_allocated=bits)
        dataset.PixelData = encapsulate([stream])
    try:
        pixels = pixel_array(dataset, raw=True)
    except RuntimeError as error:
        raise ValueError(_plainly(str(error))) from None
    if pixels.dtype.kind not in "iu":
        raise ValueError(f"decoded to {pixels.dtype} {list(pixels.shape)}")
    return pixels


def say(error: Exception) -> str:
    """Why a decoder failed, with the kind of exception where its text is not clear alone."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _plainly(said: str) -> str:
    """What pydicom says where every decoder has failed, without what only its programmers understand."""
    reasons = [line.strip() for line in said.splitlines()[1:] if "NoneType" not in line]
    text = "no decoder can read its code stream, which is damaged or of an unusual kind"
    return f"{text} ({'; '.join(reasons)})" if reasons else text


_ONE_AT_A_TIME = threading.Lock()
_process: "subprocess.Popen[bytes] | None" = None


def _running() -> "subprocess.Popen[bytes]":
    global _process
    if _process is None or _process.poll() is not None:
        _stop()
        _process = subprocess.Popen(
            [sys.executable, "-m", "ichformer.ct.io.pixels.decoding"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
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
    complaints = _catch_output()
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
        complaints()  # those of the slice before are not about this one
        try:
            with quiet_pydicom():
                stored = decode_here(data, question["syntax"], all_bits=question["all_bits"])
            if found := _DAMAGE.search(complaints()):
                raise ValueError(f"its code stream is damaged ({found[0]})")
            pixels = stored.tobytes()
            answer = {"dtype": stored.dtype.str, "shape": stored.shape, "bytes": len(pixels)}
        except Exception as error:  # decoders raise all kinds of exceptions
            answer = {"error": say(error)[:2000]}
        answers.write(json.dumps(answer).encode() + b"\n" + pixels)
        with contextlib.suppress(BrokenPipeError):
            answers.flush()


def _catch_output() -> Callable[[], str]:
    """From now on decoders print into a pipe that nobody has to read; what is returned takes out what they printed."""
    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)  # what is too much is lost: a decoder must not wait
    for stream in (1, 2):
        os.dup2(writing, stream)

    def take() -> str:
        printed = b""
        with contextlib.suppress(BlockingIOError):
            while part := os.read(reading, 1 << 16):
                printed += part
        return printed.decode(errors="replace")

    return take


if __name__ == "__main__":
    _serve()
