import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichformer.ct.audit import Audit
from ichformer.ct.known_words import known_kernel, known_words, without_free_text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("CT HEAD W/O 5.0 H30s", "CT HEAD W/O 5.0 H30s"),
        ("STD BRAIN 5MM", "STD BRAIN 5MM"),
        ("Schaedel nativ, Quaxley", "Schaedel nativ"),
        ("ANNA QUAXLEY 17.02.1943", ""),
        ("MRN 90417731 head 19430217", "head"),
        ("GE MEDICAL SYSTEMS LightSpeed VCT", "GE MEDICAL SYSTEMS LightSpeed VCT"),
        ("Head\u202e\x1b[31m", "Head"),
        ("", ""),
    ],
)
def test_words_of_the_list_kernels_and_lengths_are_kept(text, kept):
    assert known_words(text) == kept


@pytest.mark.parametrize("name", ["STANDARD", "BONEPLUS", "H30s", "Hr40f\\3", "FC68", "UB", "B"])
def test_kernels_of_makers_are_kept(name):
    assert known_kernel(name) == name


@given(st.text(alphabet=st.sampled_from("HEADhead 5.0mmquaxley_-/,\\12Bone")))
def test_what_was_cut_down_stays_as_it_is(text):
    assert known_words(known_words(text)) == known_words(text)
    audit = without_free_text(Audit(description=text, kernel=text, manufacturer=text, modality=text, age_years=7.9))
    assert without_free_text(audit) == audit
    assert "quaxley" not in str(audit).lower()


def test_a_maker_that_is_not_on_the_list_is_another_one():
    assert without_free_text(Audit(manufacturer="Quaxley & Sons")).manufacturer == "other"
    assert without_free_text(Audit()).manufacturer == ""
