"""How good is a family with few labelled patients, from nothing, from ImageNet and from a pretraining?

Each draw takes a share of the training patients and a seed of everything: its own pretraining without labels on all
training scans, and the same labelled patients for each arm. All arms take as many steps on labelled scans, with the
same optimiser, and are evaluated as they are at the end. The plain CNN with a GRU is trained on the same patients.

Claim: none until it is run. It is a table of AUROCs of "any" by slice and by scan, and of the differences of the
pretrained arm from each other arm, with 95 % intervals over test patients.
Cost: not measured. For each share and draw it is three or four trainings, and for each draw one pretraining.
Command:
  ichformer phantom --out cohort --scans 400 --confounders 0.3 --small 0.25 --seed 21
  ichformer prepare --dataset phantom --source cohort --out store --size 112 --field-of-view-mm 208 --keep brain
  python -m experiments.low_labels store --model vit3d_nano --work low_labels --out low_labels.csv
Expected: not seen yet. Rows that are there are not trained again, so that a stopped experiment goes on. Intervals hold
for these draws: they tell of other test patients, not of other training patients.
"""

import argparse
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

import ichformer as ich
from ichformer.pipeline.store.records import Store
from ichformer.statistics.bootstrap import auroc_statistic, bootstrap
from ichformer.statistics.intervals import Interval, bca
from ichformer.statistics.metrics import auroc
from ichformer.training.config import DataConfig, ModelConfig, ObjectiveConfig, OptimConfig, TrainConfig
from ichformer.training.few_patients import drawn_part
from ichformer.training.process import own_process
from ichformer.training.trainer import run_training
from ichformer.workflows.parts.predict_store import predict_store

OBJECTIVES = {
    name: ObjectiveConfig(name=objective, mask_ratio=0.5, normalise_targets=False)
    for name, objective in {
        "slice_vit_nano": "mae",
        "slice_vit_ti": "mae",
        "vit3d_nano": "mae",
        "swin3d_nano": "simmim",
    }.items()
}
"""The families that can be taken, and how each is pretrained. Only mae was shown to teach an encoder so, by
tests/objectives/test_pretraining.py."""

Scored = tuple[np.ndarray, np.ndarray, np.ndarray, float]
"""Labels, scores and patients of some rows, and their AUROC."""

LEVELS = ("slice", "scan")
PRETRAINED, NOTHING, IMAGENET = "pretrained", "nothing", "imagenet"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One row of the table: an arm on a draw of patients."""

    model: str
    arm: str
    fraction: float
    draw: int
    steps: int
    pretrain_steps: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.model}-{self.arm}-{self.fraction:g}-{self.draw}-{self.steps}-{self.pretrain_steps}"


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--model", choices=list(OBJECTIVES), default="vit3d_nano")
    parser.add_argument("--baseline", default="cnn_gru_nano", help="the plain network on the same labels")
    parser.add_argument("--imagenet", default="", help="a file of ImageNet weights for the model; without, no such arm")
    parser.add_argument("--fractions", nargs="+", type=float, default=[0.01, 0.05, 0.1, 1.0])
    parser.add_argument("--draws", type=int, default=3, help="of patients and seeds, for each share")
    parser.add_argument("--steps", type=int, default=300, help="on labelled scans, of each arm")
    parser.add_argument("--pretrain-steps", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--num-slices", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--replicates", type=int, default=2000, help="resamples of test patients")
    parser.add_argument("--work", type=Path, required=True, help="folder for pretrainings and predictions")
    parser.add_argument("--out", type=Path, required=True, help="the table, to which rows are added")
    options = parser.parse_args(words)
    own_process()
    arms = [NOTHING, *([IMAGENET] if options.imagenet else []), PRETRAINED, options.baseline]
    plans = [
        Plan(
            model=options.model,
            arm=arm,
            fraction=fraction,
            draw=draw,
            steps=options.steps,
            pretrain_steps=options.pretrain_steps if arm == PRETRAINED else 0,
        )
        for draw in range(1, options.draws + 1)
        for fraction in options.fractions
        for arm in arms
    ]
    for plan in plans:
        drawn_part(Store.open(options.store), settings(plan, options).data)  # refuses a share before work begins
    for plan in plans:
        if not (predictions(plan, options.work).exists() and plan in written(options.out)):
            row = vars(plan) | evaluated(plan, options)
            pd.DataFrame([row]).to_csv(options.out, index=False, mode="a", header=not options.out.exists())
    report(plans, options)


def written(out: Path) -> list[Plan]:
    """The rows that the table has."""
    if not out.exists():
        return []
    rows = pd.read_csv(out)[list(Plan.__dataclass_fields__)].to_dict("records")
    return [Plan(**row) for row in rows]


def predictions(plan: Plan, work: Path) -> Path:
    """The file with the predictions of the test scans."""
    return work / "predictions" / f"{plan.name}.csv"


def evaluated(plan: Plan, options: argparse.Namespace) -> dict[str, float]:
    """Train an arm, keep its predictions of the test scans, and give its counts and its AUROCs of "any"."""
    config = settings(plan, options)
    if plan.arm == PRETRAINED:
        config = replace(config, init_from=str(pretrained(plan, options)))
    run, store = options.work / "run" / plan.name, Store.open(options.store)
    run_training(config, run)
    table = predict_store(ich.open_run(run).run, store, "test")
    predictions(plan, options.work).parent.mkdir(parents=True, exist_ok=True)
    table[["patient", "series", "slice", "any", "score_any"]].to_csv(predictions(plan, options.work), index=False)
    shutil.rmtree(run)
    part = drawn_part(store, config.data)
    drawn = part.index.iloc[part.rows("train")]
    figures = {"patients": drawn.groupby(["origin", "patient"]).ngroups, "scans": len(drawn)}
    return figures | {level: figure for level, (*_, figure) in levels(predictions(plan, options.work)).items()}


def settings(plan: Plan, options: argparse.Namespace) -> TrainConfig:
    """Those of a training on labelled scans: the same for all arms but for the model."""
    weights = options.imagenet if plan.arm == IMAGENET else ""
    name = plan.model if plan.arm in (PRETRAINED, NOTHING, IMAGENET) else plan.arm
    return TrainConfig(
        data=DataConfig(
            store=str(options.store),
            fraction=plan.fraction,
            draw=plan.draw,
            batch_size=options.batch_size,
            num_slices=options.num_slices,
        ),
        model=ModelConfig(name=name, pretrained=weights),
        optim=OptimConfig(learning_rate=options.learning_rate, warmup_steps=options.steps // 10),
        steps=plan.steps,
        seed=plan.draw,
        ema_decay=0.98,
    )


def pretrained(plan: Plan, options: argparse.Namespace) -> Path:
    """The folder of the draw's pretraining on all training scans, which is made once for all shares."""
    run = options.work / "pretrained" / f"{plan.model}-{plan.draw}-{plan.pretrain_steps}"
    config = settings(replace(plan, fraction=1.0, steps=plan.pretrain_steps), options)
    config = replace(config, objective=OBJECTIVES[plan.model])
    run_training(replace(config, data=replace(config.data, draw=1)), run)  # returns at once where it is done
    return run


def levels(file: Path) -> Mapping[str, Scored]:
    """By level: labels, scores, patients numbered from 0, and the AUROC."""
    table = pd.read_csv(file, dtype={"patient": str, "series": str})
    table = table[table["any"].notna() & table["score_any"].notna()]
    numbers = pd.factorize(table["patient"], sort=True)[0].astype(np.int64)
    found: dict[str, Scored] = {}
    for level in LEVELS:
        rows = (table["slice"].isna() == (level == "scan")).to_numpy()
        labels, scores = (table[name].to_numpy(np.float64)[rows] for name in ("any", "score_any"))
        figure = auroc(labels, scores)
        found[level] = labels, scores, numbers[rows], np.nan if figure is None else figure
    return found


def report(plans: list[Plan], options: argparse.Namespace) -> None:
    """Print the mean AUROC of each arm, and how much the pretrained arm is above each other one."""
    arms = list(dict.fromkeys(plan.arm for plan in plans))
    found = {plan: levels(predictions(plan, options.work)) for plan in plans}
    rows = []
    for fraction in options.fractions:
        of_arm = {arm: [found[p] for p in plans if (p.arm, p.fraction) == (arm, fraction)] for arm in arms}
        for arm, draws in of_arm.items():
            row = {"share": f"{100 * fraction:g} %", "arm": arm}
            for level in LEVELS:
                row[level] = f"{np.mean([draw[level][-1] for draw in draws]):.3f}"
                if arm != PRETRAINED:
                    pairs = [(a[level], b[level]) for a, b in zip(of_arm[PRETRAINED], draws, strict=True)]
                    row[f"{level}: pretrained minus this"] = said(*difference(pairs, options.replicates))
            rows.append(row)
    print(f"{options.model}: mean AUROC of any over {options.draws} draws, differences with 95 % intervals")
    print(pd.DataFrame(rows).fillna("").to_string(index=False))
    if not options.imagenet:
        print(f"ImageNet: none, as no file of weights for {options.model} was named (--imagenet)")


def difference(pairs: Sequence[tuple[Scored, Scored]], replicates: int) -> tuple[float, Interval | None]:
    """Mean difference of two arms over the draws, and its interval over test patients, the same ones in all draws."""
    n_patients = 1 + max(int(one[2].max()) for pair in pairs for one in pair)
    statistics = [auroc_statistic(*one[:3]) for pair in pairs for one in pair]
    found = bootstrap(statistics, n_patients=n_patients, replicates=replicates, seed=0, jackknife=True)

    def mean(values: np.ndarray) -> np.ndarray:
        return (values[..., ::2] - values[..., 1::2]).mean(-1)

    value = float(mean(found.values))
    return value, bca(value, mean(found.replicates), mean(found.jackknife), n_patients=n_patients)


def said(value: float, interval: Interval | None) -> str:
    return f"{value:+.3f}" + ("" if interval is None else f" ({interval.low:+.3f} to {interval.high:+.3f})")


if __name__ == "__main__":
    main()
