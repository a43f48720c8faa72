"""Our measures of explanations beside those of Quantus (Hedström et al. 2023, JMLR 24), on one network and one scan.

Quantus 0.6 takes pictures [scans, channels, rows, columns]. It is given a scan of one window with its slices as
channels. Where its formula is another, the test says so, and compares what both share.
"""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer import LABELS, WINDOWS
from ichformer.explanations.blocks import in_block
from ichformer.explanations.faithfulness.concentration import complexity, sparseness
from ichformer.explanations.faithfulness.fillings import from_neighbours, from_scan
from ichformer.explanations.faithfulness.flipping import flipping_curves
from ichformer.explanations.faithfulness.infidelity import infidelity
from ichformer.explanations.faithfulness.localisation import mass_accuracy, pointing_game, rank_accuracy
from ichformer.explanations.faithfulness.stability import max_sensitivity, similarity
from ichformer.explanations.methods.input_gradient import input_x_gradient
from ichformer.explanations.score import ExplainedScore
from ichformer.objectives.classification import Classification
from tests.parity.small_cnn import SmallCNN, params_of, random_params, torch_twin

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.full, pytest.mark.filterwarnings("ignore::UserWarning:quantus")]

SLICES, SIZE, LABEL = 3, 16, 3
TOLERANCE = 1e-4
HOW = {"disable_warnings": True, "normalise": False, "abs": False}
"""Of each of its metrics. By default it divides a map by its largest value, and of some it takes the size."""


@pytest.fixture(scope="module")
def quantus():
    return pytest.importorskip("quantus", reason="Quantus is not installed: pip install 'ichformer[parity]'")


class OfScan(torch.nn.Module):
    """The logits of a scan, the largest of its slices, from [scans, slices, rows, columns]."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        b, s, h, w = x.shape
        return self.network(x.reshape(b * s, 1, h, w)).reshape(b, s, -1).amax(1)


@pytest.fixture(scope="module")
def both():
    """Our score of a scan, its prepared slices and a map; and the network, the slices and the label for Quantus."""
    rng = np.random.default_rng(0)
    params = random_params(rng, windows=1)
    # Brain and blood, all in the window, and no voxel with the 32 HU of plain brain.
    hu = rng.choice(np.delete(np.arange(1, 80), 31), (1, SLICES, SIZE, SIZE))
    score = score_with(params, jnp.asarray(hu, jnp.int16), LABEL)
    model, x = OfScan(torch_twin(torch, params)).eval(), np.array(score.windowed[..., 0])
    np.testing.assert_allclose(score(score.windowed)[0], model(torch.from_numpy(x))[0, LABEL].detach(), atol=1e-5)
    maps = rng.normal(size=x.shape).astype(np.float32)
    assert np.unique(maps).size == maps.size
    given = {"model": model, "x_batch": x, "y_batch": np.asarray([LABEL]), "channel_first": True, "softmax": False}
    return SimpleNamespace(score=score, params=params, maps=maps, model=model, x=x, given=given)


def score_with(params, hu, label):
    return ExplainedScore(
        objective=Classification(model=SmallCNN(), windows=(WINDOWS["brain"],)),
        variables={"params": params},
        hu=hu,
        slice_mask=jnp.ones(hu.shape[:2], bool),
        spacing_mm=jnp.ones((len(hu), 3)),
        weights=jax.nn.one_hot(label, len(LABELS)),
        level="scan",
    )


def their_input_x_gradient(reference):
    """The method in torch, as Quantus calls it: from a scan that is all brain, beside the value of plain brain."""

    def explain(model, inputs, targets, **_):
        x = torch.tensor(np.asarray(inputs), dtype=torch.float32, requires_grad=True)
        model(x)[range(len(x)), torch.as_tensor(targets)].sum().backward()
        return ((x.detach() - reference) * x.grad).numpy()

    return explain


def plain_brain(score) -> float:
    values = np.unique(score.reference)
    assert len(values) == 1
    return float(values[0])


def test_pixel_flipping(quantus, both) -> None:
    """Its curve leaves out the score of the whole scan, and its area has steps of 1 where ours has 1/K.

    It takes that area with ``numpy.trapz``, which NumPy 2.4 does not have any more; so it is taken here of its curve.
    """
    steps = 12
    found = jax.jit(lambda maps: flipping_curves(both.score, maps, from_scan(both.score.reference), steps=steps))(
        both.maps
    )
    metric = quantus.PixelFlipping(
        features_in_step=both.x[0].size // steps, perturb_baseline=plain_brain(both.score), **HOW
    )
    whole = both.model(torch.from_numpy(both.x))[0, LABEL].item()
    for sign, ours in ((1, found.most_first), (-1, found.least_first)):
        (curve,) = metric(**both.given, a_batch=sign * both.maps)
        assert np.ptp(curve) > 0.1
        np.testing.assert_allclose(ours[0], [whole, *curve], atol=TOLERANCE)
        area = np.trapezoid([whole, *curve], dx=1 / steps)
        np.testing.assert_allclose(found.deletion if sign == 1 else found.insertion, area, atol=TOLERANCE)


def four_targets():
    """Masks of four pictures: small, large, one pixel, all but one."""
    targets = np.zeros((4, SIZE, SIZE), bool)
    targets[0, 2:5, 3:6] = targets[1, 4:, :] = targets[2, 7, 7] = True
    targets[3] = ~targets[2]
    return targets


@pytest.mark.parametrize("name", ["PointingGame", "RelevanceMassAccuracy", "RelevanceRankAccuracy"])
def test_localisation(quantus, name) -> None:
    """Of maps without negative values, whose values all differ.

    - Of several highest pixels Quantus takes any, and we the first, and none of a flat map. The pointing game of an
      empty target is a hit with Quantus, whose NaN becomes True in an array of booleans.
    - Its relevance mass accuracy sums what is negative too, so it may leave [0, 1]. Arras et al. 2022 pool maps to
      positive values before.
    - In its rank accuracy the order of equal values is that of the sort, and in ours the mean of all orders.
    """
    rng = np.random.default_rng(1)
    maps = rng.permutation(4 * SIZE * SIZE).reshape(4, SIZE, SIZE).astype(np.float32)
    maps[0, 3, 4] = maps[1, 0, 0] = maps[2, 7, 7] = 2 * maps.max()
    targets = four_targets()
    theirs = getattr(quantus, name)(**HOW)(
        model=None, x_batch=maps[:, None], y_batch=np.zeros(4), a_batch=maps[:, None], s_batch=targets[:, None]
    )
    if name == "PointingGame":
        assert sorted(set(map(bool, theirs))) == [False, True]
        np.testing.assert_array_equal(pointing_game(maps, targets), theirs)
    else:
        ours = mass_accuracy if name == "RelevanceMassAccuracy" else rank_accuracy
        assert len(set(theirs)) == 4
        np.testing.assert_allclose(list(map(ours, maps, targets)), theirs, atol=TOLERANCE)


@pytest.mark.parametrize(("name", "ours"), [("Complexity", complexity), ("Sparseness", sparseness)])
def test_concentration(quantus, both, name, ours) -> None:
    """It adds 1e-12 in the logarithm and 1e-7 to each value of a map whose largest is 1."""
    maps = np.concatenate([both.maps, both.maps**3, np.maximum(both.maps, 1.0) - 1.0])
    maps /= np.abs(maps).max(axis=(1, 2, 3), keepdims=True)
    metric = getattr(quantus, name)(**HOW | {"abs": True})
    theirs = metric(model=None, x_batch=maps, y_batch=np.zeros(3), a_batch=maps.copy())
    assert np.ptp(theirs) > 0.1
    np.testing.assert_allclose(list(map(ours, maps)), theirs, atol=TOLERANCE)


def test_max_sensitivity(quantus, both) -> None:
    """With the same noise. By default it divides both maps by their own largest values before it compares them."""
    samples, radius_hu, score = 6, 8.0, both.score

    def explain(given):
        return input_x_gradient(given).maps

    ours = jax.jit(lambda: max_sensitivity(score, explain, radius_hu=radius_hu, samples=samples, seed=5))()
    noise = [
        np.round(jax.random.uniform(key, score.hu.shape, minval=-radius_hu, maxval=radius_hu))
        for key in jax.random.split(jax.random.key(5), samples)
    ]
    changed = iter([score_with(both.params, score.hu + n.astype(np.int16), LABEL).windowed for n in noise])
    metric = quantus.MaxSensitivity(
        nr_samples=samples, perturb_func=lambda arr, **_: np.asarray(next(changed)).reshape(arr.shape), **HOW
    )
    own = their_input_x_gradient(plain_brain(score))
    a_batch = own(both.model, both.x, [LABEL])
    np.testing.assert_allclose(jax.jit(lambda: explain(score))(), a_batch, atol=TOLERANCE * np.abs(a_batch).max())
    theirs = metric(**both.given, a_batch=a_batch, explain_func=own)
    assert theirs[0] > 0.1
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)


def test_infidelity(quantus, both) -> None:
    """With the same blocks, which Quantus is handed one by one.

    Its own blocks stay: each is taken out of the scan that has lost those before. It sums the map times the change,
    where ours is a map of what was lost already; so its map is ours over the change. Its figure Q(b) for b times the
    map is a parabola C - 2 B b + A b^2. Ours is the least of it, over Q(0): the best factor, and in the unit of no map.
    """
    samples, block, score = 16, (2, 5, 4), both.score
    ours = jax.jit(lambda maps: infidelity(score, maps, block=block, samples=samples, seed=3))(both.maps)
    last = jnp.asarray([[size - side + 1 for size, side in zip(both.x.shape[1:], block, strict=True)]])
    starts = jax.random.randint(jax.random.key(3), (samples, 3), 0, last)
    plain = plain_brain(score)
    changed = [np.where(in_block(start, block, both.x.shape[1:]), plain, both.x) for start in starts]
    change = both.x - plain

    def theirs(factor):
        left = iter(changed)
        metric = quantus.Infidelity(
            perturb_patch_sizes=[SIZE // 4],  # 16 patches, one for each of our blocks
            n_perturb_samples=1,
            perturb_func=lambda arr, **_: next(left).reshape(arr.shape),
            **HOW,
        )
        (found,) = metric(**both.given, a_batch=(factor * both.maps / change).astype(np.float32))
        assert next(left, None) is None
        return found

    factors = np.asarray([-1.0, 1.0, 2.0])  # it refuses a map of zeros
    c, minus_2b, a = np.linalg.solve(np.vander(factors, increasing=True), list(map(theirs, factors)))
    assert c > 1e-3
    np.testing.assert_allclose(ours, [1 - minus_2b**2 / (4 * a * c)], atol=TOLERANCE)


def test_maps_of_random_parameters_and_of_another_label(quantus, both) -> None:
    """The last step of its MPRT, when no layer has its parameters any more, and its random logit, both as Spearman's.

    By default it compares maps without their signs, and in the random logit their structural similarity.
    """
    own, seen = their_input_x_gradient(plain_brain(both.score)), []

    def explain(model, inputs, targets, **how):
        seen.append((params_of(model.network), int(targets[0])))
        return own(model, inputs, targets, **how)

    def map_with(params, label):
        score = score_with(params, both.score.hu, label)
        return np.asarray(jax.jit(lambda: input_x_gradient(score).maps)())[0]

    first, tissue = map_with(both.params, LABEL), np.ones(both.x.shape[1:], bool)
    a_batch = own(both.model, both.x, [LABEL])
    mprt = quantus.MPRT(similarity_func=quantus.correlation_spearman, skip_layers=True, **HOW)
    *_, theirs = mprt(**both.given, a_batch=a_batch, explain_func=explain).values()
    np.testing.assert_allclose(similarity(first, map_with(*seen[-1]), tissue), theirs, atol=TOLERANCE)
    assert abs(theirs[0]) < 0.9
    logit = quantus.RandomLogit(similarity_func=quantus.correlation_spearman, num_classes=len(LABELS), **HOW)
    theirs = logit(**both.given, a_batch=a_batch, explain_func=explain)
    assert seen[-1][1] != LABEL
    np.testing.assert_allclose(similarity(first, map_with(*seen[-1]), tissue), theirs, atol=TOLERANCE)
    assert abs(theirs[0]) < 0.9


def test_fillings_from_neighbours(quantus, both) -> None:
    """Its imputation of ROAD solves the equations that ours comes to in many passes; away from the edge of the slice.

    At the edge it takes the mean of the neighbours that there are, and ours repeats the outermost voxels. Its noise is
    on the hole alone and not cut to [0, 1]; here both have none.
    """
    from quantus.functions.perturb_func import noisy_linear_imputation

    gone = np.zeros((SIZE, SIZE), bool)
    gone[4:9, 3:8] = gone[10:14, 9:15] = True
    gone[6, 6] = False
    picture = both.x[0, :1]
    theirs = noisy_linear_imputation(picture.copy(), np.flatnonzero(gone), noise=0.0)
    ours = from_neighbours(passes=400, noise=0.0)(jnp.asarray(picture)[None, ..., None], jnp.asarray(gone)[None, None])
    np.testing.assert_allclose(np.asarray(ours)[0, ..., 0], theirs, atol=TOLERANCE)
    assert np.abs(theirs - picture)[0][gone].max() > 0.1
