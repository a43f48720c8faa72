"""What tests read from the page of a scan."""

import json
import re


def shown_maps(page: str) -> list[tuple[str, bool]]:
    """The label of each map that a page lays over the slices, and whether it is one of lesions."""
    (data,) = re.findall(r'id="data">(.*?)</script>', page)
    return [(one["label"], one["lesions"]) for one in json.loads(data)["heat"]]


def mapped_labels(page: str) -> set[str]:
    """The labels that have a map."""
    return {label for label, _ in shown_maps(page)}
