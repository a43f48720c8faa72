"""What a model that was trained on phantoms alone is worth on real scans.

Two sets of real display pictures are scored as a stranger would: nothing of their window is told, and thresholds are
those that the run froze on phantoms. Nothing is trained on them. What was decided with an eye on them stands in the
card of the weights, ichformer/weights/README.md.

Claim: the shipped weights reach an AUROC of 0.894 by slice and 0.792 by scan in trauma patients, and 0.972 in single
pictures. Wanted are 0.90, 0.90 and 0.95.
Cost: about two minutes on two cores.
Command: python experiments/real_sets.py default ../shared/data --out real-sets
Expected: a table of AUROCs with intervals and numbers of positives, sensitivity and specificity at the frozen
threshold, and two contact sheets for each set: the ten pictures that were scored best, and the ten that were scored
worst. Open them: what is wrong there is what the phantom lacks.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

import ichformer as ich
from ichformer.ct.io.pictures import PictureStack, order_pictures, read_pictures
from ichformer.evaluation.thresholds import THRESHOLDS_NAME
from ichformer.statistics.intervals import Estimate

SHOWN, SIDE_PX = 10, 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables and the contact sheets")
    options = parser.parse_args()
    run = ich.open_run(options.run)
    options.out.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, scans in {"ctich_dev": trauma(options.data), "real_ich_slices": single(options.data)}.items():
        table = scored(run, scans)
        table.drop(columns="file").to_csv(options.out / f"{name}.csv", index=False)
        lines += figures(run, name, table)
        for right in (True, False):
            sheet(table, right=right).save(options.out / f"{name}-{'right' if right else 'wrong'}.png")
    print(pd.DataFrame(lines).to_string(index=False))


def trauma(data: Path) -> dict[str, pd.DataFrame]:
    """The slices of each patient of CT-ICH: file and label."""
    labels = pd.read_csv(data / "ctich_dev" / "labels.csv", dtype={"patient": str})
    labels["file"] = [data / "ctich_dev" / file for file in labels["file"]]
    return {patient: rows.rename(columns={"ich": "any"}) for patient, rows in labels.groupby("patient")}


def single(data: Path) -> dict[str, pd.DataFrame]:
    """Single pictures, each of a patient of its own: file and label."""
    labels = pd.read_csv(data / "real_ich_slices" / "labels.csv")
    labels["file"] = [data / "real_ich_slices" / file for file in labels["file"]]
    labels = labels.rename(columns={"hemorrhage": "any"})
    return {Path(row.file).stem: labels.iloc[[i]] for i, row in enumerate(labels.itertuples())}


def scored(run: ich.TrainedModel, scans: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row for each slice and one for each scan, as ``ichformer evaluate`` takes them."""
    rows = []
    for patient, labels in scans.items():
        known = dict(zip(labels["file"], labels["any"], strict=True))
        files = order_pictures(list(known))
        found = run.predict(read_pictures(PictureStack(files=files)))
        reason = "" if found.not_scored is None else found.not_scored.text
        slices = found.slice_scores.get("any", np.full(len(files), np.nan))
        scan = found.scan_scores.get("any", np.nan)
        for file, score in zip(files, slices, strict=True):
            rows.append(_row(patient, file.stem, int(known[file]), score, reason) | {"file": file})
        rows.append(_row(patient, "", int(max(known.values())), scan, reason))
    return pd.DataFrame(rows)


def _row(patient: str, slice_name: str, label: int, score: float, reason: str) -> dict[str, object]:
    return {"patient": patient, "series": patient, "slice": slice_name, "any": label, "score_any": score} | {
        "not_scored": reason
    }


def figures(run: ich.TrainedModel, name: str, table: pd.DataFrame) -> list[dict[str, str]]:
    """The AUROC and the frozen operating point of each level."""
    file = run.path / THRESHOLDS_NAME
    summary = ich.evaluate(table.drop(columns="file"), thresholds=file if file.exists() else None)
    lines = []
    for level in summary.levels:
        found = level.labels[0]
        line = {"set": name, "level": level.level, "n": f"{found.n}", "positive": f"{found.n_positive}"}
        line["not scored"] = f"{int((table['not_scored'] != '').sum())}"
        line["AUROC"] = _text(found.auroc)
        for point in found.operating_points[:1]:
            line |= {"sensitivity": _text(point.sensitivity), "specificity": _text(point.specificity)}
        lines.append(line)
    return lines


def _text(estimate: Estimate) -> str:
    if estimate.value is None:
        return "not estimable"
    interval = (
        "no interval" if estimate.interval is None else f"{estimate.interval.low:.3f}-{estimate.interval.high:.3f}"
    )
    return f"{estimate.value:.3f} ({interval})"


def sheet(table: pd.DataFrame, *, right: bool) -> Image.Image:
    """The slices with the clearest errors, or the clearest successes: five with a bleed above five without."""
    slices = table[(table["slice"] != "") & table["score_any"].notna()]
    whole = Image.new("L", (SHOWN // 2 * SIDE_PX, 2 * SIDE_PX))
    for row, label in enumerate((1, 0)):
        highest_first = right == bool(label)
        chosen = slices[slices["any"] == label].sort_values("score_any", ascending=not highest_first)
        chosen = chosen.drop_duplicates("patient").head(SHOWN // 2)
        for column, one in enumerate(chosen.itertuples()):
            picture = Image.open(str(one.file)).convert("L").resize((SIDE_PX, SIDE_PX))
            ImageDraw.Draw(picture).text((4, 4), f"{one.slice} {'bleed' if label else 'none'} {one.score_any:.2f}", 255)
            whole.paste(picture, (column * SIDE_PX, row * SIDE_PX))
    return whole


if __name__ == "__main__":
    main()
