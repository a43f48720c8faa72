import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer.ct.windows import WINDOWS, Window, apply_windows


@pytest.mark.parametrize(("hu", "grey"), [(-2000, 0), (0, 0), (20, 0.25), (40, 0.5), (80, 1), (3000, 1)])
def test_brain_window(hu, grey):
    assert apply_windows(np.array([hu], np.int16), (WINDOWS["brain"],)) == np.float32(grey)


def test_each_window_is_a_channel_in_the_order_asked_for():
    hu = np.arange(-1024, 3072, dtype=np.int16).reshape(2, 32, 64)
    names = ["bone", "brain", "subdural"]
    channels = apply_windows(hu, tuple(WINDOWS[name] for name in names))
    assert channels.shape == (2, 32, 64, 3)
    assert channels.dtype == np.float32
    for i, name in enumerate(names):
        np.testing.assert_array_equal(channels[..., i], apply_windows(hu, (WINDOWS[name],))[..., 0])


def test_numpy_and_jitted_jax_agree_to_the_bit_of_rounding():
    hu = np.arange(-1100, 3100, dtype=np.int16).reshape(60, 70)
    windows = tuple(WINDOWS.values())
    on_host = apply_windows(hu, windows)
    on_device = jax.jit(lambda x: apply_windows(x, windows, jnp))(hu)
    assert on_device.dtype == on_host.dtype
    np.testing.assert_allclose(on_device, on_host, atol=1e-6)


@given(hu=st.integers(-1024, 3071))
def test_the_narrow_windows_together_are_a_thermometer(hu):
    """Five end to end: full up to the HU, empty above, and their sum says how far it stands from water."""
    names = [f"hu_{low}_{low + 20}" for low in (0, 20, 40, 60, 80)]
    channels = apply_windows(np.array([hu], np.int16), tuple(WINDOWS[name] for name in names))[0]
    assert np.all(np.diff(channels) <= 0)
    assert channels.sum() * 20 == pytest.approx(np.clip(hu, 0, 100), abs=1e-4)


@given(center_hu=st.floats(-500, 1000), width_hu=st.floats(1, 4000), hu=st.integers(-1024, 3071))
def test_values_stay_within_0_and_1_and_the_centre_is_half(center_hu, width_hu, hu):
    window = Window(center_hu=center_hu, width_hu=width_hu)
    grey = apply_windows(np.array([hu, center_hu], np.float32), (window,))[:, 0]
    assert 0 <= grey[0] <= 1
    assert grey[1] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("width_hu", [0, -1, float("nan")])
def test_a_window_without_width_is_refused(width_hu):
    with pytest.raises(ValueError, match="width_hu"):
        Window(center_hu=0, width_hu=width_hu)
