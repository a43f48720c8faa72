"""What a test registers is gone after it."""

from typing import Any

import pytest

from ichformer.registry import Registry


def forget_after(monkeypatch: pytest.MonkeyPatch, *registries: Registry[Any]) -> None:
    """Gives the registries back as they are now when the test ends."""
    for registry in registries:
        monkeypatch.setattr(registry, "_things", dict(registry._loaded()))
        monkeypatch.setattr(registry, "_makers", dict(registry._makers))
