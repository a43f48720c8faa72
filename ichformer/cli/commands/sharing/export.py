"""``ichformer export``."""

from pathlib import Path
from typing import Literal

from ichformer.cli.printing import print_result
from ichformer.errors import InputError
from ichformer.files.writing import path_text, shown


def export(
    run: Path,
    /,
    *,
    out: Path,
    to: Literal["bundle", "folder", "stablehlo", "onnx"] = "bundle",
    store: Path | None = None,
    dtype: Literal["float16", "bfloat16", "float32"] = "float16",
    slices: int = 64,
    json: bool = False,
) -> None:
    """Writes a run in a form that can be passed on. Nothing is uploaded.

    A bundle and a folder hold the settings, the parameters, thresholds, the list of training scans under pseudonyms
    and a card. They hold no checkpoints and no path of this machine. Every command that takes a run takes them.

    Args:
      run: Folder of a run or of a pretraining, a bundle, its https address, hf://OWNER/NAME, or the word default. Of
        an ensemble, only stablehlo and onnx can be written.
      out: New file for a bundle, such as first.ichformer, or new folder for all others.
      to: What is written: bundle is one file; folder is the same files, the parameters as safetensors, ready for the
        Hugging Face Hub; stablehlo is read by JAX without ichformer; onnx is read by ONNX Runtime.
      store: Store of the training, on whose split val the thresholds are chosen for the rounded parameters. By default
        the one that the run was trained on, where it is still there. It goes with bundle and folder.
      dtype: Type of the stored parameters of a bundle or a folder. Take float32 to keep every bit.
      slices: Number of slices of a scan, where it has to be fixed: for onnx, and for stablehlo of the family swin3d.
      json: Print one JSON object in place of text.
    """
    from ichformer.inference.trained import Trained
    from ichformer.pipeline.store.records import Store
    from ichformer.training.process import own_process
    from ichformer.training.runs.pretrained_run import PretrainedRun
    from ichformer.workflows.exports.write_export import export_compiled, export_folder
    from ichformer.workflows.opened.open_run import open_run

    own_process()
    opened: Trained | PretrainedRun = open_run(run).run
    told = {"export": path_text(out), "to": to}
    if to == "stablehlo" or to == "onnx":
        if store is not None:
            raise InputError("goes with --to bundle and folder", where="--store", fix="leave it out")
        if isinstance(opened, PretrainedRun):
            raise InputError("is a pretraining and gives no scores", where=run, fix="take --to bundle or folder")
        export_compiled(opened, out, form=to, slices=slices)
        print_result(told, f"written: {shown(out)}", as_json=json)
        return
    scans = None if isinstance(opened, PretrainedRun) else store or _training_store(run)
    export_folder(
        opened,
        out,
        as_bundle=to == "bundle",
        store=None if scans is None else Store.open(scans),
        dtype=dtype,
        check=_check_disclosures,
    )
    then = f"next: ichformer predict SCAN --run {shown(out)} --out out"
    print_result(told, f"written: {shown(out)}\n{then}", as_json=json)


def _training_store(run: Path) -> Path | None:
    """The store that a run was trained on; None where it is not there, as for a run that was passed on."""
    from ichformer.inference.trained import training_store

    try:
        return training_store(run)
    except InputError:
        return None


def _check_disclosures(folder: Path) -> None:
    """InputError where the files to be passed on tell who a patient is, such as UIDs of a store made --with-uids."""
    from ichformer.privacy.disclosure import find_disclosures

    if found := find_disclosures(folder):
        one = found[0]
        raise InputError(
            f"{one.file} of the run discloses {one.code} ({one.count} times, such as {one.example})",
            where="export",
            fix="make a copy without it, `ichformer scrub RUN --out COPY`, and export that",
        )
