"""The terms under which the scans of a cohort may be used, as far as they are known."""

from collections.abc import Iterable

UNKNOWN = "unknown"

LICENCES = {
    "bhsd": "MIT for the masks; scans under the rules of the RSNA 2019 competition",
    "cq500": "CC BY-NC-SA 4.0",
    "ctich": "PhysioNet Restricted Health Data License 1.5.0",
    "instance": "agreement of the INSTANCE 2022 challenge; annotations CC BY-NC-ND",
    "phantom": "Apache-2.0, as ichformer, which makes them",
    "rsna2019": "rules of the RSNA 2019 competition",
}
"""Terms by cohort; the adapter of each names its source."""


def licences_of(cohorts: Iterable[str]) -> dict[str, str]:
    """The terms of each cohort by its name; "unknown" for scans of your own and for cohorts of plugins.

    Example:
      >>> licences_of(["phantom", "folder", "phantom"])
      {'folder': 'unknown', 'phantom': 'Apache-2.0, as ichformer, which makes them'}
    """
    return {name: LICENCES.get(name, UNKNOWN) for name in sorted(set(cohorts))}
