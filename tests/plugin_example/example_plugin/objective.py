"""An objective: classification in which the scan's loss counts twice."""

from dataclasses import dataclass

import ichformer as ich


@dataclass(frozen=True, kw_only=True)
class ScansCountTwice(ich.Classification):
    """A ``Classification`` with a loss of its own: runs of it evaluate and predict like any other."""

    def loss(self, params, batch, rng, train):
        """Sum and weight of the loss over the scans of a batch, and metrics that are logged."""
        total, weight, metrics = super().loss(params, batch, rng, train)
        return total + metrics["scan_loss"][0], weight, metrics


@ich.register_objective("example_scans_count_twice")
def build(model, settings, label_set):
    """The objective of a run, from its model, its settings and the labels of its store."""
    del label_set
    return ScansCountTwice(model=model, windows=settings.display_windows, neighbours=settings.neighbours)
