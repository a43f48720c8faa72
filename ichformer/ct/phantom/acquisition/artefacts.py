"""Artefacts of the scanner, made in the projections: hardening of the beam by bone and metal, and motion."""

import itertools

import numpy as np
import scipy.ndimage as ndi
from jaxtyping import Float

from ichformer.ct.phantom.acquisition.projections import ANGLES, BINS, Projector, projector
from ichformer.ct.phantom.acquisition.stack import Stack, average, linear_weights
from ichformer.ct.phantom.findings.signs import Motion, Signs

# Mass attenuation, cm2/g, at 40, 60, 80 and 100 keV (Hubbell & Seltzer, NISTIR 5632, 1995).
_WATER = np.array([0.2683, 0.2059, 0.1837, 0.1707])
_BONE = np.array([0.6655, 0.3148, 0.2229, 0.1855])  # cortical, ICRU 44
_IRON = np.array([3.629, 1.205, 0.5952, 0.3717])
_SPECTRUM = np.array([0.14, 0.38, 0.31, 0.17])
"""What the detector sees of 120 kV without a patient, in four lines with a mean near 70 keV: a rough shape."""

BONE_FROM, _METAL_FROM = 1.1, 3.2
"""Relative density from which on what is more behaves like bone, and like metal."""

_USUAL_CM, _SCATTER = 15.0, 0.02
"""A head's usual length of water, and the scattered quanta that the scanner does not know of, over those behind it."""

_COUNTS = 2e5
"""Quanta a ray of 2 mm sees without a patient; metal that leaves few makes noise."""


def artefacts(
    hu: Float[np.ndarray, "i k j"], stack: Stack, signs: Signs, rng: np.random.Generator
) -> Float[np.ndarray, "s h w"] | None:
    """HU that hardening, metal and motion add to the slices; None where there is nothing of the kind."""
    if not (signs.hardening or signs.metal or signs.motion):
        return None
    beam = projector()
    dense = np.maximum(average(hu, stack) * np.float32(0.001) + 1, 0).transpose(1, 0, 2)
    error = np.zeros((ANGLES, BINS, stack.slices), np.float32)
    if signs.hardening:
        water, bone, metal = _line_integrals(dense, stack, beam)
        error += np.float32(signs.hardening) * _hardening(water, bone, np.zeros_like(metal))
    if signs.metal:
        at = np.flatnonzero((dense > _METAL_FROM).any(axis=(1, 2)))
        error[..., at] += metal_error(_line_integrals(dense[at], stack, beam), rng)
    if signs.motion:
        at = _moved_slices(signs.motion, stack.slices)
        error[..., at] += _motion(_coarse(dense[at], stack, beam), signs.motion, beam)
    added = beam.reconstruct(error) * np.float32(1000)
    to_rows = linear_weights(stack.rows_mm, beam.y_mm)
    to_columns = linear_weights(stack.columns_mm, beam.x_mm)
    return np.matmul(np.matmul(to_rows, added), to_columns.T)


def _line_integrals(dense: np.ndarray, stack: Stack, beam: Projector) -> list[np.ndarray]:
    """Of what is like water, and of what bone and metal have more; apart before the grid gets coarse."""
    bounds = np.array([0, BONE_FROM, _METAL_FROM, np.inf], np.float32)
    parts = (np.clip(dense, low, high) - low for low, high in itertools.pairwise(bounds))
    return [beam.project(_coarse(part, stack, beam)) for part in parts]


def _coarse(values: np.ndarray, stack: Stack, beam: Projector) -> Float[np.ndarray, "s rows columns"]:
    """The slices on the projector's grid, with all their mass; air where the anatomy was not sampled."""
    rows, columns = (
        linear_weights(fine_mm, coarse_mm) * np.float32((fine_mm[1] - fine_mm[0]) / (coarse_mm[1] - coarse_mm[0]))
        for fine_mm, coarse_mm in ((stack.grid_rows_mm, beam.y_mm), (stack.grid.x_mm.astype(np.float64), beam.x_mm))
    )
    return np.matmul(np.matmul(rows.T, values), columns)


def _measured_cm(water: np.ndarray, bone: np.ndarray, metal: np.ndarray) -> np.ndarray:
    """Length of water, in cm, that a scanner corrected for water alone takes a ray for.

    Bone and metal come as what their density adds to water, in cm of water at the beam's usual energy.
    """
    like_bone, like_metal = (_WATER @ _SPECTRUM / (mass @ _SPECTRUM) * mass for mass in (_BONE, _IRON))
    quanta = np.full_like(water, _SCATTER * (np.exp(-_USUAL_CM * _WATER) @ _SPECTRUM))
    for share, of_water, of_bone, of_metal in zip(_SPECTRUM, _WATER, like_bone, like_metal, strict=True):
        quanta += np.float32(share) * np.exp(-(of_water * water + of_bone * bone + of_metal * metal))
    lengths = np.linspace(0, 150, 1501)
    through_water = -np.log(np.exp(-lengths[:, None] * _WATER) @ _SPECTRUM)
    return np.interp(-np.log(np.maximum(quanta, 1e-12)), through_water, lengths).astype(np.float32)


def _hardening(water: np.ndarray, bone: np.ndarray, metal: np.ndarray) -> np.ndarray:
    """Error of the line integrals, in cm of water, against a scanner that shows bone and metal at their usual HU."""
    usual = [np.full((1,), value, np.float32) for value in (_USUAL_CM, 1.5, 1.0)]
    none = np.zeros((1,), np.float32)
    plain = _measured_cm(usual[0], none, none)
    bone_gain = (_measured_cm(usual[0], usual[1], none) - plain) / usual[1]
    metal_gain = (_measured_cm(usual[0], none, usual[2]) - plain) / usual[2]
    return _measured_cm(water, bone, metal) - (plain / _USUAL_CM) * water - bone_gain * bone - metal_gain * metal


def metal_error(integrals: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Error by metal alone, with the noise of the quanta that it leaves over."""
    water, bone, metal = integrals
    without = np.zeros_like(metal)
    error = _hardening(water, bone, metal) - _hardening(water, bone, without)
    per_cm = float(_WATER @ _SPECTRUM)
    starved = np.exp(per_cm * (water + bone + metal)) - np.exp(per_cm * (water + bone))
    noise = np.sqrt(np.minimum(starved / _COUNTS, 1)) / per_cm
    return error + (noise * rng.standard_normal(metal.shape, np.float32)).astype(np.float32)


def _moved_slices(motion: Motion, slices: int) -> np.ndarray:
    first = int(motion.height * slices)
    return np.arange(first, min(first + motion.slices, slices))


def _motion(dense: np.ndarray, motion: Motion, beam: Projector) -> np.ndarray:
    """Difference of the projections during the part of the turn for which the head lay displaced."""
    turn = np.deg2rad(motion.turn_deg)
    back = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])  # over (row, column)
    step = float(beam.x_mm[1] - beam.x_mm[0])
    center = (np.array(dense.shape[1:]) - 1) / 2
    shift = np.array([motion.shift_mm[1], motion.shift_mm[0]]) / step
    offset = center - back @ (center + shift)
    moved = np.stack([ndi.affine_transform(one, back, offset, order=1) for one in dense])
    # It goes and comes back: half of the time it is on the way, mixed of both places.
    time = (np.arange(ANGLES) / ANGLES - motion.begin) % 1 / motion.share
    away = np.clip(2 - np.abs(4 * time - 2), 0, 1)
    # Halves of pixels move: what is finer than the grid would make stripes.
    change = ndi.gaussian_filter(moved - dense, (0, 0.7, 0.7))
    return beam.project(change) * away[:, None, None].astype(np.float32)
