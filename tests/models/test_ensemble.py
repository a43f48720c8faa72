"""An ensemble is what its members say one by one, weighed; its views and its map of places mean what theirs mean."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.explanations.methods.cam import hires_cam
from ichformer.models.ensemble import Ensemble, Group, stack_members
from ichformer.models.families.slice_vit import slice_vit
from ichformer.models.layers.backends.backend import expecting
from tests.explanations.scored import map_of
from tests.models.test_slice_vit import noise_like

SPACING = jnp.asarray([[5.0, 1.0, 1.0], [3.0, 1.0, 1.0]])
ALL = ((0, 1, 2),)


def tiny(patch_size: int = 8, **options):
    return slice_vit(
        **{"width": 16, "depth": 1, "num_heads": 2, "context_depth": 1, "context_heads": 2} | options,
        patch_size=patch_size,
    )


def scans(channels: int = 3) -> tuple[jax.Array, jax.Array]:
    """Two scans of five slices, the last of the first one padding."""
    x = jax.random.uniform(jax.random.key(0), (2, 5, 16, 16, channels))
    return x, jnp.arange(5)[None] < jnp.asarray([4, 5])[:, None]


@functools.cache
def params(seed: int, channels: int = 3, patch_size: int = 8):
    x, mask = scans(channels)
    shapes = jax.eval_shape(lambda: tiny(patch_size).init(jax.random.key(0), x, mask, SPACING, False))
    # Other values than the start's, under which the logits hardly depend on the scan.
    return noise_like(shapes["params"], seed)


@functools.cache
def jitted(patch_size: int):
    return jax.jit(lambda p, x, mask: tiny(patch_size).apply({"params": p}, x, mask, SPACING, False))


def alone(seed: int, x, mask, patch_size: int = 8):
    found = jitted(patch_size)(params(seed, x.shape[-1], patch_size), x, mask)
    return found.slice_logits, found.scan_logits


def together(ensemble: Ensemble, groups: list, x, mask):
    stacked = {f"group{i}": stack_members(members) for i, members in enumerate(groups)}
    found = jax.jit(lambda p: ensemble.apply({"params": p}, x, mask, SPACING, False))(stacked)
    return found.slice_logits, found.scan_logits, found.features


def assert_same(found, wanted, mask) -> None:
    np.testing.assert_allclose(found[0][mask], wanted[0][mask], atol=1e-6)
    np.testing.assert_allclose(found[1], wanted[1], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["cpu", "tpu"])
def test_one_call_says_what_the_members_say_one_by_one(backend):
    x, mask = scans()
    ensemble = Ensemble(
        (
            Group(model=tiny(), weights=(0.2, 0.3), channels=ALL),
            Group(model=tiny(4), weights=(0.5,), channels=((2, 0),)),
        )
    )
    with expecting(backend):
        found = together(ensemble, [[params(1), params(2)], [params(3, 2, 4)]], x, mask)
    each = [alone(1, x, mask), alone(2, x, mask), alone(3, x[..., jnp.asarray([2, 0])], mask, 4)]
    wanted = [sum(w * one[i] for w, one in zip((0.2, 0.3, 0.5), each, strict=True)) for i in (0, 1)]
    assert_same(found, wanted, mask)
    for number, one in enumerate(each):
        assert_same(
            [found[2]["member_slice_logits"][:, :, number], found[2]["member_scan_logits"][:, number]], one, mask
        )
    assert found[2]["slices"].shape == (2, 5, 3 * 16)


@pytest.mark.slow
def test_a_flip_changes_nothing_for_a_scan_that_is_its_own_mirror_image():
    x, mask = scans()
    x = (x + x[:, :, :, ::-1]) / 2
    one = (Group(model=tiny(), weights=(1.0,), channels=ALL),)
    assert_same(together(Ensemble(one, ("plain", "flip")), [[params(1)]], x, mask), alone(1, x, mask), mask)


def test_views_are_the_mean_over_the_turned_scans_with_slices_in_their_own_order():
    x, mask = scans(6)  # two windows of three neighbouring slices
    one = (Group(model=tiny(), weights=(1.0,), channels=((0, 1), (2, 3), (4, 5))),)
    found = together(Ensemble(one, ("plain", "flip", "reverse")), [[params(1, 6)]], x, mask)
    turned = x[:, ::-1][..., jnp.asarray([4, 5, 2, 3, 0, 1])]
    plain, flipped, upside_down = (
        alone(1, x, mask),
        alone(1, x[:, :, :, ::-1], mask),
        alone(1, turned, mask[:, ::-1]),
    )
    slices = (plain[0] + flipped[0] + upside_down[0][:, ::-1]) / 3
    assert_same(found, [slices, (plain[1] + flipped[1] + upside_down[1]) / 3], mask)


def cam(model, params, x, mask) -> np.ndarray:
    made = jax.jit(lambda p: map_of(hires_cam, model, {"params": p}, x, mask, SPACING, label=5, level="scan"))
    return np.asarray(made(params))


@pytest.mark.slow
def test_the_map_of_places_is_the_weighted_sum_of_the_members():
    x, mask = scans()
    coarse = cam(tiny(), params(1), x, mask)
    assert coarse.max() > 0
    # Twice the same member, on the finer grid of one without weight: a place's blame is spread over what it covers.
    finer = Ensemble(
        (Group(model=tiny(), weights=(0.3, 0.7), channels=ALL), Group(model=tiny(4), weights=(0.0,), channels=ALL))
    )
    spread = cam(
        finer, {"group0": stack_members([params(1), params(1)]), "group1": stack_members([params(2, 3, 4)])}, x, mask
    )
    assert spread.shape == (2, 5, 4, 4)
    wanted = np.repeat(np.repeat(coarse, 2, axis=2), 2, axis=3) / 4
    np.testing.assert_allclose(spread, wanted, atol=1e-5 * coarse.max())


@pytest.mark.slow
def test_a_view_is_blamed_where_the_scan_is_and_not_where_it_was_turned_to():
    x, mask = scans()
    mirrored = Ensemble((Group(model=tiny(), weights=(1.0,), channels=ALL),), ("flip",))
    found = cam(mirrored, {"group0": stack_members([params(1)])}, x[:, :, :, ::-1], mask)
    wanted = cam(tiny(), params(1), x, mask)
    np.testing.assert_allclose(found[..., ::-1], wanted, atol=1e-5 * wanted.max())


@pytest.mark.full
def test_members_start_apart_and_drop_apart():
    x, mask = scans()
    ensemble = Ensemble((Group(model=tiny(dropout=0.5), weights=(0.5, 0.5), channels=ALL),))
    variables = jax.jit(lambda key: ensemble.init(key, x, mask, SPACING, False))(jax.random.key(0))
    kernels = variables["params"]["group0"]["head"]["slice_logits"]["kernel"]
    assert np.abs(kernels[0] - kernels[1]).max() > 0
    same = jax.tree.map(lambda p: jnp.stack([p[0], p[0]]), variables["params"])
    features = jax.jit(
        lambda p: ensemble.apply({"params": p}, x, mask, SPACING, True, rngs={"dropout": jax.random.key(1)}).features
    )(same)
    assert np.abs(features["member_scan_logits"][:, 0] - features["member_scan_logits"][:, 1]).max() > 0
