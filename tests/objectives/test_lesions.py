import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import log_loss

from ichformer import LABELS
from ichformer.cohorts.mask_labels import BOXED
from ichformer.objectives import lesions
from ichformer.objectives.lesions import lesion_loss, lesion_shares

MASK = jnp.ones((2, 3), bool)


def voxels(seed: int = 0) -> jax.Array:
    """Two scans of three slices of 8 x 8 voxels, of which some hold a lesion of each label or of an unknown one."""
    values = np.array([0, 0, 0, 1, 2, 3, 4, 5, 254], np.uint8)
    return jnp.asarray(np.random.default_rng(seed).choice(values, (2, 3, 8, 8)))


def logits(seed: int = 1) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(2, 3, 4, 4, 6)).astype(np.float32))


def loss_of(values: jax.Array, outputs: jax.Array, mask: jax.Array = MASK, trained=LABELS) -> np.ndarray:
    return np.asarray(lesion_loss(outputs, values, mask, names=LABELS, trained=trained))


def test_shares_are_those_of_the_known_voxels_of_a_place():
    place = jnp.asarray([[1, 254], [0, 255]], jnp.uint8)[None, None]
    share, known = (np.asarray(found)[0, 0, 0, 0] for found in lesion_shares(place, LABELS, (1, 1)))
    np.testing.assert_allclose(share, [1 / 2, 0, 0, 0, 0, 2 / 3], rtol=1e-6)
    np.testing.assert_allclose(known, [2 / 4] * 5 + [3 / 4])
    share, _ = lesion_shares(place, ("bleed",), (1, 1))  # the only label has every lesion
    np.testing.assert_allclose(np.asarray(share).ravel(), [2 / 3], rtol=1e-6)


def test_a_grid_that_does_not_divide_the_slice_covers_it_from_edge_to_edge():
    values = (voxels()[:, :, :7, :6] > 0).astype(jnp.uint8)
    share, _ = lesion_shares(values, ("bleed",), (2, 4))
    fine = np.asarray(values, float).repeat(2, 2).repeat(4, 3)  # cells of 7 x 6 parts of a voxel
    cells = ndimage.uniform_filter(fine, (0, 0, 7, 6), mode="constant")[:, :, 3::7, 3::6]
    np.testing.assert_allclose(share[..., 0], cells, atol=1e-5)


def test_the_cross_entropy_is_sklearns_and_dice_is_that_of_the_slices_with_a_lesion():
    values = voxels()[:, :, ::2, ::2].at[0, 0].set(0)
    values = jnp.where(values == 254, 0, values)
    scores = 1 / (1 + np.exp(-np.asarray(logits(), float)))
    truth = np.stack([np.asarray(values) == k for k in range(1, 6)] + [np.asarray(values) > 0], -1).astype(float)
    found, known = loss_of(values, logits())
    np.testing.assert_array_equal(known, 1)
    for i in range(2):
        entropy = log_loss(truth[i].ravel(), scores[i].ravel())
        dice = [
            (2 * (p * t).sum() + 1) / ((p**2).sum() + (t**2).sum() + 1)
            for p, t in zip(
                scores[i].transpose(0, 3, 1, 2).reshape(18, 16),
                truth[i].transpose(0, 3, 1, 2).reshape(18, 16),
                strict=True,
            )
            if t.any()
        ]
        wanted = lesions._CROSS_ENTROPY_WEIGHT * entropy + 1 - np.mean(dice)
        assert found[i] == pytest.approx(wanted, rel=1e-5)


def test_what_is_not_known_not_real_and_not_trained_weighs_nothing():
    values, mask = voxels().at[0, :, :4].set(255), MASK.at[1, 2].set(False)
    before = loss_of(values, logits(), mask)
    far = logits().at[0, :, :2].add(9.0).at[1, 2].add(9.0)
    np.testing.assert_array_equal(before, loss_of(values, far, mask))
    trained = ("subdural", "any")
    few = loss_of(values, logits(), mask, trained)
    np.testing.assert_array_equal(few, loss_of(values, logits().at[..., :4].add(9.0), mask, trained))
    nothing = jnp.full_like(values, 255)
    np.testing.assert_array_equal(loss_of(nothing, logits()), 0)
    grads = jax.grad(lambda x: lesion_loss(x, nothing, MASK, names=LABELS, trained=LABELS)[0].sum())(logits())
    np.testing.assert_array_equal(grads, 0)


def test_in_a_box_the_largest_score_counts_and_outside_of_it_all_do():
    # Edges that do not go with the grid: places that the box covers in part lie in it.
    values = jnp.zeros((1, 1, 8, 8), jnp.uint8).at[:, :, 3:5, :3].set(BOXED | 2)  # "intraparenchymal"
    outputs, mask = logits()[:1, :1], MASK[:1, :1]
    grads = np.asarray(jax.grad(lambda x: loss_of_boxes(values, x, mask))(outputs))[0, 0]
    inside = np.zeros((4, 4), bool)
    inside[1:3, :2] = True
    assert (grads[~inside] > 0).all()  # no lesion is there
    assert (grads[..., [0, 2, 3, 4]] > 0).all()  # nor one of another label
    for k in (1, 5):  # the label of the box, and any
        largest = np.unravel_index(np.where(inside, outputs[0, 0, ..., k], -np.inf).argmax(), (4, 4))
        wanted = np.zeros((4, 4), bool)
        wanted[largest] = True
        np.testing.assert_array_equal((grads[..., k] < 0), wanted)
        np.testing.assert_array_equal(grads[inside & ~wanted, k], 0)
    scores = 1 / (1 + np.exp(-np.asarray(outputs[0, 0], float)))
    best = [scores[inside, k].max() for k in (1, 5)]
    known = np.ones((4, 4, 6))
    known[inside] = [1, 0, 1, 1, 1, 0]
    entropy = (-np.log1p(-scores) * known).sum() / known.sum()
    wanted = lesions._CROSS_ENTROPY_WEIGHT * entropy - np.log(best).mean()
    assert float(loss_of_boxes(values, outputs, mask)) == pytest.approx(wanted, rel=1e-5)


def test_boxes_of_labels_without_a_loss_and_in_padding_weigh_nothing():
    values = jnp.full((1, 1, 8, 8), BOXED | 16, jnp.uint8)  # "subdural" all over the slice
    for trained, mask in (((), MASK[:1, :1]), (LABELS, ~MASK[:1, :1])):
        found, known = lesion_loss(logits()[:1, :1], values, mask, names=LABELS, trained=trained)
        assert (float(found[0]), float(known[0])) == (0.0, 0.0)
    assert loss_of(values, logits()[:1, :1], MASK[:1, :1])[1] == 1
    few = loss_of(values, logits()[:1, :1], MASK[:1, :1], ("epidural",))
    np.testing.assert_array_equal(few, loss_of(jnp.zeros_like(values), logits()[:1, :1], MASK[:1, :1], ("epidural",)))


def test_boxes_of_two_labels_that_overlap_are_boxes_of_both():
    values = jnp.zeros((1, 1, 8, 8), jnp.uint8).at[..., :4].set(BOXED | 1).at[..., 2:6].set(BOXED | 4)
    both = values.at[..., 2:4].set(BOXED | 1 | 4)
    found = np.asarray(lesions.boxed_places(both, LABELS, (4, 4)))[0, 0]
    wanted = {0: [1, 1, 0, 0], 2: [0, 1, 1, 0], 5: [1, 1, 1, 0]}
    for k in range(6):
        np.testing.assert_array_equal(found[..., k], np.tile(wanted.get(k, [0] * 4), (4, 1)))


def loss_of_boxes(values: jax.Array, outputs: jax.Array, mask: jax.Array) -> jax.Array:
    return lesion_loss(outputs, values, mask, names=LABELS, trained=LABELS)[0].sum()
