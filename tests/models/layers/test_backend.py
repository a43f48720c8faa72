"""A model is written down here for a device that is not at hand, as it would be there."""

import re
import sys
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ichformer as ich
from ichformer.models.layers.attention.self_attention import attend
from ichformer.models.layers.attention.window_attention import attend_in_windows
from ichformer.models.layers.backends import backend
from ichformer.models.layers.backends.backend import expecting
from ichformer.models.layers.dense import rows_times

HEADS = jax.ShapeDtypeStruct((2, 12, 4, 8), jnp.float32)


def operations(function, *arguments, platform: str) -> Counter[str]:
    """How often each operation of StableHLO stands in what is computed; choices and their numbers are left out."""
    lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()
    return Counter(name for name in re.findall(r"= stablehlo\.(\w+)", lowered) if name != "constant")


@pytest.fixture(params=[1, 8])
def devices(request, monkeypatch) -> int:
    """How many there are: on one the choice is made when a computation is lowered, on several when it is traced."""
    monkeypatch.setattr(jax, "device_count", lambda: request.param)
    return request.param


def of_each(function, *arguments, devices: int) -> dict[str, Counter[str]]:
    """``operations`` for a CPU and a TPU."""
    found = {}
    for platform in ("cpu", "tpu"):
        with expecting(platform if devices > 1 else None):
            found[platform] = operations(function, *arguments, platform=platform)
    return found


@pytest.mark.parametrize("masked", [False, True])
def test_attention_for_a_tpu_is_that_of_jax(masked):
    mask = jax.ShapeDtypeStruct((2, 12), jnp.bool_) if masked else None

    def plain(query, key, value, mask):
        mask = None if mask is None else mask[:, None, None, :]
        return jax.nn.dot_product_attention(query, key, value, mask=mask)

    for platform in ("tpu", "rocm"):
        assert operations(attend, HEADS, HEADS, HEADS, mask, platform=platform) == operations(
            plain, HEADS, HEADS, HEADS, mask, platform=platform
        )
    assert operations(attend, HEADS, HEADS, HEADS, mask, platform="cpu") != operations(
        plain, HEADS, HEADS, HEADS, mask, platform="cpu"
    )


def test_dense_layers_for_a_tpu_keep_the_axes_of_the_heads_apart(devices):
    x, kernel = jax.ShapeDtypeStruct((2, 12, 4, 8), jnp.float32), jax.ShapeDtypeStruct((4, 8, 3, 5), jnp.float32)
    axes = (((2, 3), (0, 1)), ((), ()))

    def layer(x, kernel):
        return rows_times(x, kernel, axes)

    found = of_each(layer, x, kernel, devices=devices)
    assert found == {"cpu": {"reshape": 3, "dot_general": 1}, "tpu": {"dot_general": 1}}


def test_windows_for_a_cpu_are_few_at_a_time_and_all_at_once_for_a_tpu(devices):
    windows = jax.ShapeDtypeStruct((2, 64, 64, 4, 8), jnp.float32)
    bias, group = jax.ShapeDtypeStruct((4, 64, 64), jnp.float32), jax.ShapeDtypeStruct((1, 64, 64), jnp.int32)
    attended = jax.ShapeDtypeStruct((2, 64, 64), jnp.int32)

    def attention(query, bias, group, attended):
        return attend_in_windows(query, query, query, bias=bias, group=group, attended=attended, scale=0.3)

    found = of_each(attention, windows, bias, group, attended, devices=devices)
    assert {platform: names["while"] for platform, names in found.items()} == {"cpu": 1, "tpu": 0}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slice_vit_nano", "swin3d_nano", "cnn2d_nano"])
def test_a_model_with_its_gradient_is_exported_for_every_kind_of_device(name, devices):
    model = ich.create_model(name)
    inputs = {name: value for name, value in ich.example_inputs(model).items() if name != "train"}
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), **inputs, train=False))

    def loss(variables, inputs):
        return jnp.sum(model.apply(variables, **inputs, train=False).scan_logits)

    exported = jax.export.export(jax.jit(jax.grad(loss)), platforms=["cpu", "cuda", "rocm", "tpu"])(variables, inputs)
    assert exported.platforms == ("cpu", "cuda", "rocm", "tpu")
    assert exported.out_tree == jax.tree.structure(variables)


@pytest.mark.slow
def test_without_pallas_for_triton_the_windows_are_left_to_xla(monkeypatch):
    name = "ichformer.models.layers.backends.gpu_window_attention"
    monkeypatch.setitem(sys.modules, "jax.experimental.pallas", None)
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    backend.gpu_kernels.cache_clear()
    try:
        assert backend.gpu_kernels() is None
        query = jnp.asarray(np.random.default_rng(0).normal(size=(1, 2, 8, 2, 16)), jnp.bfloat16)
        group = jnp.zeros((1, 2, 8), jnp.int32)
        y = attend_in_windows(query, query, query, bias=jnp.zeros((2, 8, 8)), group=group, attended=group, scale=0.25)
        wanted = jax.nn.dot_product_attention(query[0], query[0], query[0], scale=0.25)
        np.testing.assert_allclose(np.asarray(y[0], np.float32), np.asarray(wanted, np.float32), atol=0.02)
    finally:
        backend.gpu_kernels.cache_clear()


def test_without_cudnn_attention_for_a_gpu_is_left_to_xla():
    half = jax.ShapeDtypeStruct((2, 12, 4, 8), jnp.bfloat16)
    names = operations(attend, half, half, half, platform="cuda")
    assert ("custom_call" in names) == backend.has_cudnn()


@pytest.mark.slow
def test_the_steps_of_a_model_for_a_tpu_are_a_loop():
    """Written out for a CPU, as a loop would copy what each block keeps."""
    model = ich.create_model("slice_vit_nano")
    inputs = {name: value for name, value in ich.example_inputs(model).items() if name != "train"}
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), **inputs, train=False))

    def loss(params):
        key = jax.random.key(0)
        return jnp.sum(model.apply({"params": params}, **inputs, train=True, rngs={"dropout": key}).scan_logits)

    loops = {}
    for platform in ("cpu", "tpu"):
        with expecting(platform):
            loops[platform] = operations(jax.grad(loss), variables["params"], platform=platform)["while"]
    assert loops["cpu"] == 0
    assert loops["tpu"] >= 2  # forwards and backwards
