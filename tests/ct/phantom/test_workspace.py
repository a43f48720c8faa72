"""Where a cohort of phantoms is built: nothing stays of it, whoever was killed there, and one at a time builds."""

import errno
import resource
import signal

import pytest

from ichformer.ct.phantom import cohort
from ichformer.errors import InputError
from ichformer.files.lease import hold
from ichformer.testing import tiny_cohort


def test_what_a_killed_process_left_is_gone_and_no_part_of_the_cohort(tmp_path):
    left = tmp_path / ".c.unfinished" / "cohort"
    left.mkdir(parents=True)
    (left / "half.dcm").write_bytes(b"half")
    out = tiny_cohort(tmp_path / "c", scans=1)
    assert (out / "studies.csv").exists()
    assert not (out / "half.dcm").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_second_one_that_builds_the_same_is_refused(tmp_path):
    with hold(tmp_path / ".c.unfinished", what="writing of phantoms"):
        with pytest.raises(InputError, match=r"another writing of phantoms \(process \d+ on .+\) works there"):
            tiny_cohort(tmp_path / "c", scans=1)
        assert (tmp_path / ".c.unfinished").exists()


@pytest.mark.parametrize("ends", [SystemExit(143), KeyboardInterrupt(), ValueError("broken")])
def test_who_is_ended_leaves_nothing(tmp_path, monkeypatch, ends):
    def ended(*_):
        raise ends

    monkeypatch.setattr(cohort, "_write_table", ended)
    with pytest.raises(type(ends)):
        tiny_cohort(tmp_path / "c", scans=1)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_with_its_file_and_nothing_stays(tmp_path):
    """As far as a process may limit itself: the lease fits into 4,000 bytes, a slice does not."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as refused:
            tiny_cohort(tmp_path / "c", scans=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert refused.value.errno == errno.EFBIG
    assert str(refused.value.filename).endswith("0001.dcm")
    assert list(tmp_path.iterdir()) == []
