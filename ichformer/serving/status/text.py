"""The state of a node as aligned text for people."""

from ichformer.errors import one_line
from ichformer.serving.status.values import Status, shown_time

_NAMES = {
    "receiving": "being received",
    "working": "being scored",
    "sending": "results on their way",
    "done": "done",
    "failed": "without results",
}


def format_status(status: Status) -> str:
    """Switches, counts, what waits for each destination, and the studies without results with their reasons."""
    lines = ["paused: nothing is scored or sent"] * status.paused
    lines += ["draining: nothing is received, and the node ends when all is done"] * status.draining
    lines += [f"{_NAMES[state]:<22}{count:>6}" for state, count in status.counts.items()]
    for one in status.destinations:
        said = f" (last reason: {one_line(one.reason)})" if one.reason else ""
        lines.append(f"to {one_line(one.destination)}: {one.waiting} waiting, {one.failed} given up{said}")
    if status.failed:
        lines += ["", "without results:"]
        lines += [
            f"  {one.study}  {shown_time(one.at)}  {one_line(one.reason, max_chars=300)}" for one in status.failed
        ]
    return "\n".join(lines)
