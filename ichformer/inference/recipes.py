"""By which recipe the scans of a run were prepared, and whether new scans can be prepared by it."""

from ichformer.errors import InputError, one_line
from ichformer.inference.trained import Trained
from ichformer.pipeline.preparation.config import RECIPE_VERSION
from ichformer.training.runs.contract import recorded_recipe
from ichformer.training.runs.pretrained_run import PretrainedRun

UNKNOWN_RECIPE = (
    "The run was trained before ichformer recorded by which recipe its scans were prepared. If the recipe has changed "
    "since, its scores are a little off."
)
"""What is said with every prediction of such a run."""


def recipe_of(run: Trained | PretrainedRun) -> int | None:
    """The ``RECIPE_VERSION`` of the scans of a run, or of an ensemble's members; None where none of them says it."""
    members = (run,) if isinstance(run, PretrainedRun) else run.members
    found = (recorded_recipe(member.facts, where=member.path) for member in members)
    return next((recipe for recipe in found if recipe is not None), None)


def check_new_scans(run: Trained | PretrainedRun) -> bool:
    """Whether the recipe of a run is known to be the one by which this ichformer prepares new scans.

    Thresholds, calibration and the out-of-distribution score were frozen on voxels of that recipe. With others they
    are off by an amount that nobody knows, so a recipe that is known to differ is refused and not only noted.

    Returns:
      False where the run does not say its recipe.

    Raises:
      InputError: the run has another recipe, whose code is no longer there.
    """
    recipe = recipe_of(run)
    if recipe is None or recipe == RECIPE_VERSION:
        return recipe is not None
    facts = (run if isinstance(run, PretrainedRun) else run.members[0]).facts
    commit = one_line(facts.get("commit", ""), max_chars=60)
    raise InputError(
        f"was trained on scans of recipe {recipe}, and this ichformer prepares scans by recipe {RECIPE_VERSION}: its "
        "scores and thresholds would be off",
        where=run.path,
        fix=f"use the ichformer that trained it{f' (commit {commit})' if commit else ''}, or train from it with "
        "--init-from on a store that is prepared again",
    )
