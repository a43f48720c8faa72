"""Transformers that find intracranial haemorrhage and its five subtypes on non-contrast head CT, in JAX and Flax.

Example:
  >>> import ichformer as ich
  >>> model = ich.create_model("hybrid_nano", labels=("bleed", "fracture"))
  >>> model.labels
  ('bleed', 'fracture')

Importing this package loads nothing heavy: each name is imported when it is first used. Everything else is imported
from the room that holds it (``ichformer.ct``, ``ichformer.models`` ...).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ichformer.ct.io.scans import read_volume as read_volume
    from ichformer.ct.volume import Volume as Volume
    from ichformer.errors import InputError as InputError
    from ichformer.models.encoders.registry import register_encoder as register_encoder
    from ichformer.models.inputs import example_inputs as example_inputs
    from ichformer.models.registry import create_model as create_model
    from ichformer.models.registry import list_models as list_models
    from ichformer.models.registry import register_model as register_model

__version__ = "0.1.0"

LABELS = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")
"""The six labels, in the one order that is used everywhere (RSNA 2019; "any" is the maximum of the five)."""

SUBTYPES = LABELS[:-1]
"""The five subtypes, in the order of ``LABELS``."""

_PLACES = {
    "InputError": "ichformer.errors",
    "Volume": "ichformer.ct.volume",
    "create_model": "ichformer.models.registry",
    "example_inputs": "ichformer.models.inputs",
    "list_models": "ichformer.models.registry",
    "read_volume": "ichformer.ct.io.scans",
    "register_encoder": "ichformer.models.encoders.registry",
    "register_model": "ichformer.models.registry",
}
"""Public name -> the module that holds it."""

__all__ = [
    "LABELS",
    "SUBTYPES",
    "InputError",
    "Volume",
    "create_model",
    "example_inputs",
    "list_models",
    "read_volume",
    "register_encoder",
    "register_model",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_PLACES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
