"""An example of a plugin for ichformer: importing it registers a model, an objective, a cohort and a corruption."""

from example_plugin import cohort, corruption, model, objective

__all__ = ["cohort", "corruption", "model", "objective"]
