"""The lesion map as an explanation: where the model says that the finding is."""

import jax.numpy as jnp

from ichformer.explanations.score import CannotExplainError, ExplainedScore, Explanation


def lesions(score: ExplainedScore) -> Explanation:
    """The probability of the finding for each place of a slice, from the lesion head.

    It was trained on masks to say where the finding is. It does not say which places the scores come from, and is the
    same at both levels.

    Args:
      score: of a model with a lesion head. NaN for labels whose lesions were never trained.

    Raises:
      CannotExplainError: the model has no lesion head, or none that was trained.
    """
    probabilities = score.objective.lesion_scores(score.predict(score.windowed))
    if probabilities is None or not score.objective.labels_with_lesion_loss:
        raise CannotExplainError("it has no trained lesion head")
    weights = score.weights.reshape(1, 1, 1, 1, -1)
    weighed = jnp.where(weights != 0, probabilities * weights, 0.0)
    return Explanation(maps=score.only_real(weighed.sum(axis=-1)))
