"""A model: the brightness of each slice, and a linear layer."""

import flax.linen as nn
import jax.numpy as jnp

import ichformer as ich
from ichformer.models.contract import CAM_LAYER


@ich.register_model("example_brightness", about="the mean of each window, and a linear layer")
class Brightness(nn.Module):
    """Scores a slice by the mean of its windows, and a scan by its highest slice.

    Attributes:
      labels: what is scored; the store's labels are passed on.
      grid: rows and columns of the feature grid that heat maps are drawn on.
    """

    labels: tuple[str, ...] = ich.LABELS
    grid: int = 4

    @nn.compact
    def __call__(self, x, slice_mask, spacing_mm, train):
        """Windowed slices [B,S,H,W,C] in [0, 1] to logits: the contract of every model."""
        del spacing_mm, train
        scans, slices, rows, columns, channels = x.shape
        cells = x.reshape(scans, slices, self.grid, rows // self.grid, self.grid, columns // self.grid, channels)
        features = self.perturb(CAM_LAYER, cells.mean((3, 5)))
        of_slices = features.mean((2, 3))
        logits = nn.Dense(len(self.labels))(of_slices)
        of_scan = jnp.where(slice_mask[..., None], logits, -jnp.inf).max(1)
        return ich.Prediction(
            slice_logits=logits, scan_logits=of_scan, features={"slices": of_slices, CAM_LAYER: features}
        )
