"""Numbers and words of a header that are written otherwise than the standard says."""

import numpy as np
import pydicom
import pytest

from ichformer.ct.io.dicom.series import find_series
from ichformer.ct.io.scans import read_volume
from ichformer.errors import InputError
from tests.ct.builders import even, write_stack

TAGS = {
    "PixelSpacing": 0x00280030,
    "ImagePositionPatient": 0x00200032,
    "SliceThickness": 0x00180050,
    "RescaleIntercept": 0x00281052,
    "RescaleSlope": 0x00281053,
}


def write_as(folder, **texts: str) -> np.ndarray:
    """A stack whose decimal tags hold these texts, whatever they are; "{z}" is the slice's height."""
    heights = even(6)
    hu = write_stack(folder, heights)
    for file, z in zip(sorted(folder.iterdir()), heights, strict=True):
        made = pydicom.dcmread(file)
        for keyword, text in texts.items():
            made[keyword] = pydicom.DataElement(TAGS[keyword], "LO", text.format(z=z))
        pydicom.dcmwrite(file, made)
        data = file.read_bytes()
        for keyword in texts:
            tag = pydicom.tag.Tag(TAGS[keyword])
            start = tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little")
            data = data.replace(start + b"LO", start + b"DS")
        file.write_bytes(data)
    return hu


def test_a_decimal_comma_is_read_as_a_point_and_noted(tmp_path):
    hu = write_as(
        tmp_path,
        PixelSpacing="0,5\\0,4",
        ImagePositionPatient="-10,0\\-20,0\\{z:.0f},0",
        SliceThickness="5,0",
        RescaleIntercept="-1024,000000",
        RescaleSlope="1,000000",
    )
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.hu, hu)
    assert volume.spacing_mm == (5, 0.5, 0.4)
    assert [note.code for note in volume.audit.notes] == ["pixels_not_square", "decimal_comma"]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"RescaleIntercept": "minus"}, r"RescaleIntercept \(0028,1052\) is 'minus'"),
        ({"RescaleSlope": "1.000,5"}, r"RescaleSlope \(0028,1053\) is '1.000,5'"),
        ({"RescaleSlope": "0"}, r"RescaleSlope \(0028,1053\) is 0,"),
        ({"RescaleSlope": ""}, r"RescaleSlope \(0028,1053\) is absent"),
        ({"PixelSpacing": "0,5,0,4"}, r"PixelSpacing \(0028,0030\): it is '0,5,0,4'"),
        ({"ImagePositionPatient": "1\\2"}, r"ImagePositionPatient \(0020,0032\): it is '1\\\\2'"),
        ({"ImagePositionPatient": "1\\2\\nan"}, r"6 of 6 slices lack a valid ImagePositionPatient"),
    ],
    ids=str,
)
def test_a_number_that_is_none_is_shown(tmp_path, texts, said):
    write_as(tmp_path, **texts)
    with pytest.raises(InputError, match=said):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["HU", "hu", "H.U.", "US", "UNSPECIFIED", "Hounsfield", "HOUNSFIELD UNITS", "Houndsfield Unit", "Hounsfield (HU)"],
)
def test_hounsfield_in_words_is_read(tmp_path, text):
    hu = write_stack(tmp_path, even(6), RescaleType=text)
    np.testing.assert_array_equal(read_volume(tmp_path).hu, hu)


@pytest.mark.parametrize("text", ["HU_MOD", "Z_EFF", "MGML", "OD", "PCT", "S", "ML/100G/MIN"])
def test_other_units_are_set_aside_by_name(tmp_path, text):
    write_stack(tmp_path, even(6), RescaleType=text)
    found = find_series(tmp_path)
    assert not found.series
    assert {aside.code for aside in found.set_aside} == {"not_hu"}
    assert f"RescaleType (0028,1054) is '{text}', which is not HU" in found.set_aside[0].text


def test_pixels_that_do_not_fit_the_header_are_told_without_a_guess(tmp_path):
    write_stack(tmp_path, even(6), Rows=4000, Columns=4000)
    with pytest.raises(
        InputError, match=r"needs 32000000 bytes for Rows x Columns of 4000 x 4000 at 16 bits"
    ) as caught:
        read_volume(tmp_path)
    assert "it is cut short, or its header is wrong" in caught.value.what


def test_slices_without_positions_are_refused_by_the_tag(tmp_path):
    write_stack(tmp_path, even(6), ImagePositionPatient=None, ImageOrientationPatient=None, SliceLocation="5")
    with pytest.raises(InputError, match=r"ImagePositionPatient \(0020,0032\): it is absent"):
        read_volume(tmp_path)
