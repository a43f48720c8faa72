"""When each study of a list is read: flagged ones first, the others in the order of arrival, nothing interrupted."""

import heapq
import math
from collections import deque

import numpy as np
from jaxtyping import Float64


def reading_starts(
    arrival: Float64[np.ndarray, " n"],
    duration: Float64[np.ndarray, " n"],
    urgent_from: Float64[np.ndarray, " n"],
    *,
    readers: int,
) -> Float64[np.ndarray, " n"]:
    """The time at which the reading of each study starts.

    A reader who is free takes the study that has been urgent for longest, or else the one that has waited for longest,
    and reads it to its end. A study that becomes urgent while it waits moves up.

    Example:
      >>> starts = reading_starts(np.array([0.0, 1, 2]), np.full(3, 5.0), np.array([np.inf, np.inf, 2]), readers=1)
      >>> starts.tolist()
      [0.0, 10.0, 5.0]

    Args:
      arrival: when each study arrives, in their order.
      duration: how long its reading takes.
      urgent_from: when it becomes urgent, not before its arrival; infinite for never.
      readers: how many read at a time.
    """
    arrives, takes, urgent_at = arrival.tolist(), duration.tolist(), urgent_from.tolist()
    to_flag = deque(int(i) for i in np.argsort(urgent_from, kind="stable") if not math.isinf(urgent_at[i]))
    starts: list[float | None] = [None] * len(arrives)
    free = [0.0] * readers  # a heap of the times at which the readers are free
    urgent: deque[int] = deque()
    waiting: deque[int] = deque()  # those that have become urgent are passed over when their turn comes
    now, coming, waits = 0.0, 0, 0
    for _ in arrives:
        now = max(now, free[0])
        if not waits:  # nobody waits: whoever has been free for longest reads the next to arrive
            now = max(now, arrives[coming])
        while coming < len(arrives) and arrives[coming] <= now:
            waiting.append(coming)
            coming, waits = coming + 1, waits + 1
        while to_flag and urgent_at[to_flag[0]] <= now:
            flagged = to_flag.popleft()
            if starts[flagged] is None:
                urgent.append(flagged)
        if urgent:
            chosen = urgent.popleft()
        else:
            while starts[waiting[0]] is not None:
                waiting.popleft()
            chosen = waiting.popleft()
        starts[chosen] = now
        waits -= 1
        heapq.heapreplace(free, now + takes[chosen])
    return np.array(starts, np.float64)
