"""The type checker that every test runs under: beartype, with an int allowed where a float is (PEP 484)."""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

from beartype import BeartypeConf, beartype
from beartype._check.code import codemain
from jaxtyping import config

# beartype checks one item of a list or tuple, which it draws with Python's `random`. Background threads, such as a
# loader's, call checked functions too. Hypothesis fails where they change the state of that generator while it draws,
# so beartype gets a generator of its own.
codemain.getrandbits = random.Random(0).getrandbits

_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(thing: Callable[..., Any]) -> Callable[..., Any]:
    return thing if config.jaxtyping_disable else _checked(thing)


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """For what users meet who have no checker; and for a thousand calls like one that was checked: it takes most of
    their time.
    """
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", False)
