"""Finds the names of patients that differ only in their spelling."""

import re
import unicodedata
from collections.abc import Iterable


def one_spelling(names: Iterable[str]) -> dict[str, str]:
    """Maps each name to one spelling, the same for all names that differ only as spreadsheets and people change them.

    These are case, blanks, letters composed in another way (Unicode NFKC), characters that nobody sees, and, in names
    that are numbers, zeros at the front and ".0" at the end. To take two people for one costs a little power; to take
    one for two lets them into training and test.
    """
    first: dict[str, str] = {}
    return {name: first.setdefault(_key(name), name) for name in sorted(set(names))}


def _key(name: str) -> str:
    seen = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    key = " ".join(seen.casefold().split())
    number = re.fullmatch(r"0*(\d+?)(?:\.0+)?", key, re.ASCII)
    return number[1] if number else key
