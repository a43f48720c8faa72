"""The command line: each command parses, calls one function and prints what it returns."""

import contextlib
import functools
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from ichformer import LABELS
from ichformer.errors import InputError, Stopped, mendable, one_line
from ichformer.faults import Fault
from ichformer.files.writing import appearing_whole, check_folder, path_text, shown
from ichformer.process.streams import delivered, printable
from ichformer.process.workers import ending_in_order
from ichformer.training.config import TrainConfig


def inspect(
    path: Positional[Path],
    /,
    *,
    window: tuple[float, float] | None = None,
    json: bool = False,
    sheet: Path | None = None,
) -> None:
    """Says what scans a folder holds and what is odd about them.

    Args:
      path: DICOM (a folder, a file, a zip or tar, a DICOMDIR), a NIfTI file or pictures.
      window: for display pictures, the HU of black and of white, such as 0 80; estimated from the pictures by default.
      json: print one JSON object.
      sheet: write a contact sheet as this PNG: of the series that is chosen, or else of the first readable one.
    """
    from ichformer.ct.contact_sheet import contact_sheet
    from ichformer.ct.inspect import format_inspection, inspect_found
    from ichformer.ct.io.scans import find_scans, read_volume

    scans = find_scans(path)
    found = inspect_found(scans, window_hu=window)
    if sheet is not None:
        told = zip(scans.series, found["series"], strict=True)
        readable = [(said["choice"].startswith("chosen"), s) for s, said in told if said["shape"] is not None]
        if not readable:
            raise InputError("holds no readable series to draw", where=path, mend="see the warnings without --sheet")
        _, drawn = max(readable, key=lambda each: each[0])
        with appearing_whole(sheet) as file:
            contact_sheet(read_volume(drawn, window_hu=window)).save(file, format="PNG")
    _print(found, format_inspection(found), json)
    if failed := [note for series in found["series"] for note in series["warnings"] if note.startswith("failed: ")]:
        raise Fault(f"{len(failed)} of {len(found['series'])} series could not be read; the first: {failed[0]}")


def phantom(
    *,
    out: Path,
    scans: int = 20,
    seed: int = 0,
    prevalence: float = 0.5,
    confounders: float = 0.0,
    small: float = 0.0,
    site: tuple[str, ...] = (),
    json: bool = False,
) -> None:
    """Writes synthetic head CT with bleeds of all five subtypes, as DICOM series with masks and labels.

    Args:
      out: folder to make.
      scans: how many.
      seed: the same seed gives the same files.
      prevalence: part of the scans that bleed.
      confounders: chance of each confounder (calcification, fracture, old infarct, metal, motion...) in a scan.
      small: part of the bleeds that are small, 1 to 4 ml.
      site: the sites to imitate (alder, birch, cedar, dogwood, elm, rsna2019); all but rsna2019 by default.
      json: print one JSON object.
    """
    from ichformer.ct.phantom.cohort import write_phantom_cohort

    written = write_phantom_cohort(
        out, scans=scans, seed=seed, sites=site or None, prevalence=prevalence, confounders=confounders, small=small
    )
    _print({"cohort": path_text(written), "scans": scans}, shown(written), json)


def prepare(
    *,
    dataset: Literal["bhsd", "cq500", "ctich", "folder", "instance", "phantom", "rsna2019"],
    source: Path,
    out: Path | None = None,
    labels: Path | None = None,
    columns: tuple[str, ...] = (),
    label_names: tuple[str, ...] = (),
    targets: tuple[str, ...] = (),
    patient_from: str = "",
    example_labels: Path | None = None,
    size: int = 256,
    field_of_view_mm: float | None = 256.0,
    slice_spacing_mm: float | None = None,
    missing: Literal["keep", "refuse", "interpolate"] = "keep",
    keep: Literal["head", "brain"] = "head",
    window: tuple[float, float] | None = None,
    hold_out_site: str = "",
    seed: int = 0,
    patient_key: Path | None = None,
    with_uids: bool = False,
    workers: int | None = None,
    cluster: str | None = None,
    json: bool = False,
) -> None:
    """Turns a cohort into a store to train from. Run again, it does only what is missing.

    Args:
      dataset: which cohort's files these are.
      source: where they lie; only read.
      out: the store's folder; needed unless example-labels is given.
      labels: tables of labels that do not lie with the scans: the CSV of a folder, rsna2019 or ctich; for cq500
        reads.csv, or a folder that holds it and BHX.
      columns: with a folder, what columns of its CSV mean, such as any=ICH path=file; by their names by default.
      label_names: with a folder, the columns of its CSV that are labels (0, 1 or empty), in place of the six kinds of
        haemorrhage, such as bleed fracture.
      targets: with a folder, the columns of its CSV that are numbers to predict, with the unit in the name, such as
        volume_ml age_years.
      patient_from: with a folder, where a scan's patient is known from: folder (the one directly below the source that
        holds the scan), or a pattern with one group on the path below the source, such as 'sub-([0-9]+)'. The CSV's
        column patient goes before it; by default the PatientID of the DICOM header is taken.
      example_labels: with a folder, only write a CSV of labels with a row for each scan to this file, to be filled in.
      size: rows and columns of a prepared slice.
      field_of_view_mm: side of the square round the head; the head's own box where None.
      slice_spacing_mm: resample the slices to this distance; as they are by default.
      missing: what becomes of slices that the positions say are missing.
      keep: head, or brain: everything outside the skull's inside becomes air, the face with it.
      window: for display pictures, the HU of black and of white, such as 0 80; estimated from the pictures by default.
      hold_out_site: this site becomes the test split, the others train and validation.
      seed: of the split by patient.
      patient_key: with a folder, the file patient.key of another store, so that both call a patient by the same
        pseudonym; by default the store makes a key of its own.
      with_uids: with a folder, keep StudyInstanceUIDs, SeriesInstanceUIDs, SOPInstanceUIDs and names of files in the
        store; by default they are replaced by pseudonyms and numbers. Patients always get pseudonyms.
      workers: processes; one a core by default.
      cluster: a Dask scheduler to work on instead, such as tcp://HOST:8786; its workers see the same files.
      json: print one JSON object.
    """
    from ichformer.cohorts.folder.adapter import read_folder, write_example_labels
    from ichformer.cohorts.leakage import check_leakage
    from ichformer.cohorts.patients import count_patients
    from ichformer.cohorts.registry import COHORTS
    from ichformer.cohorts.splits import hold_out_site as hold_out
    from ichformer.cohorts.splits import split_by_patient, split_warnings
    from ichformer.cohorts.tables import read_left_out
    from ichformer.labels import SIX, LabelSet
    from ichformer.pipeline.preparation.cluster import cluster_executor
    from ichformer.pipeline.preparation.config import PrepareConfig
    from ichformer.pipeline.preparation.prepare import prepare as run
    from ichformer.pipeline.store.card import write_card

    if cluster is not None and workers is not None:
        raise InputError("the cluster has workers of its own", where="--workers", mend="leave it out with --cluster")
    of_folder: dict[str, Any] = {
        "--columns": columns,
        "--label-names": label_names,
        "--targets": targets,
        "--patient-from": patient_from,
        "--example-labels": example_labels,
        "--patient-key": patient_key,
        "--with-uids": with_uids,
    }
    if dataset != "folder" and (wrong := [name for name, value in of_folder.items() if value]):
        raise InputError("goes with --dataset folder only", where=wrong[0], mend="leave it out")
    label_set = LabelSet(names=label_names or SIX.names, targets=targets)
    if example_labels is not None:
        n_scans = write_example_labels(source, example_labels, label_set=label_set)
        said = f"{shown(example_labels)}: a row for each of {n_scans} scans. Fill in the labels (0, 1 or nothing), "
        said += "take out columns that you do not need, and give it as --labels"
        _print({"example_labels": path_text(example_labels), "scans": n_scans}, said, json)
        return
    if out is None:
        raise InputError("is missing", where="--out", mend="name the store's folder")
    notes: tuple[str, ...] = ()
    with contextlib.ExitStack() as opened:
        if dataset == "folder":
            # The table of slice labels has true names, so it must not stay in the store.
            cache = opened.enter_context(tempfile.TemporaryDirectory(prefix="ichformer-"))
            folder = read_folder(
                source,
                cache=cache,
                labels=labels,
                patient_from=patient_from,
                columns=columns,
                label_set=label_set,
            )
            index, notes = folder.index, folder.notes
        else:
            index = COHORTS[dataset](source, cache=out / "cache", labels=labels)
        if hold_out_site:
            index = hold_out(index, site=hold_out_site, seed=seed, label_set=label_set)
        elif not index["split"].any():
            index = split_by_patient(index, seed=seed, label_set=label_set)
        check_leakage(index[index["split"].isin(["train", "val"])], index[index["split"] == "test"])
        config = PrepareConfig(
            size=size, field_of_view_mm=field_of_view_mm, slice_spacing_mm=slice_spacing_mm, missing=missing, keep=keep
        )
        executor = None if cluster is None else opened.enter_context(cluster_executor(cluster))
        store = run(
            index,
            out,
            label_set=label_set,
            config=config,
            window_hu=window,
            executor=executor,
            workers=workers,
            patient_key=patient_key,
            with_uids=with_uids,
        )
    card = write_card(store)
    rejects = len(index) - len(store.index)
    unused = len(read_left_out(out / "cache" / f"{dataset}_left_out.csv"))
    patients = count_patients(store.index)
    warnings = [*patients.warnings(), *split_warnings(store.index)]
    found = {
        "store": path_text(out),
        "series": len(store.index),
        "rejects": rejects,
        "unused": unused,
        "patients": patients.n_patients,
        "patients_known_from": patients.scans_by_source,
        "notes": list(notes),
        "warnings": warnings,
        "card": path_text(card),
    }
    text = f"{shown(out)}: {len(store.index)} series, {rejects} left out (rejects.csv says why)"
    text += f", {unused} of no use (cache/{dataset}_left_out.csv)" * bool(unused)
    lines = [text, f"{patients.known_from()}; {patients.n_patients} in all", *(f"note: {note}" for note in notes)]
    lines += [*(f"warning: {warning}" for warning in warnings), f"card: {shown(card)}"]
    _print(found, "\n".join(lines), json)


def train(config: Annotated[TrainConfig, tyro.conf.arg(name="")], *, out: Path, json: bool = False) -> None:
    """Trains a model into a run's folder, or goes on where it was interrupted.

    Args:
      config: the settings.
      out: the run's folder.
      json: print one JSON object.
    """
    from ichformer.training.process import own_process
    from ichformer.workflows.evaluate_run import train_and_freeze

    own_process(config.parallel)
    written = train_and_freeze(config, out)
    said = ", ".join(f"{name} {value:.4g}" for name, value in written.items()) or "was done already"
    _print(
        {"run": path_text(out), "metrics": written},
        f"{shown(out)}: {said}\nnext: ichformer evaluate {shown(out)}",
        json,
    )


def evaluate(
    run: Positional[Path | None] = None,
    /,
    *,
    predictions: Path | None = None,
    store: Path | None = None,
    split: str | None = None,
    thresholds: Path | None = None,
    calibrate_on: Path | None = None,
    labels: tuple[str, ...] = LABELS,
    prevalence: float | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Judges a run, or anybody's table of predictions: AUROC and more by slice and scan, with intervals over patients.

    Args:
      run: the folder of a run or of an ensemble.
      predictions: instead of a run, a table (CSV or Parquet) with patient, label columns and score_LABEL columns, and
        as far as there are: study, series, slice (empty for a scan), site, split, group_NAME.
      store: a run's prepared scans; those of the training by default.
      split: the split to judge; a run's test split, or the only one of the predictions, by default.
      thresholds: with predictions, the thresholds.json that was frozen on other patients.
      calibrate_on: with predictions, a table of other patients on which calibration is mended and, without
        --thresholds, thresholds are frozen.
      labels: with predictions, the labels to judge.
      prevalence: also state PPV and NPV at this share of positives.
      out: folder for evaluation.html, metrics.json, predictions.csv, model_card.md and claim.md; RUN/evaluation, or
        beside the predictions, by default.
      json: print one JSON object.
    """
    from ichformer.evaluation.summary import format_summary
    from ichformer.workflows.evaluate_table import judge_file

    if (run is None) == (predictions is None):
        raise InputError("needs a run or --predictions, not both", where="evaluate", mend="name one of them")
    if run is not None:
        given = {"--thresholds": thresholds, "--calibrate-on": calibrate_on}
        if wrong := [name for name, value in given.items() if value is not None] + ["--labels"] * (labels != LABELS):
            raise InputError("goes with --predictions only", where=wrong[0], mend="leave it out: a run has its own")
        from ichformer.inference.ensembles import training_store
        from ichformer.training.process import own_process
        from ichformer.workflows.evaluate_run import evaluate as judge_run

        own_process()
        store = store or training_store(run)
        out = out or run / "evaluation"
        summary = judge_run(run, store, out, split=split or "test", prevalence=prevalence)
    else:
        assert predictions is not None
        if store is not None:
            raise InputError("goes with a run only", where="--store", mend="leave it out")
        out = out or predictions.parent / f"{predictions.stem}-evaluation"
        summary = judge_file(
            predictions,
            out,
            split=split,
            thresholds=thresholds,
            calibrate_on=calibrate_on,
            labels=labels,
            prevalence=prevalence,
        )
    _print(summary.to_json(), f"{format_summary(summary)}\n\npage: {shown(out / 'evaluation.html')}", json)


def ensemble(
    runs: Positional[tuple[Path, ...]],
    /,
    *,
    out: Path,
    store: Path | None = None,
    split: str = "val",
    weights: Literal["fitted", "equal"] = "fitted",
    snapshots: Literal["one", "average", "members"] = "one",
    flip: bool = False,
    reverse: bool = False,
    json: bool = False,
) -> None:
    """Makes one of several runs: weighted logits, the weights fitted on validation. Use its folder like a run's.

    Args:
      runs: folders of classifiers whose scans were prepared alike.
      out: the ensemble's folder; it needs those of the runs no more.
      store: prepared scans; those of the first run's training by default.
      split: the split that fits the weights and freezes the thresholds.
      weights: fitted, so that the log loss on the split is smallest, or equal.
      snapshots: of each run the one checkpoint that evaluate takes, the average of all that it kept, or all as members.
      flip: also look at each scan with left and right exchanged.
      reverse: also look at each scan from top to bottom; for runs with --data.augmentation.reverse-slices.
      json: print one JSON object.
    """
    from ichformer.inference.ensembles import training_store
    from ichformer.training.process import own_process
    from ichformer.workflows.make_ensemble import format_ensemble, make_ensemble

    own_process()
    if not runs:
        raise InputError("names no run", where="ensemble", mend="name the folders of two or more")
    said = make_ensemble(
        runs,
        store or training_store(runs[0]),
        out,
        split=split,
        weighting=weights,
        snapshots=snapshots,
        views=("plain", *(("flip",) if flip else ()), *(("reverse",) if reverse else ())),
    )
    _print(
        {"ensemble": path_text(out), **said.to_json()},
        f"{format_ensemble(said)}\nnext: ichformer evaluate {shown(out)}",
        json,
    )


def leave_one_site_out(
    config: Annotated[TrainConfig, tyro.conf.arg(name="")], *, out: Path, split_seed: int = 0, json: bool = False
) -> None:
    """Trains a run for each site of a store that never sees it, judges it there and pools what the sites say.

    Args:
      config: the settings of every run.
      out: folder for the runs, sites.html and sites.json; run again, it goes on.
      split_seed: of training and validation at the other sites.
      json: print one JSON object.
    """
    from ichformer.training.process import own_process
    from ichformer.workflows.leave_one_site_out import format_across_sites
    from ichformer.workflows.leave_one_site_out import leave_one_site_out as go

    own_process(config.parallel)
    found = go(config, out, split_seed=split_seed)
    _print(found.to_json(), f"{format_across_sites(found)}\n\npage: {shown(out / 'sites.html')}", json)


def cross_validate(
    config: Annotated[TrainConfig, tyro.conf.arg(name="")],
    *,
    out: Path,
    folds: int = 5,
    seeds: int = 1,
    split_seed: int = 0,
    json: bool = False,
) -> None:
    """Trains and judges a run for each fold of a store's patients and each seed; prints mean and spread.

    Args:
      config: the settings of every run; its seed is the first of the seeds.
      out: folder for the runs and folds.json; run again, it goes on.
      folds: parts of the patients; each is judged by runs that never saw it.
      seeds: runs of each fold.
      split_seed: of the folds.
      json: print one JSON object.
    """
    from ichformer.training.process import own_process
    from ichformer.workflows.cross_validate import cross_validate as go
    from ichformer.workflows.cross_validate import format_cross_validation

    own_process(config.parallel)
    found = go(config, out, folds=folds, seeds=seeds, split_seed=split_seed)
    _print(found.to_json(), f"{format_cross_validation(found)}\n\nruns: {shown(out)}", json)


def compare(
    tables: Positional[tuple[Path, ...]],
    /,
    *,
    split: str | None = None,
    thresholds: tuple[Path, ...] = (),
    labels: tuple[str, ...] = LABELS,
    margin: float | None = None,
    replicates: int = 2000,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Compares tables of predictions for the same scans with the first one: DeLong, McNemar, bootstrap, Holm.

    Args:
      tables: the reference and one or more candidates (CSV or Parquet, as for `evaluate --predictions`).
      split: the split to compare on; the only one of the tables by default.
      thresholds: a thresholds.json for each table, in their order, for the rates at frozen thresholds.
      labels: the labels to compare.
      margin: difference of AUROCs below which a candidate is not inferior.
      replicates: resamples of patients.
      seed: of the resamples.
      json: print one JSON object.
    """
    from ichformer.evaluation.compare import compare_files, format_comparison

    found = compare_files(
        tables, thresholds=thresholds, split=split, labels=labels, margin=margin, replicates=replicates, seed=seed
    )
    _print({"comparisons": [c.to_json() for c in found]}, "\n\n\n".join(map(format_comparison, found)), json)


def robustness(
    run: Positional[Path],
    /,
    *,
    store: Path | None = None,
    split: str = "test",
    corruption: tuple[str, ...] = (),
    out: Path | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Judges a run on scans made worse: ten corruptions in five severities, the AUROC lost by each, a heat map.

    Args:
      run: the folder of a run or of an ensemble.
      store: prepared scans; those of the training by default.
      split: the split to judge.
      corruption: only these; all by default.
      out: folder for robustness.json and robustness.png; RUN/robustness by default.
      seed: of everything random.
      json: print one JSON object.
    """
    from ichformer.evaluation.robustness import format_robustness
    from ichformer.inference.ensembles import training_store
    from ichformer.training.process import own_process
    from ichformer.workflows.measure_robustness import corruption_benchmark

    own_process()
    store = store or training_store(run)
    out = out or run / "robustness"
    found = corruption_benchmark(run, store, out, split=split, corruptions=corruption, seed=seed)
    _print(found.to_json(), f"{format_robustness(found)}\n\n{shown(out / 'robustness.png')}", json)


def predict(
    run: Positional[Path],
    path: Positional[Path],
    /,
    *,
    out: Path,
    series: str | None = None,
    all_series: bool = False,
    window: tuple[float, float] | None = None,
    with_identity: bool = False,
    json: bool = False,
) -> None:
    """Scores head CT with a trained run and writes report.html. Research use only.

    Of each study one series is scored: the plain axial head CT that `ichformer inspect` names as chosen. A scan in
    which no brain is found is not scored, and the report says so. Where a series cannot be read, the others get their
    reports all the same, and the exit code is 2 (1 where it is a fault of ichformer).

    Args:
      run: the folder of a run or of an ensemble.
      path: DICOM (a folder, a file, a zip or tar, a DICOMDIR), a NIfTI file or pictures.
      out: folder for the reports.
      series: SeriesInstanceUID or number (as in `inspect`) of the only series wanted.
      all_series: score every series, also those that are not chosen.
      window: for display pictures, the HU of black and of white, such as 0 80; estimated from the pictures by default.
      with_identity: show name, birth date, ID and study date on the page.
      json: print one JSON object.
    """
    from ichformer.reporting.scan.terminal import format_prediction, result_values
    from ichformer.training.process import own_process
    from ichformer.workflows.predict_scans import predict as read

    own_process()
    result = read(run, path, out, with_identity=with_identity, series=series, all_series=all_series, window_hu=window)
    _print(result_values(result), format_prediction(result), json)
    said = f"{len(result.lost)} of {len(result.lost) + len(result.series)} series got no report"
    if failed := [one for one in result.lost if one.code == "failed"]:
        raise Fault(f"{said}; series {failed[0].number}: {failed[0].text}")
    if result.lost:
        raise InputError(
            f"{said}; series {result.lost[0].number}: {result.lost[0].text}",
            where=path,
            mend="the others have their reports",
        )


def scrub(
    folder: Positional[Path],
    /,
    *,
    check: bool = False,
    out: Path | None = None,
    patient_key: Path | None = None,
    json: bool = False,
) -> None:
    """Says what a copy of a store, a run or a folder of reports would disclose, or makes a copy without it.

    Looked for are the key of the pseudonyms, names that are no pseudonyms, UIDs, names of files, dates, free text of
    headers, paths of this machine and addresses. Exit code 0: nothing was found, or nothing is left in the copy; 1:
    something was; 2: bad input. The folder itself is never changed.

    Args:
      folder: the folder of a store or of a run, or any other that ichformer wrote.
      check: only look and say.
      out: folder for the copy.
      patient_key: with out, the file patient.key that pseudonyms are made with; by default the one in the folder, or
        else a key that is forgotten.
      json: print one JSON object.
    """
    from ichformer.privacy.disclosure import find_disclosures, format_disclosures

    if check == (out is not None):
        raise InputError("give one of --check and --out", where="scrub", mend=f"ichformer scrub {folder} --check")
    if out is None:
        if patient_key is not None:
            raise InputError("goes with --out", where="--patient-key", mend="leave it out")
        found = find_disclosures(folder)
    else:
        from ichformer.privacy.scrub import scrub as copy

        found = copy(folder, out, patient_key=patient_key)
    _print({"disclosed": [one.to_json() for one in found]}, format_disclosures(found), json)
    if found:
        sys.exit(1)


def models(*, json: bool = False) -> None:
    """Lists the models: what they are, how many numbers they learn, operations for a scan.

    The operations (GFLOP) are those of the forward pass over 32 slices of 256 x 256 pixels and three windows.

    Args:
      json: print one JSON object.
    """
    from ichformer.models.registry import registered_models

    entries = registered_models()
    lines = [
        f"{name:<28}{_number(entry.params, ',d'):>12}{_number(entry.gflops, ',.4g'):>9}  {entry.about}"
        for name, entry in entries.items()
    ]
    table = [
        {"name": name, "family": entry.family, "params": entry.params, "gflops": entry.gflops, "about": entry.about}
        for name, entry in entries.items()
    ]
    _print({"models": table}, "\n".join([f"{'':<28}{'parameters':>12}{'GFLOP':>9}", *lines]), json)


def _number(value: float | None, form: str) -> str:
    """A number that nobody counted is a dash."""
    return "-" if value is None else format(value, form)


def demo(*, out: Path = Path("runs/demo"), fast: bool = False, seed: int = 0, json: bool = False) -> None:
    """Goes the whole way on synthetic scans: phantoms, training, evaluation on an unseen site, report.

    Args:
      out: the run's folder.
      fast: fewer scans and steps: it shows the way, not the figures.
      seed: of everything random.
      json: print one JSON object.
    """
    from ichformer.evaluation.summary import format_summary
    from ichformer.training.process import own_process
    from ichformer.workflows.demo import demo as go

    own_process()
    result = go(out, fast=fast, seed=seed)
    text = (
        f"{format_summary(result.summary)}\n\nreport: {shown(result.report)}\n"
        f"next:   ichformer predict {shown(result.run)} FOLDER_OF_DICOM --out out"
    )
    _print(
        {"run": path_text(result.run), "report": path_text(result.report), "metrics": result.summary.to_json()},
        text,
        json,
    )


def bench() -> None:
    """Measures how fast this machine trains and feeds a training: `ichformer bench prepare | loader | train | loop`."""


def bench_loader(
    store: Positional[Path],
    /,
    *,
    split: str = "train",
    batches: int = 20,
    workers: int = 0,
    batch_size: int = 8,
    num_slices: int = 24,
    json: bool = False,
) -> None:
    """Measures how fast training batches come out of a store, and what the time goes into.

    Args:
      store: prepared scans.
      split: the split to draw from.
      batches: how many are timed.
      workers: processes that read and augment; 0 reads in this one.
      batch_size: scans a batch.
      num_slices: slices a scan.
      json: print one JSON object.
    """
    from ichformer.bench.loader import bench_loader as measure
    from ichformer.bench.loader import format_loader

    found = measure(store, split=split, batches=batches, workers=workers, batch_size=batch_size, num_slices=num_slices)
    _print(found, format_loader(found), json)


def bench_train(
    *,
    model: str,
    batch_size: int = 8,
    num_slices: int = 32,
    size: int = 256,
    dtype: Literal["float32", "bfloat16"] = "float32",
    steps: int = 10,
    scaling: str | None = None,
    json: bool = False,
) -> None:
    """Measures how fast a model trains here: scans/s, TFLOP/s, MFU, peak memory, compile time.

    Args:
      model: a name of `ichformer models`.
      batch_size: scans a step, over all devices.
      num_slices: slices a scan.
      size: rows and columns of a slice.
      dtype: of activations.
      steps: how many are timed.
      scaling: instead, compile for so many devices, for instance 1,2,4,8 with --batch-size scans on each, and say what
        they send each other and what that predicts for pods of TPU v5p and H100.
      json: print one JSON object.
    """
    if scaling is not None:
        from ichformer.bench.scaling import bench_scaling, format_scaling, read_counts

        found = bench_scaling(
            model, read_counts(scaling), batch_size=batch_size, num_slices=num_slices, size=size, dtype=dtype
        )
        return _print(found, format_scaling(found), json)
    from ichformer.bench.train import bench_train as measure
    from ichformer.bench.train import format_train
    from ichformer.training.process import own_process

    own_process()
    found = measure(model, batch_size=batch_size, num_slices=num_slices, size=size, dtype=dtype, steps=steps)
    return _print(found, format_train(found), json)


def bench_loop(
    *,
    model: str = "slice_vit_nano",
    batch_size: int = 8,
    num_slices: int = 8,
    size: int = 64,
    steps: int = 20,
    rounds: int = 20,
    json: bool = False,
) -> None:
    """Measures what the training loop adds to the steps: around one that does nothing, and beside a model's own.

    Args:
      model: a name of `ichformer models`.
      batch_size: scans a step, over all devices.
      num_slices: slices a scan.
      size: rows and columns of a slice.
      steps: of the model in a round, alone and in the loop.
      rounds: how often the two take turns.
      json: print one JSON object.
    """
    from ichformer.bench.loop import bench_loop as measure
    from ichformer.bench.loop import format_loop
    from ichformer.training.process import own_process

    own_process()
    found = measure(model, batch_size=batch_size, num_slices=num_slices, size=size, steps=steps, rounds=rounds)
    _print(found, format_loop(found), json)


def bench_prepare(source: Positional[Path], /, *, workers: int | None = None, json: bool = False) -> None:
    """Measures how fast DICOM series become a store, and what the time goes into.

    Args:
      source: folder of DICOM series; only read.
      workers: processes; one a core by default.
      json: print one JSON object.
    """
    from ichformer.bench.prepare import bench_prepare as measure
    from ichformer.bench.prepare import format_prepare

    found = measure(source, workers=workers)
    _print(found, format_prepare(found), json)


COMMANDS: dict[str, Callable[..., None]] = {
    f.__name__.replace("_", "-"): f
    for f in (
        *(
            demo,
            phantom,
            inspect,
            prepare,
            train,
            ensemble,
            evaluate,
            leave_one_site_out,
            cross_validate,
            compare,
            robustness,
        ),
        *(predict, scrub, models, bench),
    )
}
GROUPS: dict[str, dict[str, Callable[..., None]]] = {
    "bench": {"prepare": bench_prepare, "loader": bench_loader, "train": bench_train, "loop": bench_loop}
}
"""Commands that are followed by another word."""


def main(arguments: list[str] | None = None) -> None:
    """Runs one command.

    Exit code 0: done, or all saved at SIGTERM; 2: bad usage or input, one line; 130: Ctrl-C; 129, 143: ended by SIGHUP
    or SIGTERM; 1: our fault, or `scrub --check` found something.
    """
    try:
        with mendable(), ending_in_order():
            os.getcwd()
            with delivered():  # --help prints
                command = _parse(sys.argv[1:] if arguments is None else arguments)
            if (out := command.keywords.get("out")) is not None:  # of every command it is a folder
                check_folder(out)
            command()
    except InputError as error:
        print(f"ichformer: error: {error}", file=sys.stderr)
        sys.exit(2)
    except Fault as fault:
        print(f"ichformer: fault: {one_line(fault, max_chars=1200)}", file=sys.stderr)
        sys.exit(1)
    except Stopped as stopped:
        print(f"ichformer: {stopped}", file=sys.stderr)
    except KeyboardInterrupt:
        print(
            "\nichformer: interrupted; the same command goes on, or begins again where nothing was finished",
            file=sys.stderr,
        )
        exec("")  # resets CPython's note that an exec was interrupted, for which it would end by signal instead of 130
        sys.exit(130)


def _parse(arguments: list[str]) -> functools.partial[None]:
    """The command with its arguments bound; a wrong option is one line, where tyro draws a box."""
    said = io.StringIO()
    chosen: list[functools.partial[None]] = []
    functions, group, words = COMMANDS, "ichformer", arguments
    description = "Intracranial haemorrhage on head CT, in JAX and Flax."
    if arguments and arguments[0] in GROUPS:
        functions, group, words = GROUPS[arguments[0]], f"ichformer {arguments[0]}", arguments[1:]
        description = COMMANDS[arguments[0]].__doc__ or ""
    commands = {name: _deferred(function, chosen) for name, function in functions.items()}
    try:
        with contextlib.redirect_stderr(said):
            tyro.extras.subcommand_cli_from_dict(
                commands,
                prog=group,
                description=description,
                args=words,
            )
    except SystemExit as error:
        if error.code not in (0, None):
            # The box's upper edge carries a title that the text repeats.
            text = re.sub(r"\x1b\[[0-9;]*m|╭.*╮|[│╰╯─]", " ", said.getvalue())
            what, _, _ = " ".join(text.split()).partition(" For full helptext")
            command = words[0] if words and words[0] in functions else ""
            raise InputError(
                what.rstrip("."),
                where=command or "command",
                mend=f"see {f'{group} {command}'.strip()} --help",
            ) from None
        raise
    return chosen[0]


def _deferred(function: Callable[..., None], chosen: list[functools.partial[None]]) -> Callable[..., None]:
    """``function`` with its own signature, that is noted and not called: parsing ends before work begins."""

    @functools.wraps(function)
    def note(*args: Any, **kwargs: Any) -> None:
        chosen.append(functools.partial(function, *args, **kwargs))

    return note


def _print(values: Any, text: str, as_json: bool) -> None:
    with delivered():
        print(json.dumps(values, allow_nan=False) if as_json else printable(text))
