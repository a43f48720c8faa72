"""Every method on every kind of model: a finite map of the right shape that has a say in the score."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ichformer as ich
from ichformer.errors import InputError
from ichformer.explanations.batch import explain_batch
from ichformer.explanations.registry import EXPLANATIONS
from ichformer.explanations.score import Explanation
from ichformer.objectives.classification import Classification
from tests.registries import forget_after
from tests.typecheck import unchecked

SIZE, SLICES = 32, 3
CHEAP = ("hires_cam", "grad_cam", "grad_cam_plus_plus", "layer_cam", "input_x_gradient", "lesions")
COSTLY = ("ablation_cam", "integrated_gradients", "smooth_grad", "occlusion", "rise")
WITHIN_SLICES = ("attention_rollout", "gradient_attention", "legrad")
OF_ATTENTION = ("attn_lrp", *WITHIN_SLICES)
OF_CHANNELS = ("grad_cam", "grad_cam_plus_plus", "layer_cam", "ablation_cam")
"""Sums over channels, of which what is above 0 is shown: with noise as weights that may be nothing for a label."""


@functools.cache
def scans():
    """A head of noise on air; the last slice is padding."""
    rows, columns = np.indices((SIZE, SIZE)) - SIZE / 2 + 0.5
    head = np.hypot(rows, columns) < SIZE / 2 - 3
    hu = np.where(head, np.random.default_rng(0).integers(0, 90, (1, SLICES, SIZE, SIZE)), -1000)
    return jnp.asarray(hu, jnp.int16), jnp.asarray([[True] * (SLICES - 1) + [False]]), jnp.ones((1, 3))


@functools.cache
def trained(name: str, **options):
    """A classifier with a lesion head, and noise in place of its weights: a fresh head may start at zero."""
    model = ich.create_model(name, lesions=True, **options)
    windows = (ich.WINDOWS["brain"], ich.WINDOWS["subdural"])
    objective = Classification(
        model=model,
        windows=windows,
        lesion_weight=1.0,
        lesion_labels=("any",),
        neighbours=int(name.startswith("cnn2d")),
    )
    hu, mask, spacing_mm = scans()
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(1), objective.inputs(hu, mask), mask, spacing_mm, False))
    rng = np.random.default_rng(0)
    noise = jax.tree.map(lambda p: 0.1 * rng.standard_normal(p.shape).astype(np.float32), shapes)
    return objective, {"params": noise["params"]}


def explained(name: str, method: str, level: str = "scan", label: str = "any") -> Explanation:
    return explain_batch(*trained(name), *scans(), label=label, method=method, level=level)


@pytest.mark.parametrize(
    ("name", "methods", "levels"),
    [
        pytest.param("cnn2d_nano", ("hires_cam", "input_x_gradient", "lesions"), ("scan",), marks=pytest.mark.slow),
        *(
            pytest.param(name, CHEAP + COSTLY, ("scan", "slice"), marks=pytest.mark.full(minutes=2))
            for name in ("cnn2d_nano", "cnn3d_nano", "cnn_gru_nano")
        ),
        *(
            pytest.param(name, CHEAP + COSTLY + OF_ATTENTION, ("scan", "slice"), marks=pytest.mark.full(minutes=2))
            for name in ("slice_vit_nano", "vit3d_nano", "swin3d_nano", "maxvit_nano", "dual_nano")
        ),
        pytest.param(
            "hybrid_nano", (*CHEAP, *COSTLY, "attn_lrp"), ("scan", "slice"), marks=pytest.mark.full(minutes=2)
        ),
    ],
)
def test_every_family_has_every_method(name, methods, levels) -> None:
    outside = np.asarray(scans()[0])[0] < -300
    for method in methods:
        for level in levels:
            found = explained(name, method, level)
            maps = np.asarray(found.maps)
            assert maps.shape[:2] == (1, SLICES)
            assert maps.dtype == np.float32
            assert np.isfinite(maps).all()
            assert not maps[0, -1].any()
            if method in OF_CHANNELS:
                assert any(np.any(explained(name, method, level, label).maps) for label in ich.LABELS), method
            else:
                assert maps.any(), method
            if EXPLANATIONS[method].grid == "input":
                assert maps.shape[2:] == (SIZE, SIZE)
            else:
                assert maps.min() >= 0
            if method in ("input_x_gradient", "integrated_gradients", "smooth_grad", "attn_lrp"):
                assert not maps[0][outside].any()
    assert set(CHEAP + COSTLY + OF_ATTENTION) == set(EXPLANATIONS)


@pytest.mark.slow
def test_what_a_model_has_not_is_refused_with_the_methods_that_it_has(monkeypatch) -> None:
    forget_after(monkeypatch, EXPLANATIONS)
    for name in set(EXPLANATIONS) - {"hires_cam", "input_x_gradient", "lesions"}:
        del EXPLANATIONS._loaded()[name]

    @ich.register_explanation
    def of_a_kind(score):
        return Explanation(maps=score.only_real(score.windowed[..., 0]))

    @ich.register_explanation
    def of_another_shape(score):
        return Explanation(maps=score.windowed)

    def asked(method, *, label="any", objective=None):
        given, params = trained("cnn2d_nano")
        return explain_batch(objective or given, params, *scans(), label=label, method=method, level="scan")

    with pytest.raises(InputError, match="label: there is no label 'ani'; perhaps you meant any"):
        asked("lesions", label="ani")
    with pytest.raises(InputError, match="method: there is no explanation 'hirescam'; perhaps you meant hires_cam"):
        asked("hirescam")
    with pytest.raises(InputError, match="label: the lesions of subdural were never trained; explain one of any"):
        asked("lesions", label="subdural")
    untrained = Classification(
        model=trained("cnn2d_nano")[0].model, windows=trained("cnn2d_nano")[0].windows, neighbours=1
    )
    said = "method: lesions cannot explain this model: it has no trained lesion head; take one of hires_cam, input_x_"
    with pytest.raises(InputError, match=said):
        asked("lesions", objective=untrained)
    assert asked("of_a_kind").maps.shape == (1, SLICES, SIZE, SIZE)
    with unchecked(), pytest.raises(InputError, match="of_another_shape: its maps have the shape"):
        asked("of_another_shape")
