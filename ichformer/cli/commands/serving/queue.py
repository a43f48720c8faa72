"""``ichformer queue``."""

from pathlib import Path

from ichformer.cli.printing import print_result
from ichformer.errors import InputError


def queue(
    out: Path,
    /,
    *,
    pause: bool = False,
    resume: bool = False,
    drain: bool = False,
    again: str | None = None,
    json: bool = False,
) -> None:
    """Shows what a DICOM node has to do, and pauses or drains it.

    It works beside `ichformer serve`, and also where that does not run. Without an option it only shows.

    Args:
      out: Folder of the node, as `ichformer serve --out` has it.
      pause: Let the node receive studies, and neither score nor send them.
      resume: End a pause.
      drain: Let the node receive nothing more, finish what it has, and end.
      again: Name of a study without results. It is scored or sent once more.
      json: Print one JSON object in place of text.
    """
    from dataclasses import asdict

    from ichformer.serving.queue.database import QUEUE_NAME, Queue, set_switch
    from ichformer.serving.queue.keeping import try_again
    from ichformer.serving.status.text import format_status
    from ichformer.serving.status.values import read_status

    if pause and resume:
        raise InputError("goes with --pause or --resume, not both", where="queue", fix="leave one of them out")
    if not (out / QUEUE_NAME).is_file():
        raise InputError("is no folder of a node", where=out, fix="name the folder of `ichformer serve --out`")
    found = Queue(out)
    if pause or resume:
        set_switch(found, "paused", is_on=pause)
    if drain:
        set_switch(found, "draining", is_on=True)
    if again is not None and not try_again(found, again):
        raise InputError(
            "no study of this name is without results, or its images were deleted",
            where=f"--again {again}",
            fix="name one that `ichformer queue` shows, or send the study again",
        )
    status = read_status(found)
    print_result(asdict(status), format_status(status), as_json=json)
