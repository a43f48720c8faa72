"""How fast the families train and predict on a CPU beside the same networks of other libraries in PyTorch.

Claim: ViT and Swin-3D at least as fast, networks of convolutions at least 0.6 of PyTorch's throughput.
Cost: a quarter of an hour on two free cores, most of it compiling.
Command: python experiments/bench/families.py [--clock cpu] [--families NAME ...] [--stock-memory]

Encoders alone, and of the hybrid the whole model beside the same of torch's modules; float32, random weights, one
batch. A training step is the mean square of the features, its gradients and plain gradient descent. Networks of
convolutions have our default, GroupNorm, beside the peer's BatchNorm. Ours and the peer's run in turn in one process;
the figure is the median. That process keeps freed memory as a training of ours does, which PyTorch gains from too: with
``--stock-memory`` neither has that. ``--clock`` as in ``convolution.py``.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"

import flax.linen as nn
import jax
import jax.numpy as jnp
import monai.networks.nets as monai
import numpy as np
import torch
import transformers
from monai.networks.nets.swin_unetr import SwinTransformer

from ichformer.models.contract import Prediction
from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.models.encoders.registry import build_encoder
from ichformer.models.encoders.resnet3d import ResNet3D
from ichformer.models.encoders.swin import SwinEncoder
from ichformer.models.registry import create_model
from ichformer.training.process import keep_memory_of_steps

SLICES, SCAN, SEQUENCE = (4, 128, 128, 3), (1, 16, 96, 96, 1), (1, 8, 128, 128, 3)
IMAGES = (8, 224, 224, 3)
RATE = 1e-4
PAUSE_S = 0.3
"""PyTorch's threads go on spinning for a while after a step, and would take a core from what follows."""


class Peer(torch.nn.Module):
    """A torch network and how its features are asked for."""

    def __init__(self, network: torch.nn.Module, run: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.network, self.run = network, run

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(self.network, x)


def hugging_face(model: type, config: Any) -> Peer:
    return Peer(model(config), lambda network, x: network(x).last_hidden_state)


def monai_efficientnet() -> Peer:
    network = monai.EfficientNetBN("efficientnet-b0", pretrained=False)
    return Peer(network, lambda network, x: network._conv_head(network._blocks(network._swish(network._conv_stem(x)))))


def monai_resnet3d() -> Peer:
    network = monai.ResNet(
        "basic", [2, 2, 2, 2], [64, 128, 256, 512], n_input_channels=1, conv1_t_stride=2, feed_forward=False
    )
    return Peer(network, lambda network, x: network(x))


def monai_swin() -> Peer:
    network = SwinTransformer(
        in_chans=1, embed_dim=48, window_size=(4, 7, 7), patch_size=(2, 2, 2), depths=(2, 2, 2, 2),
        num_heads=(3, 6, 12, 24), patch_norm=True, spatial_dims=3,
    )  # fmt: skip
    return Peer(network, lambda network, x: network(x)[-1])


def torch_vit(image_size: int) -> Peer:
    config = transformers.ViTConfig(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536, image_size=image_size
    )
    return hugging_face(transformers.ViTModel, config)


def torch_resnet(**options: Any) -> Callable[[], Peer]:
    return lambda: hugging_face(transformers.ResNetModel, transformers.ResNetConfig(**options))


class TorchHybrid(torch.nn.Module):
    """ResNet-18 in every slice, two pre-norm blocks over the slices, six logits for each."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = RESNET18().network
        block = torch.nn.TransformerEncoderLayer(512, 8, 2048, 0.0, "gelu", batch_first=True, norm_first=True)
        self.context = torch.nn.TransformerEncoder(block, 2, torch.nn.LayerNorm(512), enable_nested_tensor=False)
        self.head = torch.nn.Linear(512, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, slices = x.shape[0], x.shape[2]
        each = x.movedim(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        pooled = self.encoder(each).last_hidden_state.mean((2, 3))
        return self.head(self.context(pooled.reshape(batch, slices, -1)))


RESNET18 = torch_resnet(depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], layer_type="basic")
FAMILIES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Peer], tuple[int, ...]]] = {
    "ViT-S/16": (lambda: PatchEncoder(16, 384, 12, 6), lambda: torch_vit(SLICES[1]), SLICES),
    "ViT-S/16 of ImageNet's size": (lambda: PatchEncoder(16, 384, 12, 6), lambda: torch_vit(IMAGES[1]), IMAGES),
    "ResNet-18": (lambda: build_encoder("resnet18"), RESNET18, SLICES),
    "ResNet-50": (lambda: build_encoder("resnet50"), torch_resnet(), SLICES),
    "ConvNeXt-T": (
        lambda: build_encoder("convnext_t"),
        lambda: hugging_face(transformers.ConvNextModel, transformers.ConvNextConfig()),
        SLICES,
    ),
    "EfficientNet-Lite0 (MONAI's B0)": (lambda: build_encoder("efficientnet_lite0"), monai_efficientnet, SLICES),
    "3-D ResNet-18": (lambda: ResNet3D((2, 2, 2, 2), depth_strides=5), monai_resnet3d, SCAN),
    "hybrid of ResNet-18": (
        lambda: create_model("hybrid_resnet18"),
        lambda: Peer(TorchHybrid(), lambda network, x: network(x)),
        SEQUENCE,
    ),
    "Swin-3D": (
        lambda: SwinEncoder((2, 2, 2), 48, (2, 2, 2, 2), (3, 6, 12, 24), (4, 7, 7), (2, 2, 2), z_position="none"),
        monai_swin,
        SCAN,
    ),
}
"""Ours, theirs, and the shape of a batch."""


def in_jax(encoder: nn.Module, x: np.ndarray) -> list[Callable[[], object]]:
    """Features, and a step of training."""
    images = jnp.asarray(x)
    inputs: tuple[jax.Array, ...] = (images,)
    if not isinstance(encoder, ResNet3D) and x.ndim == 5:
        inputs = (images, jnp.ones(x.shape[:2], bool), jnp.ones((x.shape[0], 3)))
    elif x.ndim == 5:
        inputs = (images, jnp.ones(x.shape[:2], bool))
    predict: dict[str, Any] = {} if isinstance(encoder, ResNet3D) else {"train": False}
    learn = predict and {"train": True}
    params = jax.jit(lambda: encoder.init(jax.random.key(0), *inputs, **predict))()

    def features(params: Any, **train: Any) -> jax.Array:
        y = encoder.apply(params, *inputs, **train)
        return y.slice_logits if isinstance(y, Prediction) else y

    def loss(params: Any) -> jax.Array:
        return jnp.mean(jnp.square(features(params, **learn)))

    forward = jax.jit(lambda params: features(params, **predict))
    descend = jax.jit(
        lambda params: jax.tree.map(lambda p, g: p - RATE * g, params, jax.grad(loss)(params)), donate_argnums=0
    )

    def train() -> None:
        nonlocal params
        params = jax.block_until_ready(descend(params))

    return [lambda: jax.block_until_ready(forward(params)), train]


def in_torch(peer: Peer, x: np.ndarray) -> list[Callable[[], object]]:
    """The same two, in the layout that is fast in PyTorch."""
    in_3d = any(isinstance(part, torch.nn.Conv3d) for part in peer.modules())
    layout = torch.channels_last_3d if in_3d else torch.channels_last
    images = torch.tensor(np.moveaxis(x, -1, 1))
    if images.ndim == (5 if in_3d else 4):
        images = images.contiguous(memory_format=layout)
    peer = peer.to(memory_format=layout)
    optimiser = torch.optim.SGD(peer.parameters(), lr=RATE)

    def forward() -> object:
        peer.eval()
        with torch.no_grad():
            return peer(images)

    def train() -> None:
        peer.train()
        optimiser.zero_grad()
        peer(images).square().mean().backward()
        optimiser.step()

    return [forward, train]


def medians_ms(steps: Sequence[Callable[[], object]], clock: Callable[[], float], repeats: int) -> list[float]:
    """Median milliseconds of each, taken in turn, of a step that follows another; the first round compiles."""
    seen: list[list[float]] = [[] for _ in steps]
    for _ in range(repeats + 1):
        for step, times in zip(steps, seen, strict=True):
            time.sleep(PAUSE_S)
            step()
            start = clock()
            step()
            times.append(clock() - start)
    return [1000 * statistics.median(times[1:]) for times in seen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--families", nargs="*", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--stock-memory", action="store_true")
    options = parser.parse_args()
    if not options.stock_memory:
        keep_memory_of_steps()
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[options.clock]
    torch.set_num_threads(1 if options.clock == "cpu" else len(os.sched_getaffinity(0)))
    print(f"ms of {options.clock} clock, ours / PyTorch's; PyTorch's over ours\n")
    print("| encoder | batch | forward | training step |\n|---|---|---|---|")
    for name in options.families:
        ours, theirs, shape = FAMILIES[name]
        x = np.random.default_rng(0).random(shape, np.float32)
        figures = medians_ms([*in_jax(ours(), x), *in_torch(theirs(), x)], clock, options.repeats)
        cells = [f"{a:.0f} / {b:.0f}; {b / a:.2f}" for a, b in zip(figures[:2], figures[2:], strict=True)]
        print(f"| {name} | {'x'.join(map(str, shape))} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
