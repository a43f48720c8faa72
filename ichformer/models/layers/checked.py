"""Modules that refuse wrong settings in place of computing something else."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ichformer.errors import InputError, one_line
from ichformer.settings import check_ranges, check_settings

_MAY_BE_ZERO = ("depth_strides", "num_registers")


class CheckedModule(nn.Module):
    """A Flax module that checks its fields when it is made: their types, choices, counts and rates.

    InputError in one line for a value that is not of its declared type, for a count below 1 (registers and strides
    along the slices may be 0) and for a rate ("dropout", "drop_path") outside 0 to 1.
    """

    def __post_init__(self) -> None:
        """Checks, then what Flax does."""
        prefix = f"{type(self).__name__}."
        own = tuple(each.name for each in dataclasses.fields(self) if each.name not in ("parent", "name"))
        check_settings(self, prefix, names=own)
        if "dtype" in own:
            _check_dtype(self.dtype, where=f"{prefix}dtype")
        for name in own:
            value = getattr(self, name)
            least = 0 if name in _MAY_BE_ZERO else 1
            if name in ("dropout", "drop_path"):
                within = all(0 <= rate < 1 for rate in _numbers(value))
                check_ranges(prefix, (name, value, within, "a number of at least 0 and below 1"))
            elif counts := [each for each in _numbers(value) if type(each) is int]:
                check_ranges(prefix, (name, value, min(counts) >= least, f"{least} or more"))
        super().__post_init__()


def _check_dtype(dtype: Any, *, where: str) -> None:
    """InputError for what is no floating type; None leaves it to Flax."""
    try:
        is_floating = dtype is None or jnp.issubdtype(jnp.dtype(dtype), jnp.floating)
    except TypeError:
        is_floating = False
    if not is_floating:
        raise InputError(f"found {one_line(repr(dtype))}", where=where, fix="take float32, bfloat16 or float16")


def check_heads(module: nn.Module, num_heads: int, width: int) -> None:
    """InputError where a width cannot be shared evenly by attention heads."""
    if width % num_heads:
        raise InputError(
            f"{num_heads} heads do not divide a width of {width}",
            where=f"{type(module).__name__}.num_heads",
            fix=f"take a divisor of {width}",
        )


def check_lengths(module: nn.Module, **wanted: int) -> None:
    """InputError where a tuple of the module has not as many entries as are wanted of the field."""
    for name, length in wanted.items():
        value = getattr(module, name)
        if len(value) != length:
            raise InputError(
                f"has {len(value)} entries: {value}",
                where=f"{type(module).__name__}.{name}",
                fix=f"give {length}: one a stage, or one a merge between two stages",
            )


def _numbers(value: Any) -> list[Any]:
    values = value if isinstance(value, tuple) else (value,)
    return [each for each in values if isinstance(each, (int, float)) and not isinstance(each, bool)]
