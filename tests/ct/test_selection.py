import pytest

from ichformer.ct.io.dicom.series import find_series
from ichformer.ct.selection import REFUSAL_CODES, is_sharp, reason_against, select_series
from ichformer.errors import InputError
from tests.ct.builders import ramp, write_series

CORONAL = (1, 0, 0, 0, 0, -1)


def series_of(folder, **tags):
    """A head of 30 slices of 5 mm, 145 mm, unless told otherwise."""
    count, step_mm = tags.pop("count", 30), tags.pop("step_mm", 5.0)
    heights_mm = [step_mm * i for i in range(count)]
    write_series(folder, ramp(count, 4, 4), heights_mm, **{"SliceThickness": step_mm, **tags})
    return find_series(folder).series[0]


# Names of series seen in CQ500 and elsewhere.
@pytest.mark.parametrize(
    ("description", "code"),
    [
        ("CT Plain", None),
        ("CT PLAIN THIN", None),
        ("CT 55mm Plain-2", None),
        ("CT PRE CONTRAST 5MM STD", None),
        ("CT PRE CONTRAST THIN", None),
        ("CT 0.625mm", None),
        ("HEAD W/O CONTRAST", None),
        ("Head without contrast", None),
        ("HEAD NON-CON", None),
        ("CT HEAD C-", None),
        ("POST FOSSA", None),
        ("", None),
        ("CT POST CONTRAST", "contrast"),
        ("CT 5mm POST CONTRAST", "contrast"),
        ("CT 4cc sec 150cc D3D on", "contrast"),
        ("HEAD C+", "contrast"),
        ("CTA HEAD", "contrast"),
        ("CT BONE", "bone_kernel"),
        ("CT I To S BONE PLAIN", "bone_kernel"),
        ("CT Plain MPR", "reformat"),
        ("HEAD COR", "reformat"),
        ("C-SPINE PLAIN", "other_region"),
        ("NECK 3MM", "other_region"),
    ],
)
def test_descriptions(tmp_path, description, code):
    reason = reason_against(series_of(tmp_path, SeriesDescription=description))
    assert (reason and reason.split(":")[0]) == code


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"ContrastBolusAgent": "OMNIPAQUE 350"}, "contrast"),
        ({"ContrastBolusAgent": "NONE"}, None),
        ({"ContrastBolusAgent": "IODINE", "SeriesDescription": "PLAIN"}, "contrast"),
        ({"ConvolutionKernel": "BONEPLUS"}, "bone_kernel"),
        ({"BodyPartExamined": "CHEST"}, "other_region"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "reformat"),
        ({"orientation": CORONAL}, "not_axial"),
        ({"count": 5}, "few_slices"),
        ({"count": 10}, "short"),
        ({"Modality": "MR"}, "not_ct"),
        ({"PixelSpacing": None}, "no_geometry"),
    ],
)
def test_tags(tmp_path, tags, code):
    reason = reason_against(series_of(tmp_path, **tags))
    assert (reason and reason.split(":")[0]) == code
    assert code is None or code in REFUSAL_CODES


@pytest.mark.parametrize(
    "kernel", ["BONE", "BONEPLUS", "EDGE", "B60s", "H70h", "Hr60s", "J70h", "U75u", "FC30", "FC81", "YC", "D"]
)
def test_sharp_kernels(kernel):
    assert is_sharp(kernel) == (kernel != "D")  # Philips' D is between soft and sharp, and heads are read on it


@pytest.mark.parametrize(
    "kernel", ["", "STANDARD", "SOFT", "H31s", "H40s", "J40f\\3", "Hr38h", "FC21", "FC68", "UB", "UA", "B"]
)
def test_soft_kernels(kernel):
    assert not is_sharp(kernel)


@pytest.mark.slow
def test_one_series_of_a_study_is_chosen_and_the_others_get_reasons(tmp_path):
    thin = {"count": 240, "step_mm": 0.625}
    series_of(tmp_path / "a", series_uid="1.1", SeriesDescription="CT PLAIN THIN", **thin)
    series_of(tmp_path / "b", series_uid="1.2", SeriesDescription="CT Plain")
    series_of(tmp_path / "c", series_uid="1.3", SeriesDescription="CT BONE")
    series_of(tmp_path / "d", series_uid="1.4", SeriesDescription="CT POST CONTRAST")
    selection = select_series(find_series(tmp_path))
    assert selection.series.uid == "1.2"
    assert selection.why == "30 slices of 5 mm over 145 mm: of 2 that would do, nearest to 5 mm, then longest"
    assert {series.uid: reason.split(":")[0] for series, reason in selection.others} == {
        "1.1": "second_choice",
        "1.3": "bone_kernel",
        "1.4": "contrast",
    }


def test_nothing_that_fits_names_every_reason(tmp_path):
    series_of(tmp_path / "a", series_uid="1.1", SeriesDescription="CT BONE")
    series_of(tmp_path / "b", series_uid="1.2", SeriesDescription="CT POST CONTRAST")
    with pytest.raises(InputError, match=r"none of 2 series .* bone_kernel.* contrast"):
        select_series(find_series(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no files"):
        select_series(find_series(tmp_path / "empty"))


def test_real_heads(real_data):
    ge = select_series(find_series(real_data / "dcm_qa_ct" / "GE"))
    assert (len(ge.series.headers), ge.others) == (28, ())
    tilted = select_series(find_series(real_data / "dcm_qa_ct" / "Philips" / "S21610"))
    assert [reason.split(":")[0] for _, reason in tilted.others] == ["second_choice"]
