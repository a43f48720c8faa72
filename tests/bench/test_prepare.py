"""The bench of prepare: figures that fit together, and an input that is only read."""

import json

import pytest

from ichformer.bench.prepare import bench_prepare, format_prepare
from ichformer.cli import main
from ichformer.errors import InputError
from ichformer.testing import tiny_cohort
from tests.ct.builders import ramp, write_series
from tests.pipeline.test_prepare import digests


@pytest.mark.slow
def test_figures(tmp_path, capfd):
    source = tiny_cohort(tmp_path / "cohort", scans=3) / "dicom"
    write_series(source / "mr", ramp(), series_uid="9.9", Modality="MR")  # is left out
    before = digests(source)
    main(["bench", "prepare", str(source), "--workers", "1", "--json"])
    found = json.loads(capfd.readouterr().out)
    assert digests(source) == before
    sizes = [file.stat().st_size for file in source.rglob("*.dcm") if "mr" not in file.parts]
    assert (found["series"], found["slices"], found["workers"]) == (3, len(sizes), 1)
    assert found["series_per_s"] * found["seconds"] == pytest.approx(3)
    assert found["mb_per_s"] * found["seconds"] == pytest.approx(sum(sizes) / 1e6)
    shares = {name: value for name, value in found.items() if name.endswith("_share")}
    assert set(shares) == {f"{step}_share" for step in ("headers", "decode", "volume", "frame", "encode")}
    assert sum(shares.values()) == pytest.approx(1)
    assert all(0 <= share < 1 for share in shares.values())
    assert min(shares["decode_share"], shares["headers_share"], shares["encode_share"]) > 0
    assert f"decode {shares['decode_share']:.0%}" in format_prepare(found)


def test_nothing_to_measure(tmp_path):
    with pytest.raises(InputError, match="holds no DICOM series"):
        bench_prepare(tmp_path)
    with pytest.raises(InputError, match="give 1 or more"):
        bench_prepare(tmp_path, workers=0)
