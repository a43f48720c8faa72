"""Ways to break a file of any format, and JSON."""

import json
import re
import struct
from collections.abc import Callable, Iterable

import numpy as np

Mutation = Callable[[np.random.Generator, bytearray], bytes | bytearray]

_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF)
HUGE = (0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF, 0x80000000, 0x40000000, 0x10000, 0)
"""Numbers of 32 bits that ask for memory, or for nothing."""

NAMES = (
    *("/etc/passwd", "../../x.dcm", "..\\..\\x.dcm", "C:\\x.dcm", "C:x.dcm", "\\\\host\\x.dcm", "//host/x.dcm"),
    *("a\0b.dcm", "", ".", "./.", "/", " ", "a//b.dcm", "a/./b.dcm", "\x1b[31m.dcm", "\u202egnp.exe", "\U0001f600"),
    *("a" * 300 + ".dcm", "a/" * 2000 + "x.dcm", "CON", "nul.dcm", "series", "series/", "x.png", "x.nii.gz", "x.zip"),
)
"""Names of files that lead elsewhere, or that no file can have."""


def by_name(mutations: Iterable[Mutation]) -> dict[str, Mutation]:
    """Each under the name that a report calls it by."""
    return {mutation.__name__: mutation for mutation in mutations}


def choose(rng: np.random.Generator, mutations: dict[str, Mutation]) -> tuple[str, Mutation]:
    """One of several, all equally likely."""
    return list(mutations.items())[int(rng.integers(len(mutations)))]


def special_or_any(rng: np.random.Generator, special: dict[str, Mutation], share: float = 0.6) -> tuple[str, Mutation]:
    """One of those that know a format, or one that breaks any file."""
    return choose(rng, special if rng.random() < share else ANY)


def _place(rng: np.random.Generator, data: bytearray) -> int:
    """Any byte; as often one near the start, where headers are."""
    return int(rng.integers(len(data) if rng.random() < 0.5 else min(len(data), 2048))) if data else 0


def flip_bits(rng: np.random.Generator, data: bytearray) -> bytearray:
    for _ in range(int(2 ** rng.integers(0, 7))):
        if data:
            data[_place(rng, data)] ^= 1 << int(rng.integers(8))
    return data


def extreme_bytes(rng: np.random.Generator, data: bytearray) -> bytearray:
    start = _place(rng, data)
    length = int(2 ** rng.integers(0, 9))
    data[start : start + length] = bytes([int(rng.choice(_EXTREMES))]) * len(data[start : start + length])
    return data


def random_bytes(rng: np.random.Generator, data: bytearray) -> bytearray:
    start = _place(rng, data)
    data[start : start + 64] = rng.bytes(len(data[start : start + 64]))
    return data


def truncate(rng: np.random.Generator, data: bytearray) -> bytearray:
    return data[: _place(rng, data)]


def append(rng: np.random.Generator, data: bytearray) -> bytearray:
    return data + (bytes(data) if rng.random() < 0.3 else rng.bytes(int(2 ** rng.integers(0, 16))))


def duplicate_chunk(rng: np.random.Generator, data: bytearray) -> bytearray:
    start, length = _place(rng, data), int(2 ** rng.integers(1, 14))
    chunk = data[start : start + length] * int(rng.integers(1, 9))
    return data[:start] + chunk + data[start:]


def delete_chunk(rng: np.random.Generator, data: bytearray) -> bytearray:
    start = _place(rng, data)
    return data[:start] + data[start + int(2 ** rng.integers(0, 12)) :]


def huge_number(rng: np.random.Generator, data: bytearray) -> bytearray:
    start = _place(rng, data)
    number = struct.pack("<I" if rng.random() < 0.5 else ">I", int(rng.choice(HUGE)))
    data[start : start + 4] = number[: len(data[start : start + 4])]
    return data


ANY = by_name((flip_bits, extreme_bytes, random_bytes, truncate, append, duplicate_chunk, delete_chunk, huge_number))


_STRANGE: tuple[object, ...] = (
    *(None, True, -1, 0, 2**31, 10**9, 2**63, 10**400, 1e308, 1e-320, float("nan"), float("inf")),
    *("", "\u202e../..", "a" * 5000, "=1+1", "\x1b[31m", "\ud800", "\0", [], {}, [[0]], {"a": {}}, [1] * 3000),
)


def strange_value(rng: np.random.Generator, values: object) -> object:
    """One value somewhere inside, exchanged."""
    if rng.random() < 0.15 or not isinstance(values, dict | list) or not values:
        return _STRANGE[int(rng.integers(len(_STRANGE)))]
    if isinstance(values, dict):
        key = sorted(values)[int(rng.integers(len(values)))]
        if rng.random() < 0.1:
            return {k: v for k, v in values.items() if k != key}
        return values | {key: strange_value(rng, values[key])}
    i = int(rng.integers(len(values)))
    return [*values[:i], strange_value(rng, values[i]), *values[i + 1 :]]


def json_value(rng: np.random.Generator, data: bytearray) -> bytes:
    """A value of another type or size."""
    return json.dumps(strange_value(rng, json.loads(data))).encode()


_TOKENS = (
    *(b"1" + b"0" * 5000, b"1e999", b"-1e999", b"NaN", b"-0", b"1.", b"0x10", b"'a'", b"", b'"\xff"', b'"\x00"'),
    *(b"[" * 200_000, b'{"a":' * 100_000, b"[" * 900 + b"]" * 900, b'"' + b"a" * 1_000_000 + b'"'),
    *(b"[" + b"0," * 300_000 + b"0]", b"1" + b"0" * 400 + b".5", b'"\\ud800"'),
)
_JSON_VALUE = re.compile(rb'(?<=[:\[,])\s*("(?:[^"\\]|\\.)*"|[-+.\dA-Za-z]+)')
_JSON_KEY = re.compile(rb'"\w+"\s*:')


def json_token(rng: np.random.Generator, data: bytearray) -> bytearray:
    """Text in place of a value that no encoder writes: nesting, numbers of a thousand digits, no text at all."""
    found = list(_JSON_VALUE.finditer(data))
    if found:
        start, end = found[int(rng.integers(len(found)))].span()
        data[start:end] = _TOKENS[int(rng.integers(len(_TOKENS)))]
    return data


def json_twice(rng: np.random.Generator, data: bytearray) -> bytearray:
    """A key that stands twice with two values."""
    found = list(_JSON_KEY.finditer(data))
    if found:
        start, end = found[int(rng.integers(len(found)))].span()
        value = json.dumps(_STRANGE[int(rng.integers(len(_STRANGE)))]).encode()
        data[start:start] = data[start:end] + value + b","
    return data


def json_encoding(rng: np.random.Generator, data: bytearray) -> bytes:
    """The same text in another encoding, behind a mark, or twice."""
    text = bytes(data).decode(errors="replace")
    ways = (text.encode("utf-16"), text.encode("utf-8-sig"), text.encode("utf-32"), bytes(data) * 2, b"", b"\n", b"[]")
    return ways[int(rng.integers(len(ways)))]


JSON = by_name((json_value, json_token, json_twice, json_encoding))
