"""The kind of device that a computation is for: the one place that asks JAX.

Two ways to compute the same stand side by side in ``when_lowered`` or ``by_platform``. The choice is made when the
computation is lowered, which may be for a device that is not at hand. Each way is traced and differentiated; what only
the others keep for the backward pass are zeros, which XLA takes out. ``has_cudnn`` and ``gpu_kernels`` say which ways
there are.

``is_expected`` is for the form of a whole computation, such as a loop or its steps written out. Every form is right on
every device. ``expecting`` gives the form for another device than the one at hand. ``are_all`` asks about devices that
are at hand, such as those of a mesh.
"""

import functools
import importlib
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

expecting = jax.make_user_context(None)
"""``with expecting("tpu"): jax.jit(step).lower(...)`` traces a step in the form that it has on a TPU."""

as_on_cpu = jax.make_user_context(False)
"""``with as_on_cpu(True): jax.make_jaxpr(step)(...)`` takes the way of a CPU at once, for what cannot choose later."""


def is_expected(*platforms: str) -> bool:
    """Whether what is traced is for one of ``platforms`` ("cpu", "gpu", "tpu"): as told, or where JAX computes.

    >>> with expecting("tpu"):
    ...     is_expected("cpu", "gpu"), is_expected("tpu")
    (False, True)
    """
    return (expecting.value or jax.default_backend()) in platforms


def are_all(platform: str, devices: Iterable[jax.Device]) -> bool:
    """Whether all ``devices`` are of the kind ``platform`` ("cpu", "gpu", "tpu"), whatever is traced for them."""
    return {device.platform for device in devices} <= {platform}


def when_lowered(*operands: Any, cpu: Callable[..., Any], default: Callable[..., Any], **ways: Any) -> Any:
    """What ``cpu``, ``default`` or one of ``ways`` ("cuda") makes of the operands, chosen when this is lowered."""
    if as_on_cpu.value:
        return cpu(*operands)
    return lax.platform_dependent(*operands, cpu=cpu, default=default, **ways)


def by_platform(*operands: Any, cpu: Callable[..., Array], default: Callable[..., Array], **ways: Any) -> Array:
    """``when_lowered`` for what has weights among its operands; ``ways`` for a GPU are for one device alone.

    Several devices take the way that ``is_expected``. XLA combines the sums of gradients over devices, but not those
    on either side of a choice: a step of ``slice_vit_nano`` on eight devices would have 12 sums in place of one.
    """
    if jax.device_count() == 1 or as_on_cpu.value:
        return when_lowered(*operands, cpu=cpu, default=default, **ways)
    return (cpu if is_expected("cpu") else default)(*operands)


@functools.cache
def has_cudnn() -> bool:
    """Whether JAX finds cuDNN; its fused attention cannot be traced without it."""
    head = jax.ShapeDtypeStruct((1, 8, 1, 8), jnp.bfloat16)
    try:
        jax.eval_shape(functools.partial(jax.nn.dot_product_attention, implementation="cudnn"), head, head, head)
    except RuntimeError:
        return False
    return True


@functools.cache
def gpu_kernels() -> ModuleType | None:
    """``gpu_window_attention``, or None where JAX comes without Pallas for Triton."""
    try:
        return importlib.import_module("ichformer.models.layers.backends.gpu_window_attention")
    except ImportError:
        return None
