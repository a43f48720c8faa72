"""From stored values to HU where header and values disagree: sign, HighBit, unused bits, padding, byte order."""

import nibabel as nib
import numpy as np
import pydicom
import pytest

from ichformer.ct.io.scans import read_volume
from ichformer.errors import InputError
from tests.ct.builders import head_hu, write_series

UNSIGNED = {"PixelRepresentation": 0, "RescaleIntercept": -1024}
TWELVE = {**UNSIGNED, "BitsStored": 12, "HighBit": 11}
HEAD = head_hu()
STORED = (HEAD.astype(int) + 1024).astype(np.uint16)
CORNERS = np.hypot(*(np.mgrid[:64, :64] - 31.5)) > 31.5


def noted(volume) -> dict[str, str]:
    return {note.code: note.text for note in volume.audit.notes}


def read(folder, stored, **tags):
    write_series(folder, stored, **tags)
    return read_volume(folder)


def test_bits_above_bits_stored_are_taken_off(tmp_path):
    volume = read(tmp_path, STORED | 0xA000, **TWELVE)
    np.testing.assert_array_equal(volume.hu, HEAD)
    assert "bits above the 12 stored" in noted(volume)["unused_bits_set"]
    signed = read(tmp_path / "signed", HEAD.clip(-1024, 2047), BitsStored=12, HighBit=11, RescaleIntercept=0)
    assert noted(signed) == {}  # the sign fills them


def test_bits_stored_that_are_too_few_are_noted(tmp_path):
    assert "unused_bits_set" in noted(read(tmp_path, STORED, **{**TWELVE, "BitsStored": 11, "HighBit": 10}))


def test_values_below_high_bit_are_shifted(tmp_path):
    volume = read(tmp_path, STORED << 4, **{**TWELVE, "HighBit": 15})
    np.testing.assert_array_equal(volume.hu, HEAD)
    assert "HighBit 15 with 12 bits stored" in noted(volume)["high_bit_unusual"]
    np.testing.assert_array_equal(read(tmp_path / "14", STORED << 3, **{**TWELVE, "HighBit": 14}).hu, HEAD)
    overlay = (STORED << 4) | 1  # a bit below may hold an overlay
    np.testing.assert_array_equal(read(tmp_path / "overlay", overlay, **{**TWELVE, "HighBit": 15}).hu, HEAD)


def test_signed_values_below_high_bit_keep_their_sign(tmp_path):
    tags = {"BitsStored": 12, "HighBit": 15, "RescaleIntercept": 0}
    hu = HEAD.clip(-1024, 2047)
    np.testing.assert_array_equal(read(tmp_path, hu << 4, **tags).hu, hu)


def test_a_high_bit_that_the_values_contradict_is_not_believed(tmp_path):
    volume = read(tmp_path, STORED, **{**TWELVE, "HighBit": 15})
    np.testing.assert_array_equal(volume.hu, HEAD)
    assert "high_bit_unusual" in noted(volume)


def test_unusual_bits_in_other_encodings_are_refused_by_name(tmp_path):
    for file in write_series(tmp_path, STORED << 4, **{**TWELVE, "HighBit": 15}):
        dataset = pydicom.dcmread(file)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
        pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    with pytest.raises(InputError, match=r"HighBit \(0028,0102\) is 15 with 12 bits stored"):
        read_volume(tmp_path)
    with pytest.raises(InputError, match=r"BitsStored \(0028,0101\) is 17"):
        read(tmp_path / "more", STORED, BitsStored=17)


def test_twos_complement_that_is_called_unsigned(tmp_path):
    volume = read(tmp_path, HEAD.view(np.uint16), PixelRepresentation=0, RescaleIntercept=0)
    np.testing.assert_array_equal(volume.hu, HEAD)
    assert "says unsigned" in noted(volume)["sign_repaired"]


@pytest.mark.parametrize("value", [-2000, -1500, -3024])
def test_padding_that_wrapped_into_unsigned_values(tmp_path, value):
    stored = STORED.copy()
    stored[:, CORNERS] = np.int16(value).astype(np.uint16)
    volume = read(tmp_path, stored, **UNSIGNED)
    np.testing.assert_array_equal(volume.hu, np.where(CORNERS, -1024, HEAD))
    assert noted(volume).keys() == {"padding_repaired", "sign_repaired"}


@pytest.mark.parametrize(("intercept", "metal"), [(-1024, 30000), (-8192, 30000), (-32768, 32767), (-1024, 32767)])
def test_metal_with_the_top_bit_set_stays_metal(tmp_path, intercept, metal):
    hu = HEAD.copy()
    hu[2, 30:34, 30:34] = metal
    volume = read(
        tmp_path, (hu.astype(int) - intercept).astype(np.uint16), PixelRepresentation=0, RescaleIntercept=intercept
    )
    np.testing.assert_array_equal(volume.hu, hu)
    assert noted(volume) == {}


def test_saturated_metal_is_clipped_and_not_turned_into_water(tmp_path):
    stored = STORED.copy()
    stored[2, 30:34, 30:34] = 65535
    volume = read(tmp_path, stored, **UNSIGNED)
    assert (volume.hu[2, 30:34, 30:34] == 32767).all()
    assert noted(volume).keys() == {"hu_clipped"}
    stored[:, CORNERS] = 65535  # where it is much of the scan, it is no metal
    with pytest.raises(InputError, match="above 3000 HU"):
        read(tmp_path / "corners", stored, **UNSIGNED)


def test_unsigned_twelve_bits_that_are_called_signed(tmp_path):
    volume = read(tmp_path, STORED, PixelRepresentation=1, BitsStored=12, HighBit=11, RescaleIntercept=-1024)
    np.testing.assert_array_equal(volume.hu, HEAD)
    assert "says signed" in noted(volume)["sign_repaired"]


@pytest.mark.parametrize("padding", [None, -2048])
def test_signed_twelve_bits_with_padding_are_believed(tmp_path, padding):
    stored = STORED.clip(0, 2047).astype(np.int16)
    stored[:, CORNERS] = -2048
    stored[:, 2, 30] = -7  # noise in the air
    volume = read(tmp_path, stored, BitsStored=12, HighBit=11, RescaleIntercept=-1024, PixelPaddingValue=padding)
    assert (volume.hu[:, CORNERS] == -1024).all()
    np.testing.assert_array_equal(volume.hu[:, 20:44, 20:44], HEAD.clip(-1024, 1023)[:, 20:44, 20:44])
    assert "sign_repaired" not in noted(volume)


@pytest.mark.parametrize("ends", [(-2000, -1990), (-1990, -2000)])
def test_padding_of_a_range_becomes_air(tmp_path, ends):
    stored = HEAD.copy()
    stored[:, CORNERS] = -1995
    stored[:, 0, 0] = ends[0]
    volume = read(tmp_path, stored, RescaleIntercept=0, PixelPaddingValue=ends[0], PixelPaddingRangeLimit=ends[1])
    np.testing.assert_array_equal(volume.hu, np.where(CORNERS, -1024, HEAD))


def test_padding_above_all_tissue_of_a_range_becomes_air(tmp_path):
    stored = STORED.copy()
    stored[:, CORNERS] = 62000
    volume = read(tmp_path, stored, **UNSIGNED, PixelPaddingValue=61000, PixelPaddingRangeLimit=65000)
    np.testing.assert_array_equal(volume.hu, np.where(CORNERS, -1024, HEAD))


def test_a_padding_range_that_reaches_into_tissue_is_kept(tmp_path):
    volume = read(tmp_path, HEAD, RescaleIntercept=0, PixelPaddingValue=-2000, PixelPaddingRangeLimit=40)
    np.testing.assert_array_equal(volume.hu, HEAD)
    assert "padding_kept" in noted(volume)


def test_monochrome1_is_a_matter_of_display(tmp_path):
    np.testing.assert_array_equal(read(tmp_path, STORED, **TWELVE, PhotometricInterpretation="MONOCHROME1").hu, HEAD)


def test_the_private_syntax_of_ge_has_big_endian_pixels(tmp_path):
    for file in write_series(tmp_path, HEAD, RescaleIntercept=0):
        dataset = pydicom.dcmread(file)
        dataset.PixelData = dataset.pixel_array.byteswap().tobytes()
        dataset.file_meta.TransferSyntaxUID = "1.2.840.113619.5.2"
        pydicom.dcmwrite(file, dataset, implicit_vr=True, little_endian=True, force_encoding=True)
    np.testing.assert_array_equal(read_volume(tmp_path).hu, HEAD)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.float32])
def test_wrapped_values_in_nifti(tmp_path, dtype):
    stored = HEAD.astype(np.uint16 if dtype == np.float32 else dtype).astype(dtype)
    nib.save(nib.Nifti1Image(stored.T, np.diag([-0.5, -0.5, 5, 1])), tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volume.hu, HEAD)
    assert "sign_repaired" in noted(volume)


def test_a_slope_of_zero_in_nifti_means_none(tmp_path):
    image = nib.Nifti1Image(HEAD.T, np.diag([-0.5, -0.5, 5, 1]))
    nib.save(image, tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[112:120] = bytes(8)  # scl_slope and scl_inter
    (tmp_path / "a.nii").write_bytes(data)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").hu, HEAD)
