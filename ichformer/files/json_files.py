"""The one place where JSON is read: sizes are bounded, and values are checked against a type.

Runs, stores and ensembles come from other people, and disks fail, so nothing in such a file can be believed: not how
large it is, how deep its lists are nested, how many digits a number has, nor of which type a value is.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from ichformer.errors import InputError, one_line
from ichformer.files.writing import read_bytes

MAX_BYTES = 16 << 20
"""Largest file, unless a reader says otherwise. The parsed values take up to 20 times as much memory."""

MAX_DEPTH = 32
"""Most levels of lists and objects. Ours have five; a thousand end Python's own parser, and what prints them."""

Line = Annotated[
    str, msgspec.Meta(max_length=500, pattern=r"^[^\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]*\Z")
]
"""A text that is printed: short, and without characters that control a terminal or turn the direction of writing."""

Label = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,39}\Z")]
"""A name that a label set may hold."""

Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
"""How many there are of something; sums of a few fit into 64 bits."""

T = TypeVar("T")


def read_json(path: Path, kind: type[T], *, fix: str, max_bytes: int = MAX_BYTES, allow_nan: bool = False) -> T:
    """Read the JSON of a file as a value of ``kind``.

    Args:
      path: the file.
      kind: what msgspec converts to: a dataclass, a struct, or ``dict`` for any object. Keys that a dataclass or a
        struct does not know are left out.
      fix: what the user can do about a file that is damaged or of something else.
      max_bytes: the largest size; a larger file is refused before it is read.
      allow_nan: whether NaN and infinities are numbers here.

    Raises:
      InputError: the file cannot be read, or ``parse_json`` refuses what is in it.
    """
    data = read_bytes(path, max_bytes=max_bytes, fix=fix)
    return parse_json(data, kind, where=path, fix=fix, allow_nan=allow_nan)


def read_format(path: Path, kind: type[T], *, format_name: str, fix: str) -> T:
    """Read the JSON of a file whose field "format" says what it is.

    Args:
      path: the file.
      kind: as for ``read_json``.
      format_name: what the field has to be.
      fix: as for ``read_json``.

    Raises:
      InputError: as ``read_json``, or the file is something else.
    """
    values = read_json(path, dict, fix=fix)
    if values.get("format") != format_name:
        found = one_line(repr(values.get("format")), max_chars=80)
        raise InputError(f"its format is {found}, not {format_name!r}", where=path, fix=fix)
    return convert(values, kind, where=path, fix=fix)


def read_of_model(path: Path, kind: type[T], *, format_name: str, model: str, fix: str) -> T:
    """``read_format`` of a file that was made for a model, and whose field "model" names it or is empty.

    Args:
      path, kind, format_name, fix: as for ``read_format``; ``kind`` has the attribute ``model``.
      model: fingerprint of the model that it is meant for; "" where that is not known.

    Raises:
      InputError: as ``read_format``, or the file is of another model.
    """
    made = read_format(path, kind, format_name=format_name, fix=fix)
    named = getattr(made, "model", "")
    if named and model and named != model:
        raise InputError("was made with other weights than this model has", where=path, fix=fix)
    return made


def parse_json(data: bytes, kind: type[T], *, where: object, fix: str, allow_nan: bool = False) -> T:
    """JSON as a value of ``kind``; the arguments are those of ``read_json``.

    Args:
      data: the text, in UTF-8.
      kind: the type.
      where: named in the error.
      fix: what to do, for the error.
      allow_nan: whether NaN and infinities are numbers here.

    Raises:
      InputError: bytes that are not UTF-8 or not JSON; more than ``MAX_DEPTH`` levels; a key that stands twice in one
        object, as readers differ on which one counts; whole numbers beyond 64 bits; half a surrogate pair; NaN or
        infinity where it is not allowed; values of another type than ``kind``.
    """
    try:
        text = data.decode("utf-8-sig")
        value = json.loads(
            text,
            parse_int=_whole_number,
            parse_constant=None if allow_nan else _refuse_constant,
            object_pairs_hook=_unique_keys,
        )
        _check_values(value, allow_nan=allow_nan)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        raise InputError("is not UTF-8", where=where, fix=fix) from None
    except UnicodeEncodeError:
        raise InputError("holds half a surrogate pair, which is no character", where=where, fix=fix) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"is not JSON ({place}: {error.msg})", where=where, fix=fix) from None
    except RecursionError:
        raise InputError(_TOO_DEEP, where=where, fix=fix) from None
    except ValueError as error:
        raise InputError(str(error), where=where, fix=fix) from None
    return convert(value, kind, where=where, fix=fix)


def convert(value: Any, kind: type[T], *, where: object, fix: str) -> T:
    """Parsed JSON as a value of ``kind``; InputError, which names the place in it, where it is of another type."""
    try:
        return msgspec.convert(value, kind)
    except InputError as error:  # of a dataclass that checks its settings itself
        raise InputError(error.what, where=f"{where}, {error.where}", fix=error.fix) from None
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at ")
        inside = place.rpartition("$")[2].strip("`.")
        said = one_line((f"{inside}: {what}" if inside else what).replace("`", ""))
        raise InputError(f"does not hold what it should ({said})", where=where, fix=fix) from None


_TOO_DEEP = f"is nested more than {MAX_DEPTH} levels deep"


def _whole_number(digits: str) -> int:
    # The time that int() takes grows with the square of the number of digits.
    if len(digits) > 20 or not -(1 << 63) <= int(digits) < 1 << 63:
        raise ValueError(f"holds a whole number of {len(digits)} digits, which does not fit into 64 bits")
    return int(digits)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"holds {name}, which is no number")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"holds the key {one_line(repr(key), max_chars=80)} twice in one object")
        found[key] = value
    return found


def _check_values(value: Any, *, allow_nan: bool) -> None:
    """ValueError for too many levels, and for numbers such as 1e999 that are infinite."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        if not allow_nan and any(isinstance(each, float) and math.isinf(each) for each in level):
            raise ValueError("holds a number that is too large")
        level = [
            inner
            for each in level
            if isinstance(each, list | dict)
            for inner in (each if isinstance(each, list) else each.values())
        ]
        if not level:
            return
    raise ValueError(_TOO_DEEP)
