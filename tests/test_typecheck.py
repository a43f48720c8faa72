"""The type checker under which the tests run: it finds what is wrong and changes nothing that tests rest on."""

import random

import beartype.roar
import pytest

from tests.typecheck import checked


@checked
def total(values: list[int]) -> int:
    return sum(values)


def test_a_wrong_item_is_found():
    with pytest.raises(beartype.roar.BeartypeCallHintViolation):
        total(["a"])


def test_the_items_to_check_are_not_drawn_from_the_generator_that_hypothesis_watches():
    before = random.getstate()
    assert total([1, 2, 3]) == 6
    assert random.getstate() == before
