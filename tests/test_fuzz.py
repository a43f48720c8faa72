"""A small fuzz, as ``experiments/fuzz.py`` does it by the ten thousands: nothing but volumes and readable refusals."""

import dataclasses
import shutil
import time

import pytest

from experiments import fuzz
from experiments.fuzzing import subjects
from ichformer.errors import InputError


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(100, marks=pytest.mark.slow),
        pytest.param(20_000, marks=pytest.mark.full(minutes=40)),
    ],
)
def test_broken_input_is_read_or_refused(count):
    """Only a hang is too slow here: processors differ, and the experiment measures on one that is named."""
    outcomes = list(fuzz.fuzz(range(count), seed=14, real=None, limit_s=fuzz.HANG_S, progress=False))
    failed = [outcome for outcome in outcomes if outcome.failed]
    assert not failed, fuzz.report(failed)
    assert {outcome.kind for outcome in outcomes} == set(fuzz.KINDS)
    assert len({outcome.mutation for outcome in outcomes}) > 20
    assert {outcome.end for outcome in outcomes} == {"read", "refused"}
    assert fuzz.report(outcomes).splitlines()[-1].split()[:2] == ["all", str(count)]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    subjects.write_bases(folder := tmp_path_factory.mktemp("bases"), None)
    return folder


@pytest.mark.slow
def test_a_case_is_the_same_again(bases, tmp_path):
    for number in range(40):
        cases = [subjects.make_case(bases, tmp_path / f"{number}{k}", seed=3, number=number) for k in "ab"]
        assert cases[0] == cases[1]
        files = [sorted((tmp_path / f"{number}{k}").rglob("*.*")) for k in "ab"]
        assert [f.read_bytes() for f in files[0] if f.is_file()] == [f.read_bytes() for f in files[1] if f.is_file()]


@pytest.mark.slow(minutes=1)
def test_whole_input_is_read(bases, tmp_path):
    """What is refused before it is broken would be refused for ever after, and nothing would be tried."""
    for name, kind in fuzz.KINDS.items():
        for base in sorted((bases / name).iterdir()):
            shutil.copytree(base, tmp_path / name / base.name)
            if base.name in ("jpeg CMYK", "png 1", "png moving"):
                with pytest.raises(InputError):
                    kind.read(tmp_path / name / base.name)
            else:
                kind.read(tmp_path / name / base.name)


def test_every_mutation_can_be_applied(bases, tmp_path):
    assert sum(kind.share for kind in fuzz.KINDS.values()) == pytest.approx(1)
    for name in fuzz.KINDS:
        found = [subjects.make_case(bases, tmp_path / name / str(i), seed=1, number=i, kinds=[name]) for i in range(30)]
        assert len({mutation for _, _, mutation in found}) > 3


def unreadable(_):
    raise InputError("two\nlines" * 2, where="x", fix="")


def faulty(_):
    raise KeyError("x")


def hungry(_):
    raise InputError("Unable to allocate 9 GiB", where="x", fix="none")


def slow(_):
    start = time.process_time()
    while time.process_time() < start + 0.01:
        pass


def forgetful(folder):
    (folder / "half").write_text("written")
    raise InputError("too late", where="x", fix="none")


@pytest.mark.parametrize(
    ("reader", "end"),
    [
        (unreadable, "unreadable message"),
        (faulty, "other error"),
        (hungry, "memory"),
        (slow, "slow"),
        (forgetful, "left files"),
    ],
)
def test_what_is_no_success_is_a_failure(monkeypatch, tmp_path, reader, end):
    monkeypatch.setitem(fuzz.KINDS, "dicom", dataclasses.replace(fuzz.KINDS["dicom"], read=reader))
    (place := tmp_path / "0").mkdir()
    limit_s = 0.005 if reader is slow else fuzz.HANG_S
    outcome = fuzz.Outcome(number=0, kind="dicom", **fuzz._read("dicom", place, limit_s=limit_s))
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
