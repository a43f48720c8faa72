"""The learning rate range test (Smith 2017, arXiv:1506.01186, section 3.3): the rate that a few steps suggest."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float64

_KEPT = 0.9
"""Of the running mean of the losses."""

_DIVERGED = 4.0
"""A smoothed loss of so many times the smallest ends the test (Howard & Gugger 2020, doi:10.3390/info11020108)."""

_FIRST = 10
"""Steps at the start of which the running mean says little."""


@dataclass(frozen=True, kw_only=True)
class RangeTest:
    """The losses of a training whose learning rate rises at every step.

    Attributes:
      rates: learning rate of each step.
      losses: loss before each step.
      smooth: their running mean.
      suggested: the rate in the middle of the longest fall of the smoothed loss, which noise moves less than the
        steepest place (fastai's "valley"); None where it falls by less than its noise.
    """

    rates: Float64[np.ndarray, "n"]
    losses: Float64[np.ndarray, "n"]
    smooth: Float64[np.ndarray, "n"]
    suggested: float | None


def rising_rate(lowest: float, highest: float, steps: int) -> optax.Schedule:
    """Step -> rate, from ``lowest`` at step 0 to ``highest`` at the last, by the same factor at each step."""
    factor = (highest / lowest) ** (1 / max(steps - 1, 1))
    return lambda step: lowest * jnp.asarray(factor) ** step


def smoothed(losses: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    """The running mean, without the bias towards the zero it starts from (Kingma & Ba 2015, section 3).

    Example:
      >>> smoothed(np.array([2.0, 2.0, 2.0]))
      array([2., 2., 2.])
    """
    mean, found = 0.0, np.empty_like(losses)
    for step, loss in enumerate(losses):
        mean = _KEPT * mean + (1 - _KEPT) * loss
        found[step] = mean / (1 - _KEPT ** (step + 1))
    return found


def has_diverged(losses: Float64[np.ndarray, "n"]) -> bool:
    """Whether higher rates would tell nothing more: a loss is not a number, or far above the smallest."""
    if not np.isfinite(losses).all():
        return True
    smooth = smoothed(losses)
    return len(losses) > _FIRST and bool(smooth[-1] > _DIVERGED * smooth.min())


def range_test(rates: Float64[np.ndarray, "n"], losses: Float64[np.ndarray, "n"]) -> RangeTest:
    """What the losses say; those from the first that is not a number on are left out.

    Args:
      rates: of the steps, rising.
      losses: of the same steps.
    """
    finite = np.isfinite(losses)
    count = len(losses) if finite.all() else int(finite.argmin())
    rates, losses = rates[:count], losses[:count]
    smooth = smoothed(losses)
    start, end = _longest_fall(smooth)
    # The running mean of noise alone moves by less than the noise itself; where the loss diverges, it lags behind.
    falls = count > _FIRST and smooth[start] - smooth[end] > np.std((losses - smooth)[: end + 1])
    suggested = float(rates[(start + end) // 2]) if falls else None
    return RangeTest(rates=rates, losses=losses, smooth=smooth, suggested=suggested)


def _longest_fall(smooth: Float64[np.ndarray, "n"]) -> tuple[int, int]:
    """First and last place of the longest falling subsequence, counted back from its end by its length, as fastai."""
    lengths = np.ones(len(smooth), int)
    for i in range(1, len(smooth)):
        lengths[i] = 1 + np.max(lengths[:i], where=smooth[:i] > smooth[i], initial=0)
    end = int(lengths.argmax()) if len(smooth) else 0
    return (end + 1 - int(lengths[end]), end) if len(smooth) else (0, 0)
