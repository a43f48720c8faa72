"""The one way to read JSON: whatever is in a file, the answer is the value that was written, or one line."""

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer.errors import InputError
from ichformer.files.json_files import MAX_DEPTH, Count, Label, Line, parse_json, read_json

numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=6,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    number: float = 1.0
    names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    count: Count
    inner: Inner = dataclasses.field(default_factory=Inner)
    label: Label | None = None

    def __post_init__(self) -> None:
        if self.count == 7:
            raise InputError("7 is out of range", where="--count", fix="take another")


class Named(msgspec.Struct):
    name: Line = ""
    choice: Literal["a", "b"] = "a"


def parse(data: bytes | str, kind: Any = Outer, **options: bool) -> Any:
    data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    return parse_json(data, kind, where="f.json", fix="restore it", **options)


@given(values)
def test_what_json_wrote_comes_back(value):
    for ascii_only in (True, False):
        assert parse(json.dumps({"value": value}, ensure_ascii=ascii_only), dict) == {"value": value}


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode) | values.map(lambda v: json.dumps(v).encode()))
def test_anything_else_is_one_line(data):
    for kind in (Outer, dict, list, Named):
        said = ""
        try:
            parse(data, kind)
        except InputError as error:
            said = str(error)
        assert said.isprintable()
        assert not said or said.startswith("f.json")


def test_types_and_unknown_keys():
    found = parse('{"count": 3, "inner": {"number": 2, "names": ["a"], "new": [1]}, "label": "any", "more": {}}')
    assert found == Outer(count=3, inner=Inner(number=2.0, names=("a",)), label="any")
    assert parse(b'\xef\xbb\xbf{"count": 1}') == Outer(count=1)


DEEP = "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON (line 1, column 1"),
        ('{"count": 1', "is not JSON"),
        ("[]", "Expected object, got array"),
        ("null", "Expected object, got null"),
        ("{}", "missing required field count"),
        ('{"count": "1"}', "count: Expected int, got str"),
        ('{"count": true}', "count: Expected int, got bool"),
        ('{"count": 1.5}', "count: Expected int, got float"),
        ('{"count": -1}', "count: Expected int >= 0"),
        ('{"count": 1, "inner": {"names": ["a", 1]}}', "inner.names[1]: Expected str, got int"),
        ('{"count": 1, "label": "Brain"}', "label: Expected str matching regex"),
        ('{"count": 1, "label": "any\\n"}', "label: Expected str matching regex"),
        ('{"count": 7}', "f.json, --count: 7 is out of range; take another"),
        ('{"count": 1, "count": 2}', "holds the key 'count' twice in one object"),
        ('{"count": 1, "x": {"a\\u001b": 1, "a\\u001b": 1}}', "'a\\x1b' twice"),
        ('{"count": 1, "inner": {"number": NaN}}', "holds NaN"),
        ('{"count": 1, "x": [-Infinity]}', "holds -Infinity"),
        ('{"count": 1, "x": [1e999]}', "a number that is too large"),
        ('{"count": 9223372036854775808}', "a whole number of 19 digits, which does not fit into 64 bits"),
        ('{"count": ' + "9" * 1_000_000 + "}", "a whole number of 1000000 digits"),
        (f'{{"count": 1, "x": {DEEP}}}', f"is nested more than {MAX_DEPTH} levels deep"),
        ("[" * 200_000, f"is nested more than {MAX_DEPTH} levels deep"),
        ('{"a":' * 200_000, f"is nested more than {MAX_DEPTH} levels deep"),
        ('{"count": 1, "x": "\\ud800"}', "half a surrogate pair"),
        ('{"count": 1, "\\udfff": 1}', "half a surrogate pair"),
        ('{"count": 1, "x": "\ud800"}', "is not UTF-8"),
    ],
)
def test_what_is_refused(text, said):
    with pytest.raises(InputError) as error:
        parse(text)
    assert said in str(error.value)
    assert len(str(error.value)) < 400


def test_not_a_number_where_it_is_one():
    found = parse('{"a": NaN, "b": -Infinity}', dict, allow_nan=True)
    assert math.isnan(found["a"])
    assert found["b"] == -math.inf


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31m", "\u202eabc", "x" * 501, "\x00", "\x7f", "\u2028"])
def test_a_line_controls_no_terminal(text):
    with pytest.raises(InputError, match="does not hold what it should"):
        parse(json.dumps({"name": text}), Named)


@pytest.mark.parametrize("text", ["", "NVIDIA H200", "Schädel-CT ®", "0.10.2+cuda"])
def test_a_line_of_any_language(text):
    assert parse(json.dumps({"name": text}), Named).name == text


def test_hostile_text_does_not_reach_the_terminal():
    with pytest.raises(InputError) as error:
        parse(json.dumps({"choice": "\x1b]0;x\x07"}), Named)
    assert str(error.value).isprintable()


def test_sizes_are_bounded_before_anything_is_read(tmp_path):
    path = tmp_path / "f.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole: no block is taken
    with pytest.raises(InputError, match="is larger than 16,777,216 bytes; restore it"):
        read_json(path, dict, fix="restore it")
    path.write_text('{"count": 12}')
    assert read_json(path, Outer, fix="restore it", max_bytes=13) == Outer(count=12)
    with pytest.raises(InputError, match="is larger than 12 bytes"):
        read_json(path, Outer, fix="restore it", max_bytes=12)


def test_a_pipe_a_device_and_a_folder_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, said in (
        ("pipe", "is no regular file"),
        ("zero", "is no regular file"),
        ("folder", "cannot be read|is no regular file"),
        ("gone", "cannot be read [(]No such file"),
        ("x" * 300, "cannot be read [(]File name too long"),
        ("a\0b", "cannot be read"),
    ):
        with pytest.raises(InputError, match=said):
            read_json(Path(f"{tmp_path}/{name}"), dict, fix="restore it")


def test_nobody_else_reads_json():
    """But for the decoder of pixels, which is a process of our own that answers to a pipe."""
    package = Path(__file__).parents[2] / "ichformer"
    found = {file.name for file in package.rglob("*.py") if "json.load" in file.read_text(encoding="utf-8")}
    assert found == {"json_files.py", "decoding.py"}
