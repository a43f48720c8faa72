"""Contrast medium in tags and in words of many languages; its denial is none."""

import pydicom
import pytest

from ichformer.ct.contrast import contrast_in_words
from ichformer.ct.io.dicom.series import find_series
from ichformer.ct.selection import reason_against, select_series
from tests.ct.builders import even, write_stack

PLAIN = [
    *(
        "",
        "HEAD 5MM",
        "CT Plain",
        "HEAD W/O CONTRAST",
        "Head wo",
        "CT_HEAD-W O CONTRAST",
        "NONCONTRAST",
        "non-enhanced",
    ),
    *("no intravenous contrast", "NO CONTRAST", "CONTRAST: NONE", "contrast free", "CT HEAD C-", "HEAD -C", "C(-)"),
    *("Schädel nativ", "CCT ohne KM", "CT Kopf o. KM", "Kopf ohne Kontrastmittel", "KM-", "vor KM", "Schaedel_nativ"),
    *("TÊTE SANS INJECTION", "Crane sans produit de contraste", "Tete avant injection", "TETE SANS IV"),
    *("CRANEO SIN CONTRASTE", "TC CRANEO S/CONTRASTE", "CRANEO SIMPLE", "CRANIO S/C", "CRANIO SEM CONTRASTE"),
    *("cranio senza mdc", "TC ENCEFALO SENZA MEZZO DI CONTRASTO", "cranio diretta", "cranio basale"),
    *("Hersenen zonder contrast", "Hersenen blanco", "Caput uten kontrast", "Skalle utan kontrast"),
    *("glowa bez kontrastu", "beyin kontrasts\u0131z", "Голова без контраста", "头颅平扫", "頭部単純", "頭部造影なし"),
    *("POST FOSSA", "POST-OP HEAD", "Head S/P craniotomy", "C-SPINE", "BASAL GANGLIA", "HEAD - 5.0"),
]
CONTRAST = [
    *("CT POST CONTRAST", "4cc sec 150cc", "HEAD C+", "HEAD +C", "C(+)", "CTA HEAD", "WITH CONTRAST", "w/ contrast"),
    *("WITHOUT AND WITH CONTRAST", "WITH AND WITHOUT CONTRAST", "W/WO CONTRAST", "contrast-enhanced", "omnipaque 300"),
    *("Schädel mit KM", "mit Kontrastmittel", "nach KM", "Kopf K.M.", "KM+", "nativ und KM", "ohne und mit KM"),
    *("TÊTE APRÈS INJECTION", "TETE AVEC INJECTION", "TETE INJECTEE", "TETE IV+", "Tete PDC"),
    *("CRANEO CON CONTRASTE", "craneo contrastado", "CRANEO CON CIV", "C/C", "SIMPLE Y CONTRASTADA"),
    *("cranio con mdc", "cranio con mezzo di contrasto", "CRANIO C/ CONTRASTE", "cranio com contraste"),
    *("Hersenen met contrast", "na contrast", "Hodet med kontrast", "glowa z kontrastem", "beyin kontrastl\u0131"),
    *("Голова \u0441 контрастом", "头颅增强", "頭部造影", "平扫+增强"),
]


@pytest.mark.parametrize("text", PLAIN)
def test_names_of_plain_series(text):
    assert contrast_in_words(text) is None


@pytest.mark.parametrize("text", CONTRAST)
def test_names_of_series_with_contrast(text):
    assert contrast_in_words(text)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"ContrastBolusAgent": "NO CONTRAST"}, None),
        ({"ContrastBolusAgent": "None given"}, None),
        ({"ContrastBolusAgent": "ohne KM"}, None),
        ({"ContrastBolusAgent": "WITHOUT", "ContrastBolusRoute": "IV"}, None),
        ({"ContrastBolusAgent": "NON-IONIC 300"}, "ContrastBolusAgent NON-IONIC 300"),
        ({"ContrastBolusAgent": "CE"}, "ContrastBolusAgent CE"),
        ({"ContrastBolusAgent": "", "ContrastBolusVolume": "80"}, "ContrastBolusVolume 80"),
        ({"ContrastBolusAgent": "NONE", "ContrastBolusVolume": "80"}, "ContrastBolusVolume 80"),
        ({"ContrastBolusVolume": "0"}, None),
        ({"ContrastBolusTotalDose": "50"}, "ContrastBolusTotalDose 50"),
        ({"ContrastFlowRate": "4"}, "ContrastFlowRate 4"),
        ({"ContrastBolusRoute": "IV"}, "ContrastBolusRoute IV"),
        ({"ContrastBolusRoute": "none"}, None),
        ({"SeriesDescription": "", "ProtocolName": "Kopf mit KM"}, "the description says 'km'"),
        ({"SeriesDescription": "Kopf nativ", "ProtocolName": "Kopf mit KM"}, None),
    ],
    ids=str,
)
def test_tags(tmp_path, tags, said):
    write_stack(tmp_path, even(20), **tags)
    assert reason_against(find_series(tmp_path).series[0]) == (said and f"contrast: {said}")


def test_the_code_of_an_agent_counts(tmp_path):
    agent = pydicom.Dataset()
    agent.CodeMeaning = "Iohexol"
    write_stack(tmp_path, even(20), ContrastBolusAgentSequence=[agent])
    assert reason_against(find_series(tmp_path).series[0]) == "contrast: ContrastBolusAgent Iohexol"


def test_the_plain_series_of_a_study_is_chosen(tmp_path):
    for i, tags in enumerate(
        [
            {"SeriesDescription": "HEAD 5MM", "ContrastBolusVolume": "80", "ContrastBolusRoute": "IV"},
            {"SeriesDescription": "Schaedel mit KM"},
            {"SeriesDescription": "Schaedel nativ", "ContrastBolusAgent": "NO CONTRAST"},
            {"SeriesDescription": "Perf dyn 5.0"},
        ]
    ):
        write_stack(tmp_path / str(i), even(20), seed=i, series_uid=f"1.2.{i}", **tags)
    selection = select_series(find_series(tmp_path))
    assert selection.series.description == "Schaedel nativ"
    assert [reason.split(":")[0] for _, reason in selection.others] == ["contrast", "contrast", "dynamic"]
