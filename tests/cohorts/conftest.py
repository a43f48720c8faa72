"""No deadline for a single example: the machine may be busy, and the first call of a function checks its types."""

from collections.abc import Iterator

import hypothesis
import pytest

hypothesis.settings.register_profile("cohorts", deadline=None)
