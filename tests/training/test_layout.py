"""Arrays lie where the rules say, whatever their depth in the state, and never where an axis cannot be shared."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import PartitionSpec as P

from ichformer.models.layers.attention.transformer import Blocks
from ichformer.training.config import OptimConfig
from ichformer.training.optimizer.optim import build_optimizer
from ichformer.training.sharding.layout import partition, partitions
from ichformer.training.state import create_state


@pytest.mark.parametrize(
    ("path", "shape", "fsdp", "tensor", "wanted"),
    [
        # Megatron's pairs: heads and hidden features along "tensor", columns first and rows second.
        ("a/attention/qkv/kernel", (64, 3, 4, 16), 1, 2, P(None, None, "tensor", None)),
        ("a/attention/qkv/bias", (3, 4, 16), 1, 2, P(None, "tensor", None)),
        ("a/attention/out/kernel", (4, 16, 64), 1, 2, P("tensor", None, None)),
        ("a/mlp/up/kernel", (64, 256), 1, 2, P(None, "tensor")),
        ("a/mlp/up/bias", (256,), 1, 2, P("tensor")),
        ("a/mlp/down/kernel", (256, 64), 1, 2, P("tensor", None)),
        ("a/mlp/down/bias", (64,), 1, 2, P(None)),
        # In a loop over blocks the same, one axis further on; the loop's own axis is never cut.
        ("a/block/mlp/up/kernel", (8, 64, 256), 8, 2, P(None, "fsdp", "tensor")),
        ("a/block/attention/qkv/kernel", (512, 64, 3, 4, 16), 8, 2, P(None, "fsdp", None, "tensor", None)),
        # Three heads cannot be shared by two devices.
        ("a/attention/qkv/kernel", (96, 3, 3, 32), 8, 2, P("fsdp", None, None, None)),
        ("patches/kernel", (16, 16, 3, 192), 8, 1, P(None, None, None, "fsdp")),
        ("norm/scale", (64,), 8, 1, P(None)),
        ("head/kernel", (1001, 7), 8, 1, P(None, None)),
        ("step", (), 8, 2, P()),
    ],
)
def test_rules(path, shape, fsdp, tensor, wanted):
    assert partition(tuple(path.split("/")), shape, fsdp=fsdp, tensor=tensor) == wanted


@given(
    path=st.lists(st.sampled_from(["block", "qkv", "out", "up", "down", "kernel", "bias", "0", "mu"]), max_size=5),
    shape=st.lists(st.integers(1, 300), max_size=5),
    fsdp=st.integers(1, 8),
    tensor=st.integers(1, 8),
)
def test_every_axis_is_shared_evenly_and_every_axis_of_the_mesh_used_once(path, shape, fsdp, tensor):
    spec = partition(tuple(path), tuple(shape), fsdp=fsdp, tensor=tensor)
    used = [name for name in spec if name is not None]
    assert len(set(used)) == len(used)
    for length, name in zip(shape, spec, strict=True):
        assert length % {"fsdp": fsdp, "tensor": tensor, None: 1}[name] == 0
    if fsdp > 1 and "fsdp" not in used:
        whole = [length for length, name in zip(shape, spec, strict=True) if name is None]
        assert math.prod(shape) < 4096 or all(n % fsdp for n in whole) or "block" in path


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_optimiser_and_average_lie_as_their_parameters(name):
    blocks = Blocks(depth=2, num_heads=4)
    optimizer = build_optimizer(OptimConfig(name=name), steps=10)

    def state():
        params = blocks.init(jax.random.key(0), jnp.zeros((1, 4, 64)), train=False)["params"]
        return create_state(params, optimizer, ema=True)

    shapes = jax.eval_shape(state)
    specs = partitions(shapes, fsdp=2, tensor=2)
    leaves = functools.partial(jax.tree_util.tree_leaves_with_path, is_leaf=lambda x: isinstance(x, P))
    of_params = {tuple(map(str, path)): spec for path, spec in leaves(specs.params)}
    kernels = {path: spec for path, spec in of_params.items() if "kernel" in path[-1]}
    assert len(kernels) == 4
    assert all({"fsdp", "tensor"} <= set(spec) for spec in kernels.values())
    assert {tuple(map(str, path)): spec for path, spec in leaves(specs.ema_params)} == of_params
    followed = 0
    for path, spec in leaves(specs.opt_state):
        names = tuple(map(str, path))
        owners = [own for own in of_params if names[-len(own) :] == own]
        assert len(owners) <= 1
        if owners:
            followed += 1
            assert spec == of_params[owners[0]]
    moments = [x for x in jax.tree.leaves(shapes.opt_state) if x.size > 8]  # not counters and Muon's coefficients
    assert followed == len(moments) >= len(of_params)
    assert np.sum([x.size for x in moments]) >= np.sum([x.size for x in jax.tree.leaves(shapes.params)])
