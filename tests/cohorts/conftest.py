"""No deadline for a single example: the machine may be busy, and the first call of a function checks its types."""

import hypothesis

hypothesis.settings.register_profile("cohorts", deadline=None)
hypothesis.settings.load_profile("cohorts")
