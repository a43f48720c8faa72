"""What the parity tests share: torch modules with random weights, and their outputs and gradients beside ours."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from ichformer.models.weights.source import Source, Tree
from tests.parity.reference import OUTPUT_TOLERANCE, Network, Reference, coarse, torch


def randomise(module: Any, *, seed: int = 0) -> Any:
    """Other numbers in every tensor, so that none is at a value (1, 0, 1e-6) that hides a mistake; in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    dense = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    with torch.no_grad():
        kernels = {id(part.weight) for part in module.modules() if isinstance(part, dense)}
        for tensor in module.parameters():
            noise = torch.randn(tensor.shape, generator=generator)
            if id(tensor) in kernels:
                tensor.copy_(noise * (2 * tensor.shape[0] / tensor.numel()) ** 0.5)
            else:
                tensor.add_(0.2 * noise)
        for name, tensor in module.named_buffers():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(0.5 + noise if name.endswith("running_var") else noise - 0.5)
    return coarse(module).eval()


def tensors_of(module: Any) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy().copy() for name, tensor in module.state_dict().items()}


class _Gradients(Source):
    """The gradients of a module's parameters, for a layout to bring into the shape of ours."""

    def __init__(self, module: Any) -> None:
        super().__init__({name: tensor.numpy() for name, tensor in module.named_buffers()})
        # A parameter that the output does not need has none.
        self._tensors |= {n: p.grad.numpy() for n, p in module.named_parameters() if p.grad is not None}

    def batch_norm(self, name: str, *, epsilon: float) -> Tree:
        # y = gamma (x - mean) / s + beta = scale x + bias: what a change of scale at a fixed bias does.
        beta = self.take(f"{name}.bias")
        deviation = np.sqrt(self.take(f"{name}.running_var") + epsilon)
        return {
            "scale": self.take(f"{name}.weight") * deviation + self.take(f"{name}.running_mean") * beta,
            "bias": beta,
        }


def flat(tree: Tree) -> dict[str, np.ndarray]:
    return {path: np.asarray(leaf) for path, leaf in traverse_util.flatten_dict(tree, sep="/").items()}


def assert_parity(
    reference: Reference,
    *,
    ours: Callable[..., Any],
    layout: Callable[[Source], Tree],
    theirs: Callable[[], Any],
    run: Callable[[Any], Any],
    inputs: tuple[Any, ...],
    gradient_layout: Callable[[Source], Tree] | None = None,
    left: tuple[str, ...] = (),
    tolerance: float = OUTPUT_TOLERANCE,
) -> None:
    """Same weights, same inputs: outputs and the gradients of every parameter agree.

    Args:
      reference: says whether the library is asked or what was kept of it.
      ours: our output, from our parameters and ``inputs``.
      layout: from their tensors to our parameters.
      theirs: makes their module, with random weights (``randomise``).
      run: their output, in the axes of ours.
      inputs: of ours.
      gradient_layout: from their gradients to ours, where that is another way.
      left: tensors that the layout may leave.
      tolerance: of the output.
    """

    def made() -> Any:
        torch.manual_seed(0)
        return theirs()

    source = Source(reference.tensors(lambda: tensors_of(made())))
    params = jax.tree.map(jnp.asarray, layout(source))
    assert source.left == sorted(left)
    inputs = jax.tree.map(jnp.asarray, inputs)
    shape = jax.eval_shape(ours, params, *inputs).shape
    weights = np.random.default_rng(0).standard_normal(shape).astype(np.float32)

    def loss(params: Tree, inputs: tuple[Any, ...]) -> Any:
        y = ours(params, *inputs)
        return jnp.sum(y * weights), y

    (_, y), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, inputs)

    def compute() -> Network:
        module = made()
        output = run(module)
        module.zero_grad()
        torch.sum(output * torch.from_numpy(weights)).backward()
        gradients = (gradient_layout or layout)(_Gradients(module))
        return Network(tensors=tensors_of(module), output=output.detach().numpy(), gradients=flat(gradients))

    reference.assert_equal(np.asarray(y), flat(grads), compute, tolerance=tolerance)
