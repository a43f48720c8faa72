"""What a process that a test starts is given."""

import os


def with_one_device(**more: str) -> dict[str, str]:
    """The environment of these tests and ``more``, without the eight emulated devices."""
    return os.environ | {"XLA_FLAGS": "--xla_backend_optimization_level=0"} | more
