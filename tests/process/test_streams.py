"""The streams of a command: terminals without UTF-8, pipes that end, full disks, closed descriptors."""

import os
import subprocess
import sys

import pytest

from ichformer.process.streams import printable

ONE_LINE = "ichformer: error: "


def command(*words: str, how: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command as a shell starts it; ``how`` is what the shell does to its streams."""
    python = [sys.executable, "-m", "ichformer", *words]
    shell = ["sh", "-c", f'"$@" {how}', "sh", *python]
    return subprocess.run(shell, capture_output=True, env=os.environ | environment)


def says(code: str, *, how: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A little program in the place of a command: it starts in a twentieth of the time."""
    code = f"from ichformer.process.streams import delivered, own_streams\nimport os, sys\nown_streams()\n{code}"
    shell = ["sh", "-c", f'"$@" {how}', "sh", sys.executable, "-c", code]
    return subprocess.run(shell, capture_output=True, env=os.environ | environment)


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("ascii:strict", rb"\u20ac \xe9 \udce9"),
        ("latin-1:strict", b"\\u20ac \xe9 \\udce9"),
        ("cp1252:strict", b"\x80 \xe9 \\udce9"),
        ("utf-8:strict", b"\xe2\x82\xac \xc3\xa9 \\udce9"),
    ],
)
def test_what_a_terminal_lacks_is_written_as_an_escape(encoding, printed):
    code = "for out in (sys.stdout, sys.stderr): print('\\u20ac \\xe9 \\udce9', file=out)"
    said = says(code, PYTHONIOENCODING=encoding)
    assert (said.returncode, said.stdout, said.stderr) == (0, printed + b"\n", printed + b"\n")


def test_messages_that_nobody_takes_are_dropped_and_the_work_goes_on():
    for how in ("2>/dev/full", "2>&-"):
        said = says("for _ in range(9999): print('bar', file=sys.stderr)\nprint('done')", how=how)
        assert (said.returncode, said.stdout, said.stderr) == (0, b"done\n", b"")


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path):
    code = (
        f"file = open({str(tmp_path / 'file')!r}, 'w')\nprint('out'); print('err', file=sys.stderr); sys.stdin.read()"
    )
    said = says(f"{code}\nsys.exit(file.fileno() < 3)", how="<&- >&- 2>&-")
    assert (said.returncode, (tmp_path / "file").read_bytes()) == (0, b"")


def test_who_has_read_enough_ends_it_in_order():
    said = says("with delivered(): print('x' * 10**6)\nprint('never', file=sys.stderr)", how="| head -c 3")
    assert (said.stdout, said.stderr) == (b"xxx", b"")


@pytest.mark.parametrize("size", [1, 10**6])  # which Python keeps until the end, or writes at once
def test_a_full_disk_behind_standard_output_is_an_error_that_is_said_once(size):
    code = "from ichformer.errors import InputError\ntry:\n    with delivered(): print('x' * SIZE)\n"
    said = says(
        code.replace("SIZE", str(size)) + "except InputError as error:\n    sys.exit(str(error))", how=">/dev/full"
    )
    assert said.returncode == 1
    assert said.stderr.startswith(b"standard output: cannot be written to (No space left on device); ")
    assert said.stderr.count(b"\n") == 1


def test_terminal_escapes_are_shown_and_lines_stay():
    assert printable("a\x1b[31m\u202eb\r\nc\td\u20ac") == "a\\x1b[31m\\u202eb\\r\nc\\td\u20ac"


@pytest.mark.parametrize("words", [("--help",), ("inspect", "/dev/null/none")])
def test_a_command_says_one_line_and_ends_with_2(words):
    """For ``--help``, which prints while words are read, and for an error, whose line nobody takes."""
    how, lines = (">/dev/full", 1) if words == ("--help",) else ("2>/dev/full", 0)
    said = command(*words, how=how)
    assert said.returncode == 2
    assert said.stderr.count(b"\n") == lines
    assert said.stderr.decode().startswith(ONE_LINE * lines)


def test_a_working_directory_that_was_deleted_is_one_line(tmp_path):
    (tmp_path / "gone").mkdir()
    said = subprocess.run(
        [
            "sh",
            "-c",
            'cd "$1"; rmdir "$1"; "$2" -m ichformer inspect scan',
            "sh",
            str(tmp_path / "gone"),
            sys.executable,
        ],
        capture_output=True,
        text=True,
    )
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.startswith(f"{ONE_LINE}this shell: the working directory was deleted; change to a folder")
    assert said.stderr.count("\n") == 1
