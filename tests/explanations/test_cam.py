import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy import ndimage

import ichformer as ich
from ichformer import LABELS
from ichformer.errors import InputError
from ichformer.explanations.display import upsample
from ichformer.explanations.faithfulness.localisation import pointing_game
from ichformer.explanations.methods.ablation_cam import ablation_cam
from ichformer.explanations.methods.cam import grad_cam, grad_cam_plus_plus, hires_cam, layer_cam
from ichformer.explanations.registry import find_method
from ichformer.explanations.score import CannotExplainError
from ichformer.models.contract import CAM_LAYER, Prediction
from tests.explanations.scored import map_of, score_of

SIZE, PATCH, GRID, WIDTH = 32, 4, 8, 5


class PooledLinear(nn.Module):
    """Patches -> features -> mean over the grid -> linear: the network for which CAM (Zhou 2016) is exact."""

    cam_name: str = CAM_LAYER
    inner: bool = False

    @nn.compact
    def __call__(self, x: Array, slice_mask: Array, spacing_mm: Array, train: bool) -> Prediction:
        grid = nn.Conv(WIDTH, (PATCH, PATCH), strides=(PATCH, PATCH), padding="VALID", name="patches")(x)
        grid = self.perturb(self.cam_name, nn.gelu(grid))
        slice_logits = nn.Dense(len(LABELS), name="head")(grid.mean(axis=(2, 3)))
        scan_logits = jnp.where(slice_mask[..., None], slice_logits, -jnp.inf).max(axis=1)
        return Prediction(slice_logits=slice_logits, scan_logits=scan_logits, features={CAM_LAYER: grid})


class Wrapped(nn.Module):
    """The same network one module deeper, so that the perturbed leaf is not at the top of the tree."""

    @nn.compact
    def __call__(self, x: Array, slice_mask: Array, spacing_mm: Array, train: bool) -> Prediction:
        return PooledLinear(name="encoder")(x, slice_mask, spacing_mm, train)


class PlantedBlob(nn.Module):
    """Label 0 counts bright patches, label 1 counts dark ones, label 2 depends on nothing, all others as label 0."""

    @nn.compact
    def __call__(self, x: Array, slice_mask: Array, spacing_mm: Array, train: bool) -> Prediction:
        b, s, h, w, _ = x.shape
        mean = x[..., 0].reshape(b, s, h // PATCH, PATCH, w // PATCH, PATCH).mean(axis=(3, 5))
        grid = self.perturb(CAM_LAYER, jnp.stack([mean, 1 - mean], axis=-1))
        bright, dark = grid[..., 0].sum((2, 3)), grid[..., 1].sum((2, 3))
        slice_logits = jnp.stack([bright, dark, 0 * bright, bright, bright, bright], axis=-1)
        scan_logits = jnp.where(slice_mask[..., None], slice_logits, -1e9).max(axis=1)
        return Prediction(slice_logits=slice_logits, scan_logits=scan_logits, features={CAM_LAYER: grid})


class BrightestPatch(nn.Module):
    """Every label is the mean of the brightest patch."""

    @nn.compact
    def __call__(self, x: Array, slice_mask: Array, spacing_mm: Array, train: bool) -> Prediction:
        b, s, h, w, _ = x.shape
        mean = x[..., :1].reshape(b, s, h // PATCH, PATCH, w // PATCH, PATCH, 1).mean(axis=(3, 5))
        grid = self.perturb(CAM_LAYER, mean)
        slice_logits = jnp.broadcast_to(grid.max(axis=(2, 3)), (b, s, len(LABELS)))
        return Prediction(slice_logits=slice_logits, scan_logits=slice_logits.max(1), features={CAM_LAYER: grid})


def inputs(seed: int = 0, b: int = 2, s: int = 3) -> tuple[Array, Array, Array]:
    x = jax.random.uniform(jax.random.key(seed), (b, s, SIZE, SIZE, 3))
    return x, jnp.ones((b, s), bool), jnp.ones((b, 3), jnp.float32)


def test_equals_cam_for_a_pooled_linear_head() -> None:
    model, (x, mask, spacing_mm) = PooledLinear(), inputs()
    variables = model.init(jax.random.key(1), x, mask, spacing_mm, False)
    for label in range(len(LABELS)):
        got = map_of(grad_cam, model, variables, x, mask, spacing_mm, label=label, level="slice")
        grid = model.apply(variables, x, mask, spacing_mm, False).features[CAM_LAYER]
        # CAM is the head's own weights on the grid; Grad-CAM's gradient through the mean is 1/Z of them.
        by_hand = np.maximum(np.asarray(grid) @ np.asarray(variables["params"]["head"]["kernel"])[:, label], 0)
        np.testing.assert_allclose(got, by_hand / GRID**2, rtol=1e-5, atol=1e-8)
        assert got.dtype == jnp.float32


def test_hires_cam_equals_grad_cam_where_the_features_are_averaged() -> None:
    model, (x, mask, spacing_mm) = PooledLinear(), inputs()
    variables = model.init(jax.random.key(1), x, mask, spacing_mm, False)
    ways = [
        map_of(method, model, variables, x, mask, spacing_mm, label=3, level="slice")
        for method in (grad_cam, hires_cam)
    ]
    np.testing.assert_allclose(*ways, rtol=1e-5, atol=1e-8)


def test_hires_cam_marks_the_place_that_a_maximum_picks_and_grad_cam_all_that_look_like_it() -> None:
    model, (x, mask, spacing_mm) = BrightestPatch(), inputs()
    x = (x * 0.01).at[1, 2, 20:24, 8:12].set(1.0).at[1, 2, 4:8, 20:24].set(0.9)
    arguments = {"label": 0, "level": "slice"}
    picked = np.asarray(map_of(hires_cam, model, {}, x, mask, spacing_mm, **arguments))[1, 2]
    assert picked[5, 2] > 0
    assert np.count_nonzero(picked) == 1
    spread = np.asarray(map_of(grad_cam, model, {}, x, mask, spacing_mm, **arguments))[1, 2]
    assert spread[1, 5] == pytest.approx(0.9 * spread[5, 2], rel=1e-4)


@pytest.mark.slow
def test_other_cams_as_their_equations_say_for_a_pooled_linear_head() -> None:
    model, (x, mask, spacing_mm) = PooledLinear(), inputs(b=1)
    variables = model.init(jax.random.key(1), x, mask, spacing_mm, False)
    grid = np.asarray(model.apply(variables, x, mask, spacing_mm, False).features[CAM_LAYER], np.float64)
    weights = np.asarray(variables["params"]["head"]["kernel"], np.float64)[:, 3] / GRID**2
    given = {"label": 3, "level": "slice"}
    found = {
        method: map_of(method, model, variables, x, mask, spacing_mm, **given)
        for method in (layer_cam, grad_cam_plus_plus, ablation_cam)
    }
    np.testing.assert_allclose(found[layer_cam], np.maximum(grid @ np.maximum(weights, 0), 0), rtol=1e-4, atol=1e-7)
    # The gradient is the same all over a channel, and so is the share of Grad-CAM++.
    shares = weights**2 / (2 * weights**2 + weights**3 * grid.sum((2, 3)))
    by_channel = GRID**2 * shares * np.maximum(weights, 0)
    wanted = np.maximum((grid * by_channel[:, :, None, None]).sum(-1), 0)
    np.testing.assert_allclose(found[grad_cam_plus_plus], wanted, rtol=1e-4, atol=1e-7)
    # Without a channel, the score of a linear head falls by what that channel gave it.
    falls = grid.sum((2, 3)) * weights
    wanted = np.maximum((grid * falls[:, :, None, None]).sum(-1), 0)
    np.testing.assert_allclose(found[ablation_cam], wanted, rtol=1e-4, atol=1e-6)


def test_scan_level_explains_only_the_slices_that_decide() -> None:
    model, (x, mask, spacing_mm) = PooledLinear(), inputs()
    variables = model.init(jax.random.key(1), x, mask, spacing_mm, False)
    slice_logits = model.apply(variables, x, mask, spacing_mm, False).slice_logits
    slice_maps = map_of(grad_cam, model, variables, x, mask, spacing_mm, label=4, level="slice")
    scan_maps = map_of(grad_cam, model, variables, x, mask, spacing_mm, label=4, level="scan")
    deciding = np.asarray(slice_logits[..., 4].argmax(axis=1))
    for scan, s in enumerate(deciding):
        np.testing.assert_allclose(scan_maps[scan, s], slice_maps[scan, s], rtol=1e-5, atol=1e-8)
        assert not np.delete(np.asarray(scan_maps[scan]), s, axis=0).any()


def test_a_vector_of_weights_is_the_weighted_sum_of_logits_and_compiles_once() -> None:
    model, (x, mask, spacing_mm) = PooledLinear(), inputs()
    variables = model.init(jax.random.key(1), x, mask, spacing_mm, False)
    compiled = jax.jit(
        lambda weights: map_of(grad_cam, model, variables, x, mask, spacing_mm, label=weights, level="slice")
    )
    one_hot = compiled(jnp.eye(len(LABELS))[3])
    np.testing.assert_allclose(
        one_hot, map_of(grad_cam, model, variables, x, mask, spacing_mm, label=3, level="slice"), rtol=1e-5, atol=1e-8
    )
    np.testing.assert_allclose(compiled(2 * jnp.eye(len(LABELS))[3]), 2 * one_hot, rtol=1e-5, atol=1e-8)


def test_the_map_lies_at_the_planted_place() -> None:
    model, (x, mask, spacing_mm) = PlantedBlob(), inputs()
    x = x * 0.01
    x = x.at[1, 2, 20:24, 8:12].set(1.0)
    maps = map_of(grad_cam, model, {}, x, mask, spacing_mm, label=0, level="slice")
    assert np.unravel_index(np.asarray(maps).argmax(), maps.shape) == (1, 2, 5, 2)
    over_the_slice = np.asarray(upsample(maps, (SIZE, SIZE)))[1, 2:]
    target = np.zeros((1, SIZE, SIZE), bool)
    target[0, 20:24, 8:12] = True
    assert pointing_game(over_the_slice, target).all()
    assert not pointing_game(over_the_slice, np.roll(target, 12, axis=2)).any()


def test_zero_where_the_label_does_not_depend_on_the_place() -> None:
    model, (x, mask, spacing_mm) = PlantedBlob(), inputs()
    assert not map_of(grad_cam, model, {}, x, mask, spacing_mm, label=2, level="slice").any()


@pytest.mark.slow
def test_masked_slices_are_zero_and_do_not_matter() -> None:
    model, (x, mask, spacing_mm) = PooledLinear(), inputs()
    variables = model.init(jax.random.key(1), x, mask, spacing_mm, False)
    mask = mask.at[:, 2].set(False)
    with_nan = x.at[:, 2].set(jnp.nan)
    for level in ("scan", "slice"):
        maps = map_of(grad_cam, model, variables, with_nan, mask, spacing_mm, label=5, level=level)
        alone = map_of(grad_cam, model, variables, x[:, :2], mask[:, :2], spacing_mm, label=5, level=level)
        assert not np.asarray(maps[:, 2]).any()
        np.testing.assert_allclose(maps[:, :2], alone, rtol=1e-5, atol=1e-8)


def test_finds_the_layer_in_a_nested_module_and_ignores_stale_perturbations() -> None:
    flat, deep, (x, mask, spacing_mm) = PooledLinear(), Wrapped(), inputs()
    variables = deep.init(jax.random.key(1), x, mask, spacing_mm, False)
    assert "perturbations" in variables
    params = {"params": variables["params"]["encoder"]}
    one_scan = (x[:1], mask[:1], spacing_mm[:1])  # not the shape that init saw
    np.testing.assert_array_equal(
        map_of(grad_cam, deep, variables, *one_scan, label=5, level="scan"),
        map_of(grad_cam, flat, params, *one_scan, label=5, level="scan"),
    )


def test_a_model_without_the_layer_is_refused() -> None:
    model, (x, mask, spacing_mm) = PooledLinear(cam_name="other"), inputs()
    variables = model.init(jax.random.key(1), x, mask, spacing_mm, False)
    with pytest.raises(CannotExplainError, match="it must perturb one array as 'cam', found 0"):
        map_of(grad_cam, model, variables, x, mask, spacing_mm, label=0, level="scan")


@pytest.mark.parametrize("size", [(32, 32), (20, 36), (37, 23)])
def test_upsampling_aligns_pixel_centres(size: tuple[int, int]) -> None:
    maps = np.random.default_rng(0).random((8, 6), np.float32)
    # The centre of pixel i lies at i + 1/2 of a pixel, hence at (i + 1/2) * cells / pixels of a cell.
    centres = [(np.arange(pixels) + 0.5) * cells / pixels - 0.5 for pixels, cells in zip(size, maps.shape, strict=True)]
    want = ndimage.map_coordinates(maps, np.meshgrid(*centres, indexing="ij"), order=1, mode="nearest")
    np.testing.assert_allclose(upsample(jnp.asarray(maps)[None, None], size)[0, 0], want, rtol=1e-5, atol=1e-6)


def test_pointing_game_tolerance_and_flat_maps() -> None:
    maps = np.zeros((3, 9, 9), np.float32)
    maps[0, 4, 4] = maps[1, 4, 4] = 1
    targets = np.zeros((3, 9, 9), bool)
    targets[0, 4, 4] = targets[1, 4, 7] = targets[2, 0, 0] = True
    np.testing.assert_array_equal(pointing_game(maps, targets), [True, False, False])
    np.testing.assert_array_equal(pointing_game(maps, targets, tolerance_px=3.0), [True, True, False])


@pytest.mark.slow
def test_a_layer_that_is_named_is_explained_and_the_last_one_is_the_models_own_grid():
    model = ich.create_model("cnn2d_nano")
    x = jax.random.uniform(jax.random.key(0), (1, 2, 32, 32, 1))
    mask, spacing_mm = jnp.ones((1, 2), bool), jnp.ones((1, 3))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(1), x, mask, spacing_mm, False))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda p: 0.3 * rng.standard_normal(p.shape).astype(np.float32), shapes)
    score = score_of(model, {"params": variables["params"]}, x, mask, spacing_mm, label=0, level="scan")

    def explained(name: str) -> np.ndarray:
        return np.asarray(jax.jit(lambda: find_method(name).explain(score).maps)())

    for method in ("hires_cam", "ablation_cam"):
        np.testing.assert_allclose(explained(f"{method}@encoder/norm"), explained(method), atol=1e-6)
    finer = explained("hires_cam@encoder/stage0_block0")
    assert finer.shape == (1, 2, 8, 8)
    assert finer.any()
    with pytest.raises(CannotExplainError, match="no layer 'encoder/stage9' with a grid of features; perhaps encoder"):
        find_method("hires_cam@encoder/stage9").explain(score)
    for name, said in {
        "occlusion@encoder/norm": "is not a method that takes a layer; name occlusion alone",
        "hires_cam@../x": "names no layer",
        "hires@encoder": "perhaps you meant hires_cam",
    }.items():
        with pytest.raises(InputError, match=said):
            find_method(name)
    assert find_method("hires_cam@encoder/norm").explain is find_method("hires_cam@encoder/norm").explain
