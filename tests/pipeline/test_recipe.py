"""One recipe: what a store holds of a scan and what a prediction makes of it are the same."""

import numpy as np
import pytest

from ichformer import LABELS
from ichformer.ct.anatomy.brain import brain_mask
from ichformer.ct.io.scans import read_volume
from ichformer.ct.volume import Volume
from ichformer.errors import InputError
from ichformer.pipeline.preparation import recipe
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.recipe import even_volume, prepare_scan, prepare_volume
from ichformer.pipeline.store.records import PreparedScan
from tests.ct.geometry.test_regrid import STEPS, head
from tests.workflows.counter import write_head


@pytest.mark.parametrize("slice_spacing_mm", [None, 3.0, 7.5])
@pytest.mark.parametrize("steps", sorted(STEPS))
@pytest.mark.parametrize("tilt_deg", [0.0, 17.0])
def test_a_store_and_a_prediction_see_the_same_scan(slice_spacing_mm, steps, tilt_deg):
    volume, mask = head(tilt_deg=tilt_deg, steps_mm=STEPS[steps])
    config = PrepareConfig(size=48, slice_spacing_mm=slice_spacing_mm)
    labels = np.zeros((len(volume.hu), len(LABELS)), np.float32)
    labels[:, 1] = labels[:, -1] = (mask > 0).any((1, 2))
    scan = PreparedScan(volume=volume, slice_labels=labels, scan_labels=labels.max(0), mask=mask)
    stored = prepare_scan(scan, config)
    for seen in (prepare_volume(volume, config), prepare_volume(even_volume(volume, config), config)):
        np.testing.assert_array_equal(seen.hu, stored.volume.hu)
        np.testing.assert_allclose(seen.affine, stored.volume.affine, atol=1e-9)
        assert seen.spacing_mm == pytest.approx(stored.volume.spacing_mm)
        assert seen.source == stored.volume.source
    assert stored.mask is not None
    assert stored.mask.shape == stored.volume.hu.shape
    assert stored.volume.audit.tilt_deg == 0
    # A slice is positive where the mask, which went the same way, has blood in it.
    has_blood = (stored.mask > 0).any((1, 2))
    assert (stored.slice_labels[has_blood, -1] == 1).all()


def test_a_scan_that_no_record_can_hold_is_refused_before_it_is_framed():
    volume = Volume(
        hu=np.broadcast_to(np.int16(0), (513, 4, 4)),
        spacing_mm=(0.3, 0.5, 0.5),
        affine=np.eye(4),
        source=("a",) * 513,
    )
    with pytest.raises(InputError, match="513 slices of 1024 x 1024 pixels would need a grid of 513 x 1024 x 1024"):
        prepare_volume(volume, PrepareConfig(size=1024))


@pytest.mark.parametrize(("degrees", "is_found_anew"), [(0.0, False), (18.0, True)])
def test_a_brain_that_is_known_is_not_searched_again(tmp_path, monkeypatch, degrees, is_found_anew):
    """Unless the slices were moved since; the prepared scan is the same."""
    volume = read_volume(write_head(tmp_path, degrees=degrees))
    config, brain = PrepareConfig(size=48, keep="brain"), brain_mask(volume)
    assert brain.any()
    expected, searched = prepare_volume(volume, config), []
    monkeypatch.setattr(recipe, "brain_mask", lambda moved: searched.append(moved) or brain_mask(moved))
    found = prepare_volume(volume, config, brain)
    np.testing.assert_array_equal(found.hu, expected.hu)
    assert found.audit == expected.audit
    assert bool(searched) == is_found_anew
