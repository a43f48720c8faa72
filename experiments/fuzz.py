"""Fuzzing: broken input is read or refused in one line, within 5 s of processor time and 2 GiB.

Claim: of 20,000 inputs broken in known and random ways, none crashes a process, hangs it, asks for gigabytes, makes a
library write to standard error, or leaves half-written files. Inputs are DICOM series, NIfTI files, stores, archives,
pictures, files of weights, folders of runs, and tables.
Cost: about half an hour on one CPU core.
Command: python -m experiments.fuzz --files 20000 --seed 0
Expected: "0 failures" and exit code 0; the figures seen stand in ``experiments/RESULTS.md``.
"""

import argparse
import collections
import contextlib
import json
import multiprocessing
import multiprocessing.connection
import os
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from experiments.fuzzing.subjects import KINDS, make_case, write_bases
from ichformer.errors import InputError

LIMIT_S = 5.0
"""Of processor time: how busy the machine is says nothing of the reader."""
HANG_S = 60
"""Of processor time; who has not answered by then hangs, and is ended."""
PATIENCE_S = 600.0
"""Of the clock on the wall, for whoever waits for something that never comes."""
LIMIT_BYTES = 2 << 30
_OURS = re.compile(r"^the checkpoint of step \d+ cannot be read: [^\n]*\n", re.MULTILINE)
"""What ichformer itself says on standard error: an older checkpoint is taken."""
_MEMORY_WORDS = re.compile(r"MemoryError|bad_alloc|[Uu]nable to allocate|[Cc]annot allocate|out of memory")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one case.

    Attributes:
      number, kind, base, mutation: which it was.
      end: "read", "refused", or what went wrong.
      text: the error's.
      seconds, peak_bytes: processor time of the reading, and how much memory it added.
      noise: what libraries wrote to standard output or error.
    """

    number: int
    kind: str = ""
    base: str = ""
    mutation: str = ""
    end: str
    text: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0
    noise: str = ""

    @property
    def failed(self) -> bool:
        return self.end not in ("read", "refused")


def fuzz(
    numbers: range,
    *,
    seed: int,
    real: Path | None,
    kinds: Sequence[str] = tuple(KINDS),
    limit_s: float = LIMIT_S,
    progress: bool = True,
) -> Iterator[Outcome]:
    """The outcome of each case, in order; each runs in a process that is watched and replaced where it dies.

    Args:
      numbers: of the cases; a case is always the same for its number and the seed.
      seed: of the mutations.
      real: folder of real files to break too, as ``shared/data``.
      kinds: names of the kinds of input that are broken.
      limit_s: of processor time; a reader that takes more of it is slow.
      progress: show a bar on standard error.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        bases = Path(name) / "bases"
        bases.mkdir()
        write_bases(bases, real, kinds)
        process: multiprocessing.context.SpawnProcess | None = None
        bar = stack.enter_context(tqdm(total=len(numbers), unit="input", disable=not progress, file=sys.stderr))
        try:
            for number in numbers:
                if process is None:
                    ours, theirs = context.Pipe()
                    process = context.Process(target=_work, args=(theirs, bases, seed, kinds, limit_s), daemon=True)
                    process.start()
                    theirs.close()
                outcome = _one(ours, number)
                if outcome.end in ("hang", "died"):
                    process.kill()
                    process.join()
                    process = None
                bar.update()
                yield outcome
        finally:
            if process is not None:
                process.kill()
                process.join()


def _one(worker: multiprocessing.connection.Connection, number: int) -> Outcome:
    case: dict[str, Any] = {}
    try:
        worker.send(number)
        case = worker.recv()
        if not worker.poll(PATIENCE_S):
            return Outcome(number=number, **case, end="hang", seconds=PATIENCE_S)
        return Outcome(number=number, **case, **worker.recv())
    except (EOFError, ConnectionError):
        return Outcome(number=number, **case, end="died")


def _work(
    parent: multiprocessing.connection.Connection, bases: Path, seed: int, kinds: Sequence[str], limit_s: float
) -> None:
    """In a process of its own: makes a case, says which it is, reads it, says what came of it, again and again."""
    with tempfile.TemporaryDirectory(dir=bases.parent) as name, tempfile.TemporaryFile() as noise:
        tempfile.tempdir = name  # what a reader forgets there is found
        for stream in (sys.stdout, sys.stderr):
            os.dup2(noise.fileno(), stream.fileno())
        for kind in kinds:  # libraries load what they load late before memory is counted
            for base in sorted((bases / kind).iterdir()):
                shutil.copytree(base, warm := Path(name) / "warm")
                with contextlib.suppress(InputError):
                    KINDS[kind].read(warm)
                shutil.rmtree(warm)
        limit = _memory_bytes("VmSize") + LIMIT_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        while True:
            number = parent.recv()
            place = Path(name) / str(number)
            kind, base_name, mutation = make_case(bases, place, seed=seed, number=number, kinds=kinds)
            noise.truncate(0)
            noise.seek(0)
            parent.send({"kind": kind, "base": base_name, "mutation": mutation})
            resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + HANG_S, resource.RLIM_INFINITY))
            result = _read(kind, place, limit_s=limit_s)
            sys.stdout.flush()
            sys.stderr.flush()
            noise.seek(0)
            said = _OURS.sub("", noise.read(2000).decode(errors="replace"))
            if said and result["end"] in ("read", "refused"):
                result["end"] = "noise"
            parent.send({**result, "noise": said})
            shutil.rmtree(place)


def _read(kind: str, place: Path, *, limit_s: float) -> dict[str, Any]:
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far (man 5 proc)
    there = set(place.parent.rglob("*"))
    before, start, text = _memory_bytes("VmRSS"), time.process_time(), ""
    try:
        KINDS[kind].read(place)
        end = "read"
    except InputError as error:
        text = str(error)
        is_readable = text.isprintable() and bool(error.what.strip()) and bool(error.fix.strip())
        end = "refused" if is_readable else "unreadable message"
    except Exception as error:
        import traceback

        end, text = "other error", "".join(traceback.format_exception(error)[-3:])
    seconds, peak = time.process_time() - start, _memory_bytes("VmHWM") - before
    left = [path for path in set(place.parent.rglob("*")) - there if end == "refused" or place not in path.parents]
    if left:
        end, text = "left files", f"{text} {sorted(left)}"
    if seconds > limit_s:
        end = "slow"
    if _MEMORY_WORDS.search(text) or peak > LIMIT_BYTES:
        end = "memory"
    return {"end": end, "text": text, "seconds": seconds, "peak_bytes": peak}


def _memory_bytes(field: str) -> int:
    (kibibytes,) = re.findall(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kibibytes) << 10


def report(outcomes: list[Outcome]) -> str:
    """A table by kind of file, and every failure."""
    lines = [f"{'':<8}{'inputs':>8}{'read':>8}{'refused':>9}{'failures':>10}{'noisy':>7}{'slowest':>10}{'peak':>10}"]
    for kind in (*KINDS, ""):
        own = [o for o in outcomes if kind in ("", o.kind)]
        if own:
            ends = collections.Counter(o.end for o in own)
            failures = sum(o.failed for o in own)
            noisy = sum(bool(o.noise) for o in own)
            slowest, peak = max(o.seconds for o in own), max(o.peak_bytes for o in own)
            lines.append(
                f"{kind or 'all':<8}{len(own):>8}{ends['read']:>8}{ends['refused']:>9}{failures:>10}{noisy:>7}"
                f"{slowest:>8.2f} s{peak / 2**20:>6.0f} MiB"
            )
    for outcome in outcomes:
        if outcome.failed:
            case = f"{outcome.number}: {outcome.end}: {outcome.kind}, {outcome.base}, {outcome.mutation}"
            lines += [case, *(f"    {line}" for line in (outcome.text + outcome.noise).splitlines())]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="the same seed breaks the same files in the same way")
    parser.add_argument("--start", type=int, default=0, help="number of the first case, to repeat one")
    parser.add_argument("--real", type=Path, default=Path("../shared/data"), help="real files to break too, if there")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), help="of input; all by default")
    parser.add_argument("--json", type=Path, help="write every outcome here, one a line")
    options = parser.parse_args()
    real = options.real if options.real.is_dir() else None
    numbers = range(options.start, options.start + options.files)
    outcomes = []
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(options.json.open("w")) if options.json else None
        for outcome in fuzz(numbers, seed=options.seed, real=real, kinds=options.kinds):
            outcomes.append(outcome)
            if log:
                log.write(json.dumps(asdict(outcome)) + "\n")
    print(report(outcomes))
    failures = sum(outcome.failed for outcome in outcomes)
    print(f"{len(outcomes)} inputs, {failures} failures" + ("" if real else "; no real files were there"))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
