"""The process that scores studies: it takes them from the queue and leaves results in the node's folder."""

import contextlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from ichformer.errors import InputError, one_line
from ichformer.faults import Fault
from ichformer.process.workers import start_worker
from ichformer.serving.folder import NodeFolder
from ichformer.serving.queue.database import Queue, Round
from ichformer.serving.queue.scoring import Outcome, claim, lacking, not_scored, scored
from ichformer.serving.settings import NodeSettings

_IDLE_S = 0.3
_INCOMPLETE = (
    "incomplete: {} of its images were deleted after an earlier result, and did not come again; send all of it"
)


class Worker:
    """The process, as the node sees it."""

    def __init__(self, settings: NodeSettings):
        """Start it."""
        context = multiprocessing.get_context("spawn")
        self._is_compiled = context.Event()
        self._said, said = context.Pipe(duplex=False)
        arguments = (settings, self._is_compiled, said)
        self._process = context.Process(target=work, args=arguments, name="worker", daemon=True)
        self._process.start()
        said.close()  # so that what the process leaves half said when it is killed ends here

    @property
    def is_ready(self) -> bool:
        """Whether studies can be scored: the model is compiled."""
        return self.exit_code is None and self._is_compiled.is_set()

    @property
    def exit_code(self) -> int | None:
        """How the process ended; None while it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        """End the process wherever it is."""
        self._process.kill()
        self._process.join()

    def said(self) -> Iterator[dict[str, Any]]:
        """What it has to tell the log since it was last asked."""
        with contextlib.suppress(EOFError, OSError):
            while self._said.poll():
                yield self._said.recv()


def work(settings: NodeSettings, is_compiled: Event, said: Connection) -> None:
    """Score studies until the process is ended.

    Args:
      settings: of the node.
      is_compiled: is set when the model is compiled.
      said: takes what is for the node's log.
    """
    start_worker()
    folder = NodeFolder(Path(settings.out))
    tempfile.tempdir = None
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder.compiled.absolute()))
    try:
        score_phantom(settings.run)
    except InputError as error:
        print(f"ichformer: error: {error}", file=sys.stderr, flush=True)  # noqa: T201
        sys.exit(2)
    is_compiled.set()
    queue = Queue(folder.path)
    destinations = [one.name for one in settings.send]
    while True:
        study = claim(queue, at=time.time(), when=settings.study)
        if study is None:
            time.sleep(_IDLE_S)
        else:
            said.send(score(queue, folder, study, run=settings.run, destinations=destinations))


def score(
    queue: Queue, folder: NodeFolder, study: Round, *, run: str, destinations: Sequence[str]
) -> dict[str, object]:
    """Score a study that was claimed, and enter what came of it.

    Args:
      queue: of the node.
      folder: of the node.
      study: the round that was claimed.
      run: of the model.
      destinations: names of those to which the results go.

    Returns:
      What is for the log.
    """
    from ichformer.pipeline.preparation.rejects import hide_names, reason_without_names
    from ichformer.workflows.predict_scans import predict

    began = time.monotonic()
    images, results = folder.images(study.study), folder.results(study)
    shutil.rmtree(results, ignore_errors=True)  # of a process that was killed
    reason = ""
    if missing := lacking(queue, study.study):
        reason = _INCOMPLETE.format(missing)
    else:
        try:
            found = predict(images, out=results, run=run, report=False, dicom=True, progress=False)
        except InputError as error:
            reason = f"unreadable: {reason_without_names(error, images)}"
        except Fault as error:
            reason = one_line(f"failed: {hide_names(str(error), images)}", max_chars=1000)
    seconds = time.monotonic() - began
    if reason:
        is_current = not_scored(queue, study, reason, at=time.time())
        result = reason
    else:
        outcome = outcome_of([one.values for one in found.series], seconds=seconds)
        is_current = scored(queue, study, outcome, at=time.time(), destinations=destinations)
        result = outcome.state
    event = "scored" if is_current else "grown"  # the study has more images now, and is scored again
    return {"event": event, "study": study.study, "result": result, "seconds": round(seconds, 2)}


def outcome_of(predictions: Sequence[Mapping[str, Any]], *, seconds: float) -> Outcome:
    """The result of a study from those of its series: the strongest, and the highest score.

    Args:
      predictions: what stands in each ``prediction.json``.
      seconds: that scoring took.
    """
    is_raised = any(any(one["positive"].values()) for one in predictions)
    is_scored = any(one["scored"] for one in predictions)
    scores = [value for one in predictions for value in one["scan"].values() if value is not None]
    main = [one["scan"]["any"] for one in predictions if one["scan"].get("any") is not None]
    familiarity = [one["familiarity"]["percentile"] for one in predictions if one["familiarity"] is not None]
    return Outcome(
        state="raised" if is_raised else "not raised" if is_scored else "not scored",
        score=max(main or scores, default=None),
        familiarity=max(familiarity, default=None),
        seconds=seconds,
    )


def score_phantom(run: str) -> None:
    """Score a synthetic scan: the model is compiled before the first study comes, and shows that it works.

    Raises:
      InputError: the run cannot be used.
    """
    from ichformer.ct.phantom import SITES, make_phantom
    from ichformer.ct.phantom.write import write_series
    from ichformer.training.process import own_process
    from ichformer.workflows.predict_scans import predict

    own_process()
    with tempfile.TemporaryDirectory() as place:
        scan = Path(place) / "scan"
        phantom = make_phantom(0, site=SITES["alder"], subtypes=("subdural",))
        write_series(phantom, scan, patient="phantom", name="phantom", study="2.25.1", series="2.25.2")
        predict(scan, out=Path(place) / "out", run=run, report=False, dicom=True, progress=False)
