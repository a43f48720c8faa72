"""Plain networks in PyTorch, each the twin of one of our families: what somebody would write without this library.

Every twin takes [B,S,H,W,3] windows in [0, 1] and gives logits [B,S,labels] of the slices. A slice's vector is the mean
of its features, and one linear layer makes the logits.
"""

from collections.abc import Callable, Sequence

import efficientnet_lite_pytorch as efficientnet_lite
import torch
import transformers
from einops import rearrange
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import nn

from ichformer import LABELS
from ichformer.models.heads import START_LOGIT
from ichformer.models.weights.imagenet import imagenet_weights


class SliceBySlice(nn.Module):
    """An encoder of a slice, its mean over the plane, a context over slices, a linear layer."""

    def __init__(self, encoder: nn.Module, width: int, context: nn.Module | None = None, context_width: int = 0):
        super().__init__()
        self.encoder, self.context, self.head = encoder, context, _head(context_width or width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scans = x.shape[0]
        vectors = self.encoder(rearrange(x, "b s h w c -> (b s) c h w")).flatten(2).mean(-1)
        vectors = rearrange(vectors, "(b s) d -> b s d", b=scans)
        return self.head(vectors if self.context is None else self.context(vectors))


class WholeScan(nn.Module):
    """An encoder of the scan, its mean over each plane, a linear layer. Merged slices are interpolated."""

    def __init__(self, encoder: nn.Module, width: int):
        super().__init__()
        self.encoder, self.head = encoder, _head(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        slices = x.shape[1]
        grid = self.encoder(rearrange(x, "b s h w c -> b c s h w")).mean((-2, -1))
        if grid.shape[-1] != slices:
            grid = nn.functional.interpolate(grid, size=slices, mode="linear")
        return self.head(rearrange(grid, "b d s -> b s d"))


class Called(nn.Module):
    """A network of another library with the call that gives its features."""

    def __init__(self, network: nn.Module, call: Callable[[nn.Module, torch.Tensor], torch.Tensor]):
        super().__init__()
        self.network, self.call = network, call

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.call(self.network, x)


class Gru(nn.Module):
    """PyTorch's bidirectional GRU, its outputs alone."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.gru = nn.GRU(width, hidden, num_layers=2, batch_first=True, bidirectional=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gru(x)[0]


class PatchesOfScan(nn.Module):
    """Patches one slice deep with learned positions in the plane, PyTorch's pre-norm transformer over all of them."""

    def __init__(self, side: int, patch: int, width: int, depth: int, heads: int):
        super().__init__()
        self.patches = nn.Conv3d(3, width, (1, patch, patch), (1, patch, patch))
        self.positions = nn.Parameter(0.02 * torch.randn(width, 1, side // patch, side // patch))
        self.blocks = transformer(width, depth, heads)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grid = self.patches(x) + self.positions
        tokens = self.blocks(rearrange(grid, "b d s h w -> b (s h w) d"))
        return rearrange(tokens, "b (s h w) d -> b d s h w", s=grid.shape[2], h=grid.shape[3])


def transformer(width: int, depth: int, heads: int) -> nn.TransformerEncoder:
    """PyTorch's, pre-norm, without dropout."""
    block = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
    return nn.TransformerEncoder(block, depth, nn.LayerNorm(width), enable_nested_tensor=False)


def resnet(widths: Sequence[int]) -> nn.Module:
    """Hugging Face's ResNet with one basic block a stage and batch norm."""
    config = transformers.ResNetConfig(
        depths=[1] * len(widths), hidden_sizes=list(widths), embedding_size=widths[0], layer_type="basic"
    )
    return Called(transformers.ResNetModel(config), lambda network, x: network(x).last_hidden_state)


def resnet3d(widths: Sequence[int]) -> nn.Module:
    """Convolutions of 3 x 3 x 3 with batch norm, which halve the plane and leave the slices."""
    parts, before = [], 3
    for width in widths:
        parts += [nn.Conv3d(before, width, 3, (1, 2, 2), 1, bias=False), nn.BatchNorm3d(width), nn.ReLU()]
        parts += [nn.Conv3d(width, width, 3, 1, 1, bias=False), nn.BatchNorm3d(width), nn.ReLU()]
        before = width
    return nn.Sequential(*parts)


def vit(side: int) -> nn.Module:
    """Hugging Face's ViT in the size of ``slice_vit_nano``, without its class token's output."""
    config = transformers.ViTConfig(
        hidden_size=96, num_hidden_layers=3, num_attention_heads=3, intermediate_size=384, image_size=side, patch_size=8
    )

    def tokens(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return network(x).last_hidden_state[:, 1:].movedim(1, 2)

    return Called(transformers.ViTModel(config, add_pooling_layer=False), tokens)


def swin() -> nn.Module:
    """MONAI's Swin in the size of ``swin3d_nano``, after its second merge."""
    network = SwinTransformer(
        in_chans=3, embed_dim=24, window_size=(2, 4, 4), patch_size=(1, 4, 4), depths=(2, 2, 2, 2),
        num_heads=(1, 2, 4, 8), patch_norm=True, spatial_dims=3,
    )  # fmt: skip
    return Called(network, lambda network, x: network(x)[2])


def efficientnet() -> nn.Module:
    """EfficientNet-Lite0 of the package that its ImageNet weights come from, with batch norm."""
    network = efficientnet_lite.EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(imagenet_weights("efficientnet_lite0"), weights_only=True))
    network._global_params = network._global_params._replace(drop_connect_rate=0.0)
    # The Lite models were trained on (pixel - 127) / 128 of bytes.
    return Called(network, lambda network, x: network.extract_features(x * (255 / 128) - 127 / 128))


def _head(width: int) -> nn.Linear:
    head = nn.Linear(width, len(LABELS))
    nn.init.constant_(head.bias, START_LOGIT)
    return head


_WIDTHS = (16, 32, 64)
TWINS: dict[str, Callable[[int], nn.Module]] = {
    "cnn2d_nano": lambda _: SliceBySlice(resnet(_WIDTHS), 64),
    "cnn3d_nano": lambda _: WholeScan(resnet3d(_WIDTHS), 64),
    "cnn_gru_nano": lambda _: SliceBySlice(resnet(_WIDTHS), 64, Gru(64, 32), 64),
    "hybrid_nano": lambda _: SliceBySlice(resnet(_WIDTHS), 64, transformer(64, 1, 4)),
    "maxvit_nano": lambda _: SliceBySlice(resnet(_WIDTHS), 64, transformer(64, 1, 4)),
    "dual_nano": lambda _: SliceBySlice(resnet(_WIDTHS), 64, transformer(64, 1, 4)),
    "slice_vit_nano": lambda side: SliceBySlice(vit(side), 96, transformer(96, 1, 3)),
    "vit3d_nano": lambda side: WholeScan(PatchesOfScan(side, 8, 72, 3, 3), 72),
    "swin3d_nano": lambda _: WholeScan(swin(), 96),
    "cnn2d_efficientnet_lite0": lambda _: SliceBySlice(efficientnet(), 1280),
    "cnn_gru_efficientnet_lite0": lambda _: SliceBySlice(efficientnet(), 1280, Gru(1280, 128), 256),
    "hybrid_efficientnet_lite0": lambda _: SliceBySlice(
        nn.Sequential(efficientnet(), nn.Conv2d(1280, 256, 1)), 256, transformer(256, 2, 4)
    ),
}
"""By the name of our model, from the side of a slice in pixels. MaxViT and the dual encoder have a ResNet's twin."""
