"""A scan gets another's texture: its sharpness at every edge and its noise, and keeps all else."""

import numpy as np
import pytest

from experiments.planted_shortcuts import CUES
from ichformer.ct.phantom.make import make_phantom
from ichformer.ct.volume import AIR_HU, Volume
from ichformer.explanations.audit.causes import BRAIN, place_number, places_of
from ichformer.explanations.audit.texture import exchange_texture, texture_of
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.recipe import prepare_volume
from ichformer.testing import TINY_SITES


@pytest.fixture(scope="module")
def scan() -> Volume:
    return prepare_volume(make_phantom(0, site=TINY_SITES[0]).volume, PrepareConfig(size=64))


@pytest.fixture(scope="module")
def made(scan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A scan, the same of a softer kernel, and its places."""
    return scan.hu, CUES["kernel"][0](scan, np.random.default_rng(0)), places_of(scan)


@pytest.mark.parametrize("is_softer", [True, False])
def test_a_kernel_is_exchanged_at_the_edge_of_bone_and_in_the_brain(made, is_softer) -> None:
    start, end, places = made if is_softer else (made[1], made[0], made[2])
    wanted = texture_of(end, places)
    found = exchange_texture(start, places, wanted, np.random.default_rng(1))
    got = texture_of(found, places)
    assert got.blur == pytest.approx(wanted.blur, abs=1)
    np.testing.assert_allclose(got.noise_hu, wanted.noise_hu, rtol=0.3)
    for place in (BRAIN, place_number("skull_and_scalp")):
        here = places == place
        before, after = (float(np.square(one[here] * 1.0 - end[here]).mean()) for one in (start, found))
        assert after < 0.2 * before


def test_the_own_texture_changes_nothing(made) -> None:
    hu, _, places = made
    found = exchange_texture(hu, places, texture_of(hu, places), np.random.default_rng(1))
    assert np.square(found * 1.0 - hu).mean() < 2


def test_a_tube_beside_the_head_does_not_make_it_sharper(made, scan) -> None:
    hu, soft, places = made
    with_tube = CUES["tube"][0](scan, np.random.default_rng(0))
    sharp, softer, found = (texture_of(one, places).blur for one in (hu, soft, with_tube))
    assert abs(found - sharp) < 0.1 * (softer - sharp)


def test_of_the_brain_alone_only_noise_is_exchanged(made) -> None:
    hu, soft, places = made
    alone, soft_alone = (np.where(places == BRAIN, one, np.int16(AIR_HU)) for one in (hu, soft))
    brain = np.where(places == BRAIN, places, np.uint8(0))
    start, wanted = (texture_of(one, brain, whole=False) for one in (alone, soft_alone))
    assert wanted.blur is None
    found = exchange_texture(alone, brain, wanted, np.random.default_rng(1))
    np.testing.assert_array_equal(found[brain == 0], AIR_HU)
    got = texture_of(found, brain, whole=False)
    before, after = (np.abs(one.noise_hu - wanted.noise_hu).max() for one in (start, got))
    assert after < 0.5 * before
