"""Input x gradient: what the score would change by, if it were linear in the input."""

from ichformer.explanations.score import ExplainedScore, Explanation


def input_x_gradient(score: ExplainedScore) -> Explanation:
    """Gradient times input (Shrikumar et al. 2016, "Not just a black box", arXiv 1605.01713), summed over windows.

    The input is counted from ``ExplainedScore.reference``, plain brain, and not from black. So the map says what a
    voxel does because it is not as bright as plain brain. Exact for a linear model; elsewhere a first guess.

    Args:
      score: of any model with a gradient.
    """
    windowed = score.windowed
    maps = ((windowed - score.reference) * score.gradient(windowed)).sum(axis=-1)
    return Explanation(maps=score.only_real(maps))
