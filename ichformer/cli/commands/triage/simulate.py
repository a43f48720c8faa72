"""``ichformer simulate``."""

from typing import Annotated

import tyro

from ichformer.cli.printing import print_result
from ichformer.triage.room import ReadingRoom

COMMON = (
    *("studies-per-hour", "reading-minutes", "prevalence", "sensitivity", "specificity", "readers", "ai-minutes"),
    "json",
)


def simulate(
    room: Annotated[ReadingRoom, tyro.conf.arg(name="")],
    *,
    days: int = 100,
    replications: int = 20,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Says how long studies wait with and without triage, from a simulated reading room.

    Flagged studies are read before all others. The same studies are read with and without triage, so the differences
    are exact for them. Example:

    ichformer simulate --studies-per-hour 5 --reading-minutes 10 --prevalence 0.1 --sensitivity 0.9 --specificity 0.85

    Args:
      room: the reading room.
      days: Days that are counted in each replication. Take more for narrower intervals.
      replications: Number of independent simulations, at least 5. The intervals are over these.
      seed: Seed of the random numbers. With the same seed the same studies come, also where the flag is another.
      json: Print one JSON object in place of text.
    """
    from ichformer.triage.simulate import simulate_triage
    from ichformer.triage.text import format_simulation

    found = simulate_triage(room, days=days, replications=replications, seed=seed)
    print_result(found.to_json(), format_simulation(found), as_json=json)
