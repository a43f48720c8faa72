"""What the parity tests share: torch modules with random weights, and their outputs and gradients beside ours."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from ichformer.models.weights.source import Source, Tree

OUTPUT_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3  # of the largest entry of the tensor's gradient


def randomise(module: torch.nn.Module, *, seed: int = 0) -> torch.nn.Module:
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
    return module.eval()


def source_of(module: torch.nn.Module) -> Source:
    """The module's tensors."""
    return Source({name: tensor.detach().numpy() for name, tensor in module.state_dict().items()})


class _Gradients(Source):
    """The gradients of a module's parameters, for a layout to bring into the shape of ours."""

    def __init__(self, module: torch.nn.Module) -> None:
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


def assert_parity(
    *,
    ours: Callable[..., Any],
    layout: Callable[[Source], Tree],
    theirs: torch.nn.Module,
    run: Callable[[torch.nn.Module], torch.Tensor],
    inputs: tuple[Any, ...],
    gradient_layout: Callable[[Source], Tree] | None = None,
    left: tuple[str, ...] = (),
) -> None:
    """Same weights, same inputs: outputs and the gradients of every parameter agree.

    Args:
      ours: our output, from our parameters and ``inputs``.
      layout: from their tensors to our parameters.
      theirs: with random weights (``randomise``).
      run: their output, in the axes of ours.
      inputs: of ours.
      gradient_layout: from their gradients to ours, where that is another way.
      left: tensors that the layout may leave.
    """
    source = source_of(theirs)
    params = jax.tree.map(jnp.asarray, layout(source))
    assert source.left == sorted(left)
    expected = run(theirs)
    weights = np.random.default_rng(0).standard_normal(expected.shape).astype(np.float32)

    def loss(params: Tree, inputs: tuple[Any, ...]) -> Any:
        y = ours(params, *inputs)
        return jnp.sum(y * weights), y

    (_, y), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, jax.tree.map(jnp.asarray, inputs))
    np.testing.assert_allclose(y, expected.detach().numpy(), atol=OUTPUT_TOLERANCE, rtol=0)
    theirs.zero_grad()
    torch.sum(expected * torch.from_numpy(weights)).backward()
    reference = (gradient_layout or layout)(_Gradients(theirs))
    assert jax.tree.structure(reference) == jax.tree.structure(grads)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        other = reference
        for key in path:
            other = other[key.key]
        scale = np.abs(other).max()
        assert scale > 0, f"no gradient reaches {jax.tree_util.keystr(path)}"
        assert np.abs(grad - other).max() <= GRADIENT_TOLERANCE * scale, jax.tree_util.keystr(path)
