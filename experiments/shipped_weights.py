"""Trains the weights that come with the package: on phantoms alone, everything from a seed.

It makes a cohort of phantoms, prepares it, trains, exports the run in float16 with thresholds that are frozen on
phantoms, and evaluates it on a site whose scanner and patients lie outside the training's range. Each part that is done
is left as it is, so the same command goes on after an interruption. What real scans showed to be missing stands in the
card, ichformer/weights/README.md.

Claim: on real pictures an AUROC for "any" of 0.894 by slice and 0.792 by scan in trauma patients, and 0.972 in single
pictures (experiments/real_sets.py). The stages of the weights that are shipped ran at commits 61f1adb, 5521782 and
30d38df.
Cost: four hours on two cores, of which 164 minutes are training; --short takes a few minutes.
Command: python experiments/shipped_weights.py work
Expected: a folder work/export that opens as a run, and its figures on the held-out site. With --short, the same SHA-256
of the parameters each time, on the same versions, machine and number of cores.
"""

import argparse
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ichformer as ich
from ichformer.ct.phantom.cohort import write_phantom_cohort
from ichformer.evaluation.summary import format_summary
from ichformer.evaluation.thresholds import RULES
from ichformer.inference.trained import open_trained
from ichformer.pipeline.preparation.config import PrepareConfig
from ichformer.training.config.recipes import find_recipe
from ichformer.training.process import own_process
from ichformer.training.runs.portable import WEIGHTS_NAME
from ichformer.workflows.exports.export_run import export_run

SEED = 31
SITES = ("alder", "birch", "cedar", "dogwood", "elm", "rsna2019", "fir")
OTHER_STYLE = "fir"
RECIPE = find_recipe("shipped-weights").config
"""Of the first stage."""

# Four in ten phantoms with a bleed have a small one, which may be too small to be seen. To find nine in ten of all is
# to call most heads without a bleed positive; `predict` goes by the threshold that nine in ten of those stay below.
BY_SPECIFICITY = tuple(sorted(RULES, key=lambda rule: rule.kind != "specificity"))


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training; each begins with what the one before gave, as it is exported."""

    learning_rate: float
    schedule: str
    warmup_steps: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is made and trained."""

    scans: int
    stages: tuple[Stage, ...]
    size_px: int
    batch_size: int = 8
    num_slices: int = 8


WHOLE = Size(
    scans=1400,
    stages=(
        Stage(
            learning_rate=RECIPE.optim.learning_rate,
            schedule=RECIPE.optim.schedule,
            warmup_steps=RECIPE.optim.warmup_steps,
            steps=RECIPE.steps,
        ),
        Stage(learning_rate=0.006, schedule="cosine", warmup_steps=50, steps=1400),
        Stage(learning_rate=0.006, schedule="cosine", warmup_steps=50, steps=1200),
    ),
    size_px=128,
)
SHORT = Size(
    scans=21,
    stages=tuple(replace(stage, warmup_steps=1, steps=3) for stage in WHOLE.stages),
    size_px=64,
    batch_size=4,
    num_slices=4,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for all that is made")
    parser.add_argument("--short", action="store_true", help="a small form, to see that it gives the same twice")
    options = parser.parse_args()
    own_process()
    size, work = SHORT if options.short else WHOLE, options.work
    store = phantoms(size, work)
    if not (work / "export").exists():
        train(size, store, work)
        last = open_trained(work / f"stage{len(size.stages)}")
        export_run(last, work / "export", store=store, rules=BY_SPECIFICITY)
    weights = (work / "export" / WEIGHTS_NAME).read_bytes()
    print(f"{len(weights) / 1e6:.1f} MB, SHA-256 {hashlib.sha256(weights).hexdigest()}")
    if not options.short:
        print(format_summary(ich.open_run(work / "export").evaluate(store, out=work / "evaluation")))


def phantoms(size: Size, work: Path, *, confounders: float = 0.12, small: float = 0.4) -> ich.Store:
    """The store of the cohort; patients of the other style are its split "test"."""
    cohort = write_phantom_cohort(
        work / "cohort",
        scans=size.scans,
        seed=SEED,
        sites=SITES,
        prevalence=0.65,
        confounders=confounders,
        small=small,
    )
    config = PrepareConfig(size=size.size_px, field_of_view_mm=208.0, keep="brain")
    return ich.prepare(
        "phantom",
        source=cohort,
        out=work / "store",
        hold_out_site=OTHER_STYLE,
        fractions={"train": 0.85, "val": 0.15},
        seed=SEED,
        config=vars(config),
    )


def settings(size: Size) -> dict[str, Any]:
    """A hybrid over each slice and its neighbours, with a head for lesion maps.

    The scan's logits are the largest of its slices. It is trained on stretches of eight slices, and a weighted mean
    over all slices of a scan would thin out a bleed that a few of them show.
    """
    data = vars(RECIPE.data) | {"batch_size": size.batch_size, "num_slices": size.num_slices}
    del data["store"]
    return {"model": vars(RECIPE.model), "objective": vars(RECIPE.objective), "data": data}


def train(size: Size, store: ich.Store, work: Path) -> None:
    """From random parameters at a high rate, then from what that gave at less than half of it."""
    start = ""
    for i, stage in enumerate(size.stages):
        run, exported = work / f"stage{i + 1}", work / f"stage{i + 1}-export"
        optim = vars(RECIPE.optim) | {
            name: getattr(stage, name) for name in ("learning_rate", "schedule", "warmup_steps")
        }
        ich.train(
            store,
            out=run,
            optim=optim,
            steps=stage.steps,
            seed=SEED + i,
            init_from=start,
            ema_decay=RECIPE.ema_decay,
            checkpoint_every=RECIPE.checkpoint_every,
            **settings(size),
        )
        if not exported.exists():
            export_run(open_trained(run), exported)
        start = str(exported)


if __name__ == "__main__":
    main()
