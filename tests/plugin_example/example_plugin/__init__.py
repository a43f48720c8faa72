"""An example of a plugin for ichformer: importing it registers a model, an encoder, an objective and so on."""

from example_plugin import cohort, corruption, encoder, model, objective

__all__ = ["cohort", "corruption", "encoder", "model", "objective"]
