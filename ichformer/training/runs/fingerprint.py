"""A fingerprint of a model's parameters."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ichformer.training.runs.outputs import parameter_names


def fingerprint(params: Any, *, beside: Sequence[Any] = ()) -> str:
    """32 hexadecimal digits that change with every parameter: the first half of a SHA-256.

    What was measured with a model (its thresholds, what its training looked like) keeps them, since it means nothing
    for another model. They are the same on every device, and after the parameters were written and read.

    Args:
      params: of the model.
      beside: what else decides the outputs, such as the weights of an ensemble's members; plain values.
    """
    digest = hashlib.sha256(json.dumps(list(beside)).encode())
    for name, leaf in sorted(zip(parameter_names(params), jax.tree.leaves(params), strict=True), key=lambda x: x[0]):
        values = np.ascontiguousarray(jax.device_get(leaf))
        digest.update(f"{name} {values.shape} {values.dtype}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()[:32]
