"""One SeriesInstanceUID for several scans: each row of the index reads its own."""

import numpy as np

from ichformer.cohorts.folder.adapter import load
from ichformer.cohorts.reading import places, read_place
from tests.ct.builders import even, write_stack


def test_each_row_reads_its_own_scan(tmp_path):
    """Patient A has one scan, patient B two in one folder: in that folder alone there is one scan less to count."""
    scans = [
        write_stack(tmp_path / "s" / folder, even(12), seed=i, PatientID=folder, AcquisitionNumber=i)
        for i, folder in enumerate(("a", "b", "b"))
    ]
    index = load(tmp_path / "s", cache=tmp_path / "cache").index
    assert index["series"].is_unique
    assert index["patient"].nunique() == 2
    read = [read_place(place).hu for place in places(index)]
    for hu in scans:
        assert sum(np.array_equal(hu, one) for one in read) == 1
