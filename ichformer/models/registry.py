"""Every model by name: the one registry that Python, training, the command line and the tests over all models read."""

import fnmatch
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

import flax.linen as nn

from ichformer.errors import InputError, one_line
from ichformer.registry import Registry, register
from ichformer.settings import as_names, fit, perhaps

Build = TypeVar("Build", bound=Callable[..., nn.Module])


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A model of the registry.

    Attributes:
      build: makes the module; keyword arguments override ``options``.
      options: what makes this size of its family.
      family: what the sizes of one architecture have in common.
      about: the family in a few words; "" where nothing was said.
      params: how many numbers it learns with three windows as channels; None where nobody counted.
      gflops: 10**9 floating-point operations of the forward pass over one scan of ``flops.SCAN_SHAPE``, to four digits;
        None where nobody counted.
    """

    build: Callable[..., nn.Module]
    options: Mapping[str, Any] = field(default_factory=dict)
    family: str
    about: str = ""
    params: int | None = None
    gflops: float | None = None


def _own() -> Mapping[str, Entry]:
    from ichformer.models.families.sizes import SIZES

    return SIZES


_MODELS: Registry[Entry] = Registry("model", _own)


@overload
def register_model(name: Build) -> Build: ...
@overload
def register_model(
    name: str | None = None, *, options: Mapping[str, Any] | None = None, family: str | None = None, about: str = ""
) -> Callable[[Build], Build]: ...
def register_model(
    name: Build | str | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    family: str | None = None,
    about: str = "",
) -> Build | Callable[[Build], Build]:
    """Makes a model known by name, to ``create_model``, to training and to the command line.

    Example:
      >>> import flax.linen as nn
      >>> import jax.numpy as jnp
      >>> from ichformer.models.contract import Prediction
      >>> @register_model
      ... class Brightness(nn.Module):
      ...     labels: tuple[str, ...] = ("any",)
      ...
      ...     @nn.compact
      ...     def __call__(self, x, slice_mask, spacing_mm, train):
      ...         slices = x.mean((2, 3))  # [B,S,C]
      ...         logits = nn.Dense(len(self.labels))(slices)
      ...         return Prediction(slice_logits=logits, scan_logits=logits.max(1), features={"slices": slices})
      >>> create_model("Brightness").labels
      ('any',)

    It decorates a class of modules, or a function of keyword arguments that returns a module, which obeys
    ``models.contract.Classifier``. Where that takes ``labels`` or ``channels``, ``create_model`` passes them on.

    Args:
      name: what to call it: ``@register_model("mine")``. Bare, it takes the name of the class.
      options: keyword arguments under this name, so that one family has several sizes.
      family: what the sizes of one architecture have in common; the name of the class by default.
      about: the family in a few words, for ``ichformer models``.

    Raises:
      InputError: another model has that name, it is no name, or it stands above something else.
    """
    return register(
        _MODELS,
        name,
        lambda build: Entry(build=build, options=dict(options or {}), family=family or build.__name__, about=about),
        wanted="a class that derives from flax.linen.Module, or a function of keyword arguments that returns one",
        classes=nn.Module,
    )


def registered_models() -> Registry[Entry]:
    """Every model by name: those of the package in the order of their families, then those of others."""
    return _MODELS


def list_models(pattern: str = "*") -> tuple[str, ...]:
    """The names of the models that fit a pattern.

    Example:
      >>> list_models("swin*")
      ('swin3d_nano', 'swin3d_t', 'swin3d_s', 'swin3d_b')

    Args:
      pattern: with ``*`` and ``?`` as in file names.
    """
    return tuple(fnmatch.filter(_MODELS, fit(str, pattern, where="pattern")))


def create_model(name: str, **options: Any) -> nn.Module:
    """The model called ``name``, with some of its settings changed.

    Example:
      >>> model = create_model("swin3d_t", labels=("bleed", "fracture"), channels=3, scan_pool="max")
      >>> model.labels
      ('bleed', 'fracture')

    Args:
      name: of ``list_models()``.
      options: settings, as ``model_options(name)`` lists them. All families take ``labels``, the names of what is
        scored; ``channels`` of the input; ``scan_pool``; ``lesions``, for a map of every label; and ``dtype``.

    Raises:
      InputError: no such model, or a setting that it has not or that it refuses.
    """
    name = fit(str, name, where="name", fix="give a name of ichformer.list_models()")
    entry, known = _MODELS.find(name), model_options(name)
    if wrong := sorted(options.keys() - known):
        raise InputError(
            f"{name} has no such setting",
            where=one_line(wrong[0]),
            fix=perhaps(wrong[0], known) + f"choose one of {', '.join(sorted(known))}",
        )
    if "labels" in options:
        options["labels"] = as_names(options["labels"], where="labels")
    return _MODELS.check_made(name, entry.build(**{**entry.options, **options}), nn.Module)


def model_options(name: str) -> set[str]:
    """The settings that ``create_model`` can change in the model called ``name``."""
    return set(inspect.signature(_MODELS.find(name).build).parameters) - {"parent", "name"}
