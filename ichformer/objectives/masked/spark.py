"""SparK (Tian et al. 2023, "Designing BERT for Convolutional Networks"): masked pretraining of CNNs and hybrids."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Bool, Float

from ichformer.errors import InputError
from ichformer.labels import LabelSet
from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.models.encoders.visible import encode_visible, enlarge, step_of
from ichformer.models.families.slice_sequence import SliceSequence
from ichformer.models.layers.attention.self_attention import DENSE_INIT
from ichformer.models.layers.attention.windows import Size
from ichformer.models.layers.channel_norm import GroupNorm
from ichformer.models.layers.convolution import Conv
from ichformer.models.layers.dense import Dense
from ichformer.objectives.config import ObjectiveConfig
from ichformer.objectives.masked.masked_objective import MaskedModel, MaskedPixels, masked_pixels
from ichformer.objectives.masked.masks import to_patches

_EXAMPLE_PIXELS = 512


class SparseReconstruction(MaskedModel):
    """An encoder over the visible patches of each slice, and a light U-Net over all of its grids (section 3.2).

    From the coarsest grid to the finest, each is filled up with a learned token at hidden places, projected, and added
    to the grid before, which is enlarged to its size. ``decoder_depth`` convolutions follow. The finest grid gives the
    pixels of its places at once, where the paper goes on to a grid of single pixels. An encoder that has no finer grids
    gives them from its last one.

    What knows the whole scan, a transformer or a recurrent network over the slices, is no part of the encoder and is
    not pretrained: it sees one vector of each slice, and no patch. The transformer inside an encoder (MaxViT, the ViT
    beside a CNN) attends to visible places alone: see ``encoders.visible``.

    The encoder's parameters are called "encoder", as in its families: a run of it can be the start of a classifier.

    Attributes:
      encoder: of a slice.
      stride: pixels of a side of a place of its output, which is the size of a patch.
      decoder_width: features of the decoder on the coarsest grid; on finer ones it has half as many.
      decoder_depth: convolutions of the decoder on each grid.
    """

    encoder: nn.Module
    stride: int
    decoder_width: int
    decoder_depth: int

    @property
    def patch_size(self) -> Size:
        """Of a token in slices, rows and columns."""
        return (1, self.stride, self.stride)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s h w c"],
        slice_mask: Bool[Array, "b s"],  # noqa: ARG002, slices do not see each other
        spacing_mm: Float[Array, "b 3"],  # noqa: ARG002
        hidden: Bool[Array, "b s rows columns"],
        tissue: Bool[Array, "b s rows columns"],  # noqa: ARG002, air is seen, as it is after the pretraining
        *,
        ratio: float,  # noqa: ARG002
        train: bool,
    ) -> Float[Array, "b s rows columns pixels"]:
        """See ``masked_objective.MaskedModel``."""
        b, size, channels = len(x), x.shape[2:4], x.shape[-1]
        x, visible = rearrange(x, "b s h w c -> (b s) h w c"), rearrange(~hidden, "b s h w -> (b s) h w")
        grid, finer = encode_visible(self.encoder, x, visible, stride=self.stride, train=train)
        # Of the grids of each size the last one, which has seen the most.
        grids = list({each.shape[1:3]: each for each in (*finer, grid)}.values())
        y, before = jnp.zeros(()), self.stride
        for i, each in enumerate(reversed(grids)):
            step, places = step_of(each.shape[1:3], size, self.stride), each.shape[1:3]
            width = self.decoder_width if i == 0 else _half(self.decoder_width)
            seen = enlarge(visible[..., None], self.stride // step, places)
            lateral = _Densify(width, kernel=1 if i == 0 else 3, name=f"densify{i}")(each, seen)
            y = lateral if i == 0 else enlarge(y, before // step, places) + lateral
            y, before = _Convolutions(_half(self.decoder_width), self.decoder_depth, name=f"decoder{i}")(y), step
        pixels = Dense(before * before * channels, kernel_init=DENSE_INIT, name="pixels")(y.astype(jnp.float32))
        pixels = rearrange(pixels, "(b s) h w (p q c) -> b s (h p) (w q) c", b=b, p=before, q=before)
        return to_patches(pixels, self.patch_size)

    def features(
        self,
        x: Float[Array, "b s h w c"],
        slice_mask: Bool[Array, "b s"],  # noqa: ARG002
        spacing_mm: Float[Array, "b 3"],  # noqa: ARG002
    ) -> Float[Array, "b s rows columns d"]:
        """See ``masked_objective.MaskedModel``."""
        grid = self.encoder(rearrange(x, "b s h w c -> (b s) h w c"), train=False)
        return rearrange(grid, "(b s) h w d -> b s h w d", b=len(x))


class _Densify(nn.Module):
    """A sparse grid, filled up with a learned token and projected (section 3.2, "densifying")."""

    width: int
    kernel: int

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], seen: Bool[Array, "n h w 1"]) -> Float[Array, "n h w d"]:
        token = self.param("mask_token", DENSE_INIT, (1, 1, 1, x.shape[-1])).astype(x.dtype)
        # A norm over channels, so that hidden places do not count.
        x = jnp.where(seen, nn.LayerNorm(epsilon=1e-6, dtype=x.dtype, name="norm")(x), token)
        return Conv(self.width, (self.kernel, self.kernel), dtype=x.dtype, name="project")(x)


class _Convolutions(nn.Module):
    """Convolutions with their norms, in the width of the finer grids."""

    width: int
    depth: int

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        for i in range(self.depth):
            x = Conv(self.width, (3, 3), use_bias=False, dtype=x.dtype, name=f"conv{i}")(x)
            x = nn.relu(GroupNorm(x.dtype, name=f"norm{i}")(x))
        return x


def _half(width: int) -> int:
    """Half of a width, as a multiple of 8, which ``GroupNorm`` needs."""
    return max(8, width // 16 * 8)


def _stride_of(encoder: nn.Module) -> int:
    """Pixels of a side of a place of what ``encoder`` gives for a slice."""
    x = jnp.zeros((1, _EXAMPLE_PIXELS, _EXAMPLE_PIXELS, 3))
    grid, _ = jax.eval_shape(lambda: encoder.init_with_output(jax.random.key(0), x, train=False))
    return round(_EXAMPLE_PIXELS / grid.shape[1])


def build_spark(model: nn.Module, settings: ObjectiveConfig, label_set: LabelSet) -> MaskedPixels:
    """The objective "spark" of a run, which needs no labels; InputError for a model without a CNN in every slice."""
    del label_set
    if not isinstance(model, SliceSequence) or isinstance(model.encoder, PatchEncoder):
        raise InputError(
            "SparK pretrains the convolutional encoder of a cnn2d, a cnn_gru or a hybrid",
            where="--model.name",
            fix="name one of those, or take --objective.name mae for a slice_vit or vit3d, simmim for a swin3d",
        )
    encoder = model.encoder.clone(parent=None)
    reconstruction = SparseReconstruction(encoder, _stride_of(encoder), settings.decoder_width, settings.decoder_depth)
    masks = settings.masks or "random"
    return masked_pixels(reconstruction, settings, masks=masks, error="squared", by_slice=True)
