"""A small fuzz, as ``experiments/fuzz.py`` does it by the ten thousands: nothing but volumes and readable refusals."""

import time

import pytest

from experiments import fuzz
from experiments.fuzzing import subjects
from ichformer.errors import InputError


def test_broken_files_are_read_or_refused():
    outcomes = list(fuzz.fuzz(range(100), seed=7, real=None, progress=False))
    assert [o for o in outcomes if o.failed] == []
    assert {o.kind for o in outcomes} == {"dicom", "nifti", "store"}
    assert len({o.mutation for o in outcomes}) > 20
    for kind in ("dicom", "nifti", "store"):
        assert {o.end for o in outcomes if o.kind == kind} == {"read", "refused"}
    assert fuzz.report(outcomes).splitlines()[-1].split()[:2] == ["all", "100"]


def test_a_case_is_the_same_again(tmp_path):
    subjects.write_bases(bases := tmp_path / "bases", None)
    for number in range(20):
        cases = [subjects.make_case(bases, tmp_path / f"{number}{k}", seed=3, number=number) for k in "ab"]
        assert cases[0] == cases[1]
        files = [sorted((tmp_path / f"{number}{k}").rglob("*.*")) for k in "ab"]
        assert [f.read_bytes() for f in files[0] if f.is_file()] == [f.read_bytes() for f in files[1] if f.is_file()]


def unreadable(_):
    raise InputError("two\nlines" * 2, where="x", mend="")


def faulty(_):
    raise KeyError("x")


def hungry(_):
    raise InputError("Unable to allocate 9 GiB", where="x", mend="none")


def slow(_):
    start = time.process_time()
    while time.process_time() < start + 0.01:
        pass


@pytest.mark.parametrize(
    ("reader", "end"),
    [(unreadable, "unreadable message"), (faulty, "other error"), (hungry, "memory"), (slow, "slow")],
)
def test_what_is_no_success_is_a_failure(monkeypatch, tmp_path, reader, end):
    if reader is slow:
        monkeypatch.setattr(fuzz, "LIMIT_S", 0.005)
    monkeypatch.setitem(fuzz.READERS, "dicom", reader)
    outcome = fuzz.Outcome(number=0, kind="dicom", **fuzz._read("dicom", tmp_path))
    assert (outcome.end, outcome.failed) == (end, True)
    assert f"0: {end}: dicom" in fuzz.report([outcome])


class Worker:
    """The end of a pipe whose process does not answer, or is gone."""

    def __init__(self, dies: bool):
        self.dies = dies

    def send(self, _):
        pass

    def recv(self):
        if self.dies:
            raise EOFError
        return {"kind": "dicom", "base": "b", "mutation": "m"}

    def poll(self, _):
        return False


def test_silence_is_a_hang_and_an_end_a_death():
    assert fuzz._one(Worker(dies=False), 1).end == "hang"
    assert fuzz._one(Worker(dies=True), 1).end == "died"
    assert fuzz.Outcome(number=1, end="hang").failed
    assert fuzz.Outcome(number=1, end="died").failed
