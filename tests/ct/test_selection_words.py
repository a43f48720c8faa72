"""Series that a study holds beside its plain head CT, by what their names, kernels and types say in many languages."""

import pytest

from ichformer.ct.contrast import contrast_in_words
from ichformer.ct.io.dicom.series import find_series
from ichformer.ct.selection import REFUSAL_CODES, is_sharp, reason_against, select_series
from tests.ct.builders import even, write_stack


def code_of(folder, **tags):
    write_stack(folder, even(30), **tags)
    (series,) = find_series(folder).series
    reason = reason_against(series)
    assert reason is None or reason.split(":")[0] in REFUSAL_CODES
    return reason and reason.split(":")[0]


@pytest.mark.parametrize(
    "text",
    [
        *("Kopf venös", "Schädel arteriell", "po kontraście", "kontrasztanyaggal", "varjoaineella", "με σκιαγραφικό"),
        *("dengan kontras", "có tiêm thuốc cản quang", "头颅强化", "fase venosa", "Spätphase", "phase tardive"),
        *("head w&w/o", "Head w/ con", "pre & post", "HEAD CONTR", "po k.l.", "עם חומר ניגוד", "مع صبغة", "HEAD W"),
        *("CIRCLE OF WILLIS", "Head 100 ml", "cu contrast", "после КУ"),  # noqa: RUF001, it is Cyrillic
    ],
)
def test_contrast_is_seen_in_words(text):
    assert contrast_in_words(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        *("TAC CRANEO SIMPLE", "ilman varjoainetta", "kontrasztanyag nélkül", "natív koponya", "tanpa kontras"),
        *("không tiêm", "不强化", "bez k.l.", "ללא חומר ניגוד", "بدون صبغة", "χωρίς σκιαγραφικό", "DELAYED 24H"),
        *("HEAD CONTROL POST 24H", "iv bleed", "IV ventricle", "Kontrolle", "COMBINED HEAD", "WEST WING"),
        "без КУ",  # noqa: RUF001, it is Cyrillic
    ],
)
def test_words_that_say_no_contrast(text):
    assert contrast_in_words(text) is None


@pytest.mark.parametrize("kernel", ["I70f\\3", "D70f", "HD BONE", "H_SHARP_C", "H_VSHARP_C", "AIDR BONE", "Tr60"])
def test_more_sharp_kernels(kernel):
    assert is_sharp(kernel)


@pytest.mark.parametrize("kernel", ["I30f\\3", "D30f", "H_SOFT_C", "Tr20f", "HEAD STANDARD", "SMOOTH"])
def test_more_soft_kernels(kernel):
    assert not is_sharp(kernel)


@pytest.mark.parametrize(
    ("description", "code"),
    [
        *((text, None) for text in ("TAC CRANEO", "TAC CEREBRAL SIMPLE", "Tac cranio basale", "Kopf 5.0 H30s")),
        *((text, None) for text in ("Monoenergetic 70 keV", "Head temporal lobe", "Encéphale", "DE mixed 0.6")),
        *((text, "bone_kernel") for text in ("CRANE OS", "HUESO 5.0", "osso", "Kopf 1.0 H60s", "Head FC81", "骨窗")),
        *((text, "bone_kernel") for text in ("okno kostne", "Felsenbein", "костный", "hersenen bot", "Kopf 1 J70h")),
        *((text, "other_region") for text in ("HALS", "HWS", "cou TSA", "cuello", "LSPINE", "Becken", "CBCT", "胸部")),
        *((text, "spectral") for text in ("DE Head VNC", "Mono 40 keV", "Monoenergetic Plus 190 keV", "Mono+")),
        *((text, "spectral") for text in ("CaSupp 25 [HU*]", "Z effective", "Virtual unenhanced", "40 keV")),
        ("AX THICK MIPS", "reformat"),
    ],
)
def test_more_descriptions(tmp_path, description, code):
    assert code_of(tmp_path, SeriesDescription=description, SpecificCharacterSet="ISO_IR 192") == code


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"BodyPartExamined": "LSPINE"}, "other_region"),
        ({"BodyPartExamined": "HEART"}, "other_region"),
        ({"BodyPartExamined": "FOOT"}, "other_region"),
        ({"BodyPartExamined": "SKULL"}, None),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "VNC"]}, "spectral"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MD_IODINE_WATER"]}, "spectral"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MONO_E", "40_KEV"]}, "spectral"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MONO_E", "70_KEV"]}, None),
    ],
)
def test_more_tags(tmp_path, tags, code):
    assert code_of(tmp_path, **tags) == code


@pytest.mark.parametrize(
    ("keyword", "values", "code"),
    [
        ("ContrastBolusAgent", [""] * 6 + ["OMNIPAQUE 300"] * 24, "contrast"),
        ("SeriesDescription", ["Head"] * 28 + ["Head +C"] * 2, "contrast"),
        ("ConvolutionKernel", ["H30s"] * 3 + ["H70h"] * 27, "bone_kernel"),
    ],
)
def test_what_is_said_of_some_slices_is_said_of_all(tmp_path, keyword, values, code):
    assert code_of(tmp_path, each=lambda i: {keyword: values[i]}) == code


def test_more_than_a_head(tmp_path):
    write_stack(tmp_path, even(100))
    (series,) = find_series(tmp_path).series
    assert reason_against(series) == "other_region: covers 495 mm, more than a head"


@pytest.mark.parametrize(
    "tags",
    [
        {"SeriesDescription": "Mono 70 keV"},
        {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "AVERAGE"]},
    ],
)
def test_what_was_acquired_comes_before_what_was_computed(tmp_path, tags):
    write_stack(tmp_path / "a", even(30), series_uid="1.2.1", **tags)
    write_stack(tmp_path / "b", even(30), seed=1, series_uid="1.2.2", SeriesDescription="Head 5.0")
    chosen = select_series(find_series(tmp_path))
    assert chosen.series.uid == "1.2.2"
    assert [reason.split(":")[0] for _, reason in chosen.others] == ["second_choice"]
