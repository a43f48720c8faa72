from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer.ct.audit import Audit
from ichformer.ct.geometry.regrid import remove_tilt, slice_offsets_mm
from ichformer.ct.geometry.spacing import even_slices, labels_of_slabs, slab_weights
from ichformer.ct.io.scans import read_volume
from ichformer.ct.volume import Volume
from ichformer.errors import InputError
from tests.ct.builders import ramp, write_series


def volume_of(heights_mm, value) -> Volume:
    """Level slices at the given heights whose HU are a function of height."""
    heights_mm = np.asarray(heights_mm, float)
    steps_mm = tuple(np.diff(heights_mm).tolist())
    even = np.ptp(steps_mm) < 1e-9
    spacing_mm = float(np.sort(steps_mm)[(len(steps_mm) - 1) // 2])
    affine = np.diag([1.0, 1, 1, 1])[:, [2, 1, 0, 3]]
    affine[:3, 0] = (0, 0, spacing_mm)
    affine[2, 3] = heights_mm[0]
    hu = np.broadcast_to(np.rint(value(heights_mm))[:, None, None], (len(heights_mm), 3, 4)).astype(np.int16)
    audit = Audit(steps_mm=() if even else steps_mm)
    source = tuple(str(i) for i in range(len(hu)))
    return Volume(hu=hu.copy(), spacing_mm=(spacing_mm, 1.0, 1.0), affine=affine, source=source, audit=audit)


@given(
    st.lists(st.floats(0.4, 9), min_size=2, max_size=30),
    st.floats(0.5, 9),
)
def test_what_is_linear_in_height_stays_so(steps_mm, spacing_mm):
    heights_mm = np.concatenate([[0], np.cumsum(steps_mm)])
    if heights_mm[-1] < spacing_mm:
        return
    volume = volume_of(heights_mm, lambda z: 20 * z)
    evened, weights = even_slices(volume, spacing_mm)
    assert evened.spacing_mm[0] == pytest.approx(spacing_mm) or evened is volume
    np.testing.assert_allclose(weights.sum(1), 1)
    at_mm = slice_offsets_mm(evened)
    # A slab that the ends of the scan cut off is centred elsewhere, so only whole ones are compared.
    whole = (at_mm >= spacing_mm / 2) & (at_mm <= heights_mm[-1] - spacing_mm / 2)
    slack = 20 * max(steps_mm) * 0.03 + 20 * spacing_mm * 0.02 + 1.5
    np.testing.assert_allclose(evened.hu[whole, 0, 0], 20 * at_mm[whole], atol=slack)


def test_an_even_scan_stays_as_it_is():
    volume = volume_of(np.arange(6) * 5.0, lambda z: z)
    evened, weights = even_slices(volume, 5.0)
    assert evened is volume
    np.testing.assert_array_equal(weights, np.eye(6))


def test_thin_slices_are_averaged_to_thick_ones():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 100, 81)
    volume = volume_of(np.arange(81) * 0.625, lambda z: noise)
    evened, weights = even_slices(volume, 5.0)
    assert len(evened.hu) == 11
    # Eight independent slices in each: the noise falls by the root of eight.
    assert np.std(evened.hu[1:-1, 0, 0]) == pytest.approx(100 / np.sqrt(8), rel=0.5)
    assert (np.count_nonzero(weights[1:-1], axis=1) >= 7).all()


def test_positions_in_the_patient_are_kept():
    volume = volume_of([0, 4, 8, 9, 16, 23], lambda z: z)
    evened, _ = even_slices(volume, 2.0)
    np.testing.assert_allclose((evened.affine @ [3, 1, 2, 1])[:3], [2, 1, 6])
    assert evened.audit.steps_mm == ()
    assert evened.audit.notes[-1].code == "slices_resampled"
    assert evened.source[:4] == ("0", "0", "1", "1") or evened.source[0] == "0"


def test_labels_follow_what_a_slice_is_made_of():
    labels = np.array([[0.0], [0], [1], [np.nan]], np.float32)
    weights = slab_weights(np.array([0.0, 5, 10, 15]), np.array([0.0, 2.5, 7.5, 9.0, 15.0]), 2.5)
    told = labels_of_slabs(labels, weights)[:, 0]
    np.testing.assert_array_equal(told, [0, 0, 1, 1, np.nan])


def test_a_slab_of_a_negative_and_an_unknown_slice_is_unknown():
    nan = np.nan
    pairs = {(0, 0): 0, (0, 1): 1, (1, nan): 1, (nan, 1): 1, (0, nan): nan, (nan, 0): nan, (nan, nan): nan}
    for (below, above), wanted in pairs.items():
        labels = np.array([[below], [above]], np.float32)
        told = labels_of_slabs(labels, np.array([[0.5, 0.5], [0.4, 0.6]]))
        np.testing.assert_array_equal(told[:, 0], [wanted, wanted])
        # A slice that is little of the new one does not decide about it.
        np.testing.assert_array_equal(labels_of_slabs(labels, np.array([[1.0, 0.0], [0.8, 0.2]]))[:, 0], [below, below])


def test_tilt_and_senseless_distances_are_refused():
    volume = volume_of([0, 5, 10], lambda z: z)
    with pytest.raises(ValueError, match="straightened"):
        even_slices(replace(volume, audit=replace(volume.audit, tilt_deg=10.0)), 5)
    for spacing_mm in (0.0, -1.0, 1e-12):
        with pytest.raises(InputError, match="slice spacing"):
            even_slices(volume, spacing_mm)


def test_missing_slices_are_kept_refused_or_interpolated(tmp_path):
    stored = ramp(5)
    write_series(tmp_path, stored[[0, 1, 4]], [0, 5, 20], SliceThickness=5)
    kept = read_volume(tmp_path)
    assert kept.audit.missing_slices == 2
    assert kept.audit.steps_mm == (5, 15)
    with pytest.raises(InputError, match=r"2 slices are missing; steps .* 5.000, 15.000 mm"):
        read_volume(tmp_path, missing="refuse")
    filled = read_volume(tmp_path, missing="interpolate")
    # The ramp grows by the same amount from slice to slice, so interpolation gives back what was taken out.
    np.testing.assert_array_equal(filled.hu, stored - 1024)
    assert filled.audit.steps_mm == ()
    assert filled.spacing_mm[0] == 5
    assert filled.source[2:4] == ("interpolated:1/2:1.2.3.2", "interpolated:2/2:1.2.3.2")
    assert "slices_interpolated: 2 put into the gaps" in [str(note) for note in filled.audit.notes]


def test_real_head_becomes_even(real_data):
    straight, _ = remove_tilt(read_volume(real_data / "dcm_qa_ct" / "GE"))
    evened, _ = even_slices(straight, 5.0)
    assert evened.hu.shape[0] == 29
    # Mass is kept: the head's volume differs by its cut ends only.
    per_mm = [np.mean(v.hu > -200, axis=(1, 2)) @ np.gradient(slice_offsets_mm(v)) for v in (straight, evened)]
    assert per_mm[1] == pytest.approx(per_mm[0], rel=0.02)
