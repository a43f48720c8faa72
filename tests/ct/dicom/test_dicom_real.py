"""Real files: a human head, a plastic one scanned three times, scrambled geometry, and fifteen codings of one slice."""

import numpy as np
import pydicom
import pytest
from scipy import ndimage

from ichformer.ct.geometry.regrid import remove_tilt
from ichformer.ct.io.dicom.dicom_file import quiet_pydicom
from ichformer.ct.io.dicom.headers import read_header
from ichformer.ct.io.pixels.hounsfield import to_hu
from ichformer.ct.io.pixels.stored import codestream_mismatch, read_stored
from ichformer.ct.io.scans import read_volume
from ichformer.errors import InputError

PLASTIC = {"S21570/S2010": (28, 0.0, 5.0), "S21610/S2010": (54, 18.5, 2.371), "S21610/S3010": (58, -16.5, 2.397)}


def notes(volume) -> dict[str, str]:
    return {note.code: note.text for note in volume.audit.notes}


def test_ge_head(real_data):
    volume = read_volume(real_data / "dcm_qa_ct" / "GE")
    assert volume.hu.shape == (28, 512, 512)
    assert volume.audit.tilt_deg == pytest.approx(18.5, abs=0.01)
    assert volume.spacing_mm == pytest.approx((4.002, 0.488, 0.488), abs=1e-3)
    assert "13 x 4.002, 1.081, 13 x 6.999 mm" in notes(volume)["variable_spacing"]
    assert "-1500" in notes(volume)["padding_repaired"]
    assert volume.audit.missing_slices == 0
    assert (volume.hu.min(), volume.hu.max()) == (-1024, 2121)
    # It lies on its back: the face is in the first rows, and the vertex in the last slice holds least head.
    is_bone = volume.hu > 300
    assert is_bone[0, :150].sum() > is_bone[0, -150:].sum()
    assert (volume.hu[-1] > -200).sum() < (volume.hu[0] > -200).sum() / 4


@pytest.mark.parametrize("name", PLASTIC)
def test_plastic_head(real_data, name):
    slices, tilt_deg, spacing_mm = PLASTIC[name]
    volume = read_volume(real_data / "dcm_qa_ct" / "Philips" / name)
    assert volume.hu.shape == (slices, 512, 512)
    assert volume.audit.tilt_deg == pytest.approx(tilt_deg, abs=0.01)
    assert volume.spacing_mm[0] == pytest.approx(spacing_mm, abs=1e-3)


@pytest.mark.slow
def test_the_plastic_head_stays_the_same_through_three_gantries(real_data):
    """Sampled at the same points of the patient's space, without any registration."""
    axes = [np.arange(-90, 90, 2.0), np.arange(-60, 200, 2.0), np.arange(690, 830, 2.0)]
    points = np.stack([*(axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")), np.ones(90 * 130 * 70)])

    def solid(name: str, is_corrected: bool) -> tuple[np.ndarray, np.ndarray]:
        volume = read_volume(real_data / "dcm_qa_ct" / "Philips" / name)
        affine = remove_tilt(volume)[0].affine
        volume = remove_tilt(volume)[0] if is_corrected else volume
        index = np.linalg.solve(affine, points)[:3]
        last = np.array(volume.hu.shape)[:, None] - 1
        is_inside = ((index >= 0) & (index <= last)).all(0)
        return ndimage.map_coordinates(volume.hu.astype(np.float32), index, order=1, cval=-1024) > 0, is_inside

    def dice(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> float:
        both = first[1] & second[1]
        a, b = first[0][both], second[0][both]
        return 2 * (a & b).sum() / (a.sum() + b.sum())

    level, back, forth = (solid(name, is_corrected=True) for name in PLASTIC)
    assert dice(level, back) > 0.8
    assert dice(level, forth) > 0.8
    assert dice(back, forth) > 0.85
    # The proof that the correction does it: the sheared stacks on the same grid do not agree.
    sheared = [solid(name, is_corrected=False) for name in list(PLASTIC)[1:]]
    assert dice(*sheared) < 0.6


def test_scrambled_geometry(real_data):
    folder = real_data / "geometry_scrambled"
    volume = read_volume(folder / "sliceincrement" / "001")
    assert volume.audit.missing_slices == 1
    assert "2 x 5.000, 10.000 mm" in notes(volume)["missing_slices"]
    assert read_volume(folder / "gantrytilting" / "001").audit.tilt_deg == pytest.approx(14, abs=0.01)
    with pytest.raises(InputError, match="all 4 slices stand at one"):
        read_volume(folder / "notavolume" / "001")


CODINGS = {  # of the same slice: the largest difference in HU from the uncompressed one, None where nothing decodes it
    "LittleEndianImplicit": 0,
    "BigEndianExplicit": 0,
    "DeflatedExplicitVRLittleEndian": 0,
    "RLELossless": 0,
    "JPEGLSLossless": 0,
    "JPEGLSLossy": 1,
    "JPEG2000LosslessOnly": 0,
    "JPEG2000TransferSyntax": 5,
    "JPEGProcess14Transfer": 0,
    "JPEGProcess14SV1": 0,
    "JPEGProcess1Transfer": 65,
    "JPEGProcess2_4": None,
    "JPEGProcess6_8": None,
    "JPEGProcess10_12": None,
}


def read_hu(path) -> np.ndarray:
    with quiet_pydicom():
        header = read_header(path)
        return to_hu(read_stored(header), header)[0]


@pytest.mark.parametrize("coding", CODINGS)
def test_codings(real_data, coding):
    (path,) = (real_data / "decoders").glob(f"CTImage.dcm_{coding}*")
    if CODINGS[coding] is None:
        with pytest.raises(InputError, match=r"PixelData .* cannot be decoded") as caught:
            read_hu(path)
        assert caught.value.where == str(path)
        return
    plain = read_hu(next((real_data / "decoders").glob("CTImage.dcm_LittleEndianExplicit*")))
    assert np.abs(read_hu(path) - plain.astype(int)).max() <= CODINGS[coding]
    header = read_header(path)
    assert header.lossy == (CODINGS[coding] > 0)


def test_code_stream_that_disagrees_with_its_header(real_data):
    """Unsigned code stream, header of 13 signed bits: read as pydicom's two decoders agree on it."""
    path = real_data / "decoders" / "J2K_pixelrep_mismatch.dcm"
    with quiet_pydicom():
        expected = [
            pydicom.pixels.pixel_array(pydicom.dcmread(path), decoding_plugin=name) for name in ("gdcm", "pillow")
        ]
    hu = read_hu(path)
    np.testing.assert_array_equal(hu, np.maximum(expected[0], -1024))
    np.testing.assert_array_equal(expected[0], expected[1])
    with quiet_pydicom():
        said = codestream_mismatch(read_header(path))
    assert said == "the code stream says unsigned 13 bits, the header signed 13 bits"
    # A head: air round it, much brain between 20 and 50 HU.
    assert np.mean((hu > 10) & (hu < 60)) > 0.1
