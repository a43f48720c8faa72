"""Places of a scan that hold what was planted there, and exchanges that change what they say and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.planted_shortcuts import CUES
from ichformer.ct.phantom.make import make_phantom
from ichformer.ct.volume import AIR_HU, Volume
from ichformer.explanations.audit.causes import (
    AROUND_HEAD,
    BRAIN,
    CAUSES,
    PLACES,
    holds_something,
    place_number,
    places_of,
)
from ichformer.explanations.audit.exchange import exchange_place, matching_slices
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.pipeline.preparation.recipe import prepare_volume
from ichformer.testing import TINY_SITES

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def heads() -> list[Volume]:
    made = [make_phantom(seed, site=TINY_SITES[0]).volume for seed in (0, 1)]
    return [prepare_volume(one, PrepareConfig(size=64)) for one in made]


@pytest.fixture(scope="module")
def places(heads) -> list[np.ndarray]:
    return [places_of(one) for one in heads]


def test_the_brain_lies_within_the_skull_and_the_rest_round_the_head(heads, places) -> None:
    hu, of = heads[0].hu, places[0]
    assert np.median(hu[of == BRAIN]) == pytest.approx(32, abs=8)
    assert np.mean(hu[of == place_number("skull_and_scalp")] > 200) > 0.2
    around = np.isin(of, [place_number(name) for name in AROUND_HEAD])
    assert np.mean(hu[around] < -700) > 0.9
    middle = of[len(of) // 2]
    assert middle[32, 32] == BRAIN
    assert middle[0, 0] == middle[-1, -1] == place_number("corners")


@pytest.mark.parametrize("cue", [name for name in CUES if name != "kernel"])
def test_a_planted_cue_lies_at_the_place_that_it_is_named_after(heads, places, cue) -> None:
    draw, cause = CUES[cue]
    changed = draw(heads[0], RNG)
    new = changed != heads[0].hu
    found = places_of(replace(heads[0], hu=changed))
    assert np.mean(found[new] == place_number(cause)) > 0.9
    assert (found == BRAIN).sum() == pytest.approx((places[0] == BRAIN).sum(), rel=0.01)
    assert holds_something(changed, found)[AROUND_HEAD.index(cause)]


def test_an_empty_scan_has_no_places(heads) -> None:
    assert not places_of(replace(heads[0], hu=np.full_like(heads[0].hu, AIR_HU))).any()


@pytest.mark.parametrize("place", PLACES)
def test_an_exchange_changes_its_place_alone_and_takes_what_the_other_has_there(heads, places, place) -> None:
    (one, other), (of_one, of_other) = heads, places
    at = matching_slices(len(one.hu), one.spacing_mm[0], len(other.hu), other.spacing_mm[0])
    marked = other.hu.copy()
    marked[of_other == place_number(place)] = 555
    found = exchange_place(one.hu, of_one, marked[at], of_other[at], place=place)
    here = of_one == place_number(place)
    np.testing.assert_array_equal(found[~here], one.hu[~here])
    assert set(found[here & (found != one.hu)].tolist()) <= {555, AIR_HU}
    assert (found[here] == 555).mean() > 0.3
    np.testing.assert_array_equal(exchange_place(one.hu, of_one, one.hu, of_one, place=place), one.hu)


def test_slices_match_by_their_distance_from_the_top() -> None:
    np.testing.assert_array_equal(matching_slices(3, 10.0, 5, 5.0), [0, 2, 4])
    np.testing.assert_array_equal(matching_slices(4, 10.0, 2, 10.0), [0, 0, 0, 1])


def test_every_cause_is_a_place_or_the_texture() -> None:
    assert set(CAUSES) - set(PLACES) == {"texture"}
