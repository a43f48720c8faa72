"""The projector against what is known in closed form."""

import numpy as np
import pytest

from ichformer.ct.phantom.acquisition.projections import STEP_MM, angles_rad, projector


@pytest.fixture(scope="module")
def grid():
    beam = projector()
    x, y = np.meshgrid(beam.x_mm, beam.y_mm)
    return beam, x, y


def test_a_disc_casts_its_chords(grid):
    beam, x, y = grid
    radius_mm, at = 60.0, (12.0, -9.0)
    # The share of each pixel that lies in the disc, from 8 x 8 points in it.
    inner = (np.arange(8) - 3.5) / 8 * STEP_MM
    far = np.hypot(x[..., None, None] + inner - at[0], y[..., None, None] + inner[:, None] - at[1])
    disc = (far < radius_mm).mean(axis=(2, 3)).astype(np.float32)
    lines = beam.project(disc[None])[..., 0]
    angles = angles_rad()[:, None]
    t = (np.arange(lines.shape[1]) - (lines.shape[1] - 1) / 2) * STEP_MM
    off = t - at[0] * np.cos(angles) - at[1] * np.sin(angles)
    chords_cm = 2 * np.sqrt(np.clip(radius_mm**2 - off**2, 0, None)) / 10
    inside = np.abs(off) < radius_mm - 2 * STEP_MM
    # Pixel by pixel, rays at odd angles meet a few more or fewer of them.
    assert np.abs(lines - chords_cm)[inside].max() < 0.6
    assert np.sqrt(((lines - chords_cm)[inside] ** 2).mean()) < 0.12
    assert np.abs(lines[np.abs(off) > radius_mm + 2 * STEP_MM]).max() < 1e-4
    np.testing.assert_allclose(lines.sum(axis=1) * STEP_MM / 10, disc.sum() * (STEP_MM / 10) ** 2, rtol=1e-4)


def test_backprojection_inverts_projection(grid):
    beam, x, y = grid
    blobs = [np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * s**2)) for a, b, s in ((0, 0, 30), (40, -50, 12))]
    slices = np.stack(blobs).astype(np.float32)
    again = beam.reconstruct(beam.project(slices))
    assert np.abs(again - slices).max() < 0.03
