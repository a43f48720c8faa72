"""Explanations of one small network in Flax and in torch, by our methods and by captum and pytorch-grad-cam."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer import LABELS
from ichformer.explanations.methods.ablation_cam import ablation_cam
from ichformer.explanations.methods.cam import grad_cam, grad_cam_plus_plus, hires_cam, layer_cam
from ichformer.explanations.methods.input_gradient import input_x_gradient
from ichformer.explanations.methods.integrated_gradients import integrated_gradients
from ichformer.explanations.methods.occlusion import occlusion
from tests.explanations.scored import map_of, score_of
from tests.parity.small_cnn import SmallCNN, random_params, torch_twin

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.full

SIZE, WINDOWS, LABEL = 16, 2, 3
TOLERANCE = 1e-4
SCALE = 1000.0
"""Of the score: its Grad-CAM++ adds 1e-6 to the square of the gradient, beside which a small one is lost."""


@pytest.fixture(scope="module")
def both():
    """The Flax network with its parameters, the torch network, and a picture for each."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(0, 1, (1, 1, SIZE, SIZE, WINDOWS)), jnp.float32)
    given = x, jnp.ones((1, 1), bool), jnp.ones((1, 3))
    params = random_params(rng, windows=WINDOWS)
    network = torch_twin(torch, params)
    picture = torch.from_numpy(np.asarray(x)[0].transpose(0, 3, 1, 2).copy())
    ours = SmallCNN().apply({"params": params}, *given, False).slice_logits[0]
    np.testing.assert_allclose(ours, network(picture).detach(), atol=1e-5)
    return {"params": params}, given, network, picture


def assert_same(ours, theirs) -> None:
    ours, theirs = np.asarray(ours).squeeze(), np.asarray(theirs).squeeze()
    assert np.abs(theirs).max() > 0
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE * np.abs(theirs).max())


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (grad_cam, "GradCAM"),
        (grad_cam_plus_plus, "GradCAMPlusPlus"),
        (layer_cam, "LayerCAM"),
        (hires_cam, "HiResCAM"),
        (ablation_cam, "AblationCAM"),
    ],
)
def test_a_cam_is_that_of_pytorch_grad_cam(both, method, name) -> None:
    reference = pytest.importorskip("pytorch_grad_cam")
    variables, given, network, picture = both
    layers = [network[1]]

    def target(output):
        return SCALE * output[LABEL]

    # Its maps are scaled to [0, 1] and enlarged before they are returned; this is the step before.
    with getattr(reference, name)(model=network, target_layers=layers) as cam:
        cam.outputs = cam.activations_and_grads(picture)
        network.zero_grad()
        target(cam.outputs[0]).backward(retain_graph=True)
        grid = cam.activations_and_grads.activations[0].detach().numpy()
        gradients = cam.activations_and_grads.gradients[0].detach().numpy()
        found = np.maximum(cam.get_cam_image(picture, layers[0], [target], grid, gradients, False), 0)
    weights = SCALE * jax.nn.one_hot(LABEL, len(LABELS))
    ours = np.asarray(map_of(method, SmallCNN(), variables, *given, label=weights, level="slice"))
    if method is ablation_cam:  # which there is over the score
        ours = ours / (SCALE * network(picture).detach()[0, LABEL].item())
    assert_same(ours, found)


def test_methods_on_voxels_are_those_of_captum(both) -> None:
    attr = pytest.importorskip("captum.attr")
    variables, given, network, picture = both

    def ours(method, **options):
        score = score_of(SmallCNN(), variables, *given, label=LABEL, level="slice")
        return method(score, **options)

    found = ours(integrated_gradients, tolerance=0.0)
    theirs, error = attr.IntegratedGradients(network).attribute(
        picture, target=LABEL, n_steps=270, method="riemann_middle", return_convergence_delta=True
    )
    assert_same(found.maps, theirs.detach().sum(1))
    assert float(found.completeness_error[0]) < 1e-3
    assert abs(float(error)) < 1e-2
    theirs = attr.InputXGradient(network).attribute(picture.clone().requires_grad_(), target=LABEL)
    assert_same(ours(input_x_gradient).maps, theirs.detach().sum(1))
    for block, stride in (((4, 4), (4, 4)), ((5, 3), (2, 3))):
        windows = {"sliding_window_shapes": (WINDOWS, *block), "strides": (WINDOWS, *stride)}
        theirs = attr.Occlusion(network).attribute(picture, target=LABEL, baselines=0, **windows)[:, 0]
        assert_same(ours(occlusion, block=(1, *block), stride=(1, *stride)).maps, theirs.detach())
