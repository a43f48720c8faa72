"""Bundles: the same bytes for the same files, and hostile ones refused with nothing written outside."""

import io
import zipfile

import pytest

from ichformer.errors import InputError
from ichformer.files import bundles
from ichformer.files.bundles import bundle_bytes, unpack_bundle

FILES = {"run.json": b"{}", "config.json": b"[1]"}


def test_the_same_files_give_the_same_bytes():
    assert bundle_bytes(FILES) == bundle_bytes(dict(reversed(FILES.items())))


def test_what_goes_in_comes_out(tmp_path):
    (tmp_path / "a.ichformer").write_bytes(bundle_bytes(FILES))
    (tmp_path / "out").mkdir()
    unpack_bundle(tmp_path / "a.ichformer", tmp_path / "out", known=FILES)
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == FILES


def zipped(*members, method=zipfile.ZIP_STORED):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return packed.getvalue()


TWICE = zipped(("run.json", b"1"), ("rux.json", b"2")).replace(b"rux.json", b"run.json")
WHOLE = bundle_bytes({"run.json": b"a" * 100})
HOSTILE = {
    "a way out": (zipped(("../run.json", b"")), "holds ../run.json, which no bundle"),
    "from the root": (zipped(("/etc/run.json", b"")), "which no bundle of this ichformer has; use the ichformer"),
    "escapes": (zipped(("\x1b[31m", b"")), r"holds \\x1b\[31m, which"),
    "a folder": (zipped(("run.json/", b"")), "which no bundle"),
    "twice": (TWICE, "holds a file twice"),
    "a bomb": (zipped(("run.json", bytes(1 << 20)), method=zipfile.ZIP_DEFLATED), "is compressed or encrypted"),
    "larger than itself": (WHOLE.replace((100).to_bytes(4, "little"), (10**6).to_bytes(4, "little")), "more than its"),
    "other bytes": (WHOLE.replace(b"aaaa", b"bbbb"), "is no bundle, or is damaged"),
    "cut short": (WHOLE[:60], "is no bundle, or is damaged"),
}


@pytest.mark.parametrize(("data", "said"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_bundles_are_refused(tmp_path, data, said):
    (tmp_path / "a.ichformer").write_bytes(data)
    (tmp_path / "deep" / "out").mkdir(parents=True)
    with pytest.raises(InputError, match=said):
        unpack_bundle(tmp_path / "a.ichformer", tmp_path / "deep" / "out", known=["run.json"])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.ichformer", "deep"]
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["out"]


def test_a_large_bundle_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "MAX_BYTES", 50)
    (tmp_path / "a.ichformer").write_bytes(WHOLE)
    with pytest.raises(InputError, match="is larger than 50 bytes"):
        unpack_bundle(tmp_path / "a.ichformer", tmp_path, known=["run.json"])
