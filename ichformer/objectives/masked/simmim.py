"""SimMIM (Xie et al. 2022) for ``swin3d``: hidden tokens become one learned token, and a dense layer gives pixels."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ichformer.errors import InputError
from ichformer.labels import LabelSet
from ichformer.models.encoders.swin import SwinEncoder
from ichformer.models.families.scan_volume import ScanVolume
from ichformer.models.layers.attention.self_attention import DENSE_INIT
from ichformer.models.layers.attention.windows import Size
from ichformer.models.layers.dense import Dense
from ichformer.objectives.config import ObjectiveConfig
from ichformer.objectives.masked.masked_objective import Gives, MaskedModel, MaskedPixels, masked_pixels


class SwinReconstruction(MaskedModel):
    """The encoder with a mask of the size of its last stage's tokens, and one dense layer (section 3.3).

    The encoder's parameters are called "encoder", as in ``swin3d``: a run of it can be the start of a classifier.

    Attributes:
      encoder: of a scan.
      gives: of each token its pixels, or as many features as the encoder has.
    """

    encoder: SwinEncoder
    gives: Gives = "pixels"

    @property
    def patch_size(self) -> Size:
        """Of a token of the last stage in slices, rows and columns."""
        return self.encoder.token_size

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s h w c"],
        slice_mask: Bool[Array, "b s"],
        spacing_mm: Float[Array, "b 3"],
        hidden: Bool[Array, "b tokens rows columns"],
        tissue: Bool[Array, "b tokens rows columns"],  # noqa: ARG002, windows attend to air as well
        *,
        ratio: float,  # noqa: ARG002
        train: bool,
    ) -> Float[Array, "b tokens rows columns outputs"]:
        """See ``masked_objective.MaskedModel``."""
        grid = self.encoder(x, slice_mask, spacing_mm, hidden=hidden, train=train)
        p, q, r = self.patch_size
        outputs = p * q * r * x.shape[-1] if self.gives == "pixels" else grid.shape[-1]
        return Dense(outputs, kernel_init=DENSE_INIT, name=self.gives)(grid.astype(jnp.float32))

    def features(
        self, x: Float[Array, "b s h w c"], slice_mask: Bool[Array, "b s"], spacing_mm: Float[Array, "b 3"]
    ) -> Float[Array, "b tokens rows columns d"]:
        """See ``masked_objective.MaskedModel``."""
        return self.encoder(x, slice_mask, spacing_mm, train=False)


def build_simmim(model: nn.Module, settings: ObjectiveConfig, label_set: LabelSet) -> MaskedPixels:
    """The objective "simmim" of a run, which needs no labels; InputError for a model other than a swin3d."""
    del label_set
    reconstruction = reconstruction_of(model)
    if reconstruction is None:
        raise InputError(
            "SimMIM pretrains a swin3d",
            where="--model.name",
            fix="name one of those, or take --objective.name mae for a slice_vit or vit3d, spark for a CNN",
        )
    return masked_pixels(reconstruction, settings, masks=settings.masks or "random", error="absolute")


def reconstruction_of(model: nn.Module, *, gives: Gives = "pixels") -> SwinReconstruction | None:
    """The masked model of a ``swin3d``; None for a model of another family."""
    if isinstance(model, ScanVolume) and isinstance(model.encoder, SwinEncoder):
        return SwinReconstruction(model.encoder.clone(parent=None), gives)
    return None
