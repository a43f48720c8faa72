"""``ichformer prepare``."""

from pathlib import Path
from typing import Literal

from ichformer.cli.printing import print_result
from ichformer.errors import InputError
from ichformer.files.writing import path_text, shown
from ichformer.labels import SIX, LabelSet

COMMON = (
    "dataset",
    "source",
    "out",
    "labels",
    "columns",
    "label-names",
    "targets",
    "patient-from",
    "example-labels",
    "hold-out-site",
    "size",
    "keep",
    "seed",
    "workers",
    "json",
)


def prepare(
    *,
    dataset: str,
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
    """Turns the scans of a cohort into a store to train on. Run again, it does only what is missing.

    Args:
      dataset: Name of the cohort: folder for scans of your own, phantom for synthetic ones, or one of the public sets
        rsna2019, cq500, ctich, instance and bhsd. Plugins can add others.
      source: Folder with the cohort's files. It is only read.
      out: Folder of the store. It is needed unless --example-labels is given.
      labels: File with the labels. For a folder, rsna2019 and ctich it is a CSV; for cq500 it is reads.csv, or a folder
        with that file and the boxes of BHX. Leave it out where the labels lie with the scans.
      columns: With a folder, what columns of its CSV mean, such as any=ICH path=file. Give it where columns are not
        recognised by their names.
      label_names: With a folder, the columns of its CSV that are labels (0, 1 or empty), such as bleed fracture. They
        take the place of the six kinds of haemorrhage.
      targets: With a folder, the columns of its CSV that are numbers to predict, with the unit in the name, such as
        volume_ml age_years.
      patient_from: With a folder, where a scan's patient is known from: the word folder for the folder directly below
        the source, or a pattern with one group that fits paths below the source, such as 'sub-([0-9]+)'. The column
        patient of the CSV comes first. By default the PatientID of the DICOM header is taken.
      example_labels: With a folder, only write a CSV to this file, with an empty row of labels for each scan. Fill it
        in and give it as --labels.
      size: Rows and columns of a prepared slice, in pixels, 16 to 1024. A smaller one trains faster and shows less.
      field_of_view_mm: Side of the square round the head that a slice shows, in mm. With None it is the box round each
        head, so that heads of all sizes fill the picture.
      slice_spacing_mm: Resample the slices to this distance, in mm. By default they keep the distance they have. Set
        it for models over the whole volume where the scans differ.
      missing: What to do about slices that are missing according to the positions: keep the gap, refuse the scan, or
        interpolate them.
      keep: Which part of the picture stays: head for all of it, or brain, where everything outside the inside of the
        skull becomes air. The latter removes the face.
      window: The HU that are black and white in display pictures (PNG, JPEG, TIFF), such as 0 80. By default they are
        estimated from the pictures. Give them where you know them.
      hold_out_site: Name of a site that becomes the test split. The other sites become train and val. By default
        patients are divided at random, or as the cohort says.
      seed: Seed of the random split by patient. Another seed gives another split.
      patient_key: With a folder, the file patient.key of another store. Both stores then give a patient the same
        pseudonym. By default the store makes a key of its own.
      with_uids: With a folder, keep the StudyInstanceUIDs, SeriesInstanceUIDs, SOPInstanceUIDs and file names in the
        store. By default pseudonyms and numbers replace them. Patients always get pseudonyms.
      workers: Number of processes. By default one for each core. Take fewer where memory is short.
      cluster: Address of a Dask scheduler that does the work, such as tcp://HOST:8786. Its workers need the same files
        at the same paths. By default this machine does the work.
      json: Print one JSON object in place of text.
    """
    if example_labels is not None:
        _write_example(dataset, source, example_labels, LabelSet(names=label_names or SIX.names, targets=targets), json)
        return
    from ichformer.pipeline.preparation.config import PrepareConfig
    from ichformer.workflows.prepare_cohort import format_prepared, prepare_cohort

    if out is None:
        raise InputError("is missing", where="--out", fix="name the store's folder")
    prepared = prepare_cohort(
        dataset,
        source=source,
        out=out,
        labels=labels,
        columns=columns,
        label_names=label_names,
        targets=targets,
        patient_from=patient_from,
        hold_out_site=hold_out_site,
        seed=seed,
        config=PrepareConfig(
            size=size, field_of_view_mm=field_of_view_mm, slice_spacing_mm=slice_spacing_mm, missing=missing, keep=keep
        ),
        window_hu=window,
        patient_key=patient_key,
        with_uids=with_uids,
        workers=workers,
        cluster=cluster,
    )
    print_result(prepared.to_json(), format_prepared(prepared), as_json=json)


def _write_example(dataset: str, source: Path, file: Path, label_set: LabelSet, json: bool) -> None:
    from ichformer.cohorts.folder.adapter import write_example_labels

    if dataset != "folder":
        raise InputError("goes with --dataset folder only", where="--example-labels", fix="leave it out")
    n_scans = write_example_labels(source, file, label_set=label_set)
    text = f"{shown(file)}: a row for each of {n_scans} scans. Fill in the labels (0, 1 or nothing), "
    text += "take out columns that you do not need, and give it as --labels"
    print_result({"example_labels": path_text(file), "scans": n_scans}, text, as_json=json)
