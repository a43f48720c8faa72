"""A run as a few small files to pass on: no checkpoints, no optimiser, no history, no path of this machine."""

import dataclasses
import json
from pathlib import Path

from ichformer.errors import InputError
from ichformer.evaluation.ood import OOD_NAME
from ichformer.evaluation.thresholds import RULES, THRESHOLDS_NAME, Rule, check_rules
from ichformer.explanations.checked import EXPLANATIONS_NAME
from ichformer.files.sets import write_set
from ichformer.files.writing import write_text
from ichformer.inference.trained import Trained, open_trained
from ichformer.lesions.frozen import LESIONS_NAME
from ichformer.pipeline.store.records import Store
from ichformer.reporting.evaluation.hub_card import hub_card
from ichformer.training.few_patients import training_scans
from ichformer.training.labels import LABELS_NAME
from ichformer.training.runs.contract import CONTRACT_FACT, exported_contract
from ichformer.training.runs.portable import WEIGHTS_NAME, StoredType, exported_weights
from ichformer.training.runs.pretrained_run import PretrainedRun
from ichformer.training.runs.run import SEEN_NAME, Run
from ichformer.training.runs.store_path import STORE_FACT
from ichformer.workflows.evaluate_run import check_preparation, fix_frozen, freeze_ood
from ichformer.workflows.parts.frozen import VALIDATION_NAME, keep_frozen, read_frozen
from ichformer.workflows.parts.lesion_table import frozen_lesions

CARD_NAME = "README.md"
"""The file with what people should know of the run; the Hugging Face Hub shows it, and reads its first lines."""

FROZEN_NAMES = (THRESHOLDS_NAME, VALIDATION_NAME, OOD_NAME, LESIONS_NAME, EXPLANATIONS_NAME)
"""What was fixed for the parameters as they are, and holds for no others."""


def export_run(
    run: Trained,
    out: Path,
    *,
    store: Store | None = None,
    dtype: StoredType = "float16",
    rules: tuple[Rule, ...] = RULES,
) -> Run:
    """Writes a run into a new folder, which opens as a run.

    The thresholds and the out-of-distribution score of ``run`` are those of the parameters before they were rounded.
    They are fixed again on the split "val" of ``store``. Where none is given, they are kept if no parameter was changed
    by rounding, and left out otherwise.

    Args:
      run: an opened run.
      out: the new folder.
      store: scans with the splits "train" and "val", prepared as those of the training.
      dtype: of the stored parameters.
      rules: by which thresholds are chosen; ``predict`` takes that of the first.

    Returns:
      The exported run, opened.

    Raises:
      InputError: the folder holds something, an ensemble, a store of another preparation, or a parameter that
        ``dtype`` cannot hold; or see ``thresholds.check_rules``.
    """
    check_rules(rules)
    if not isinstance(run, Run):
        raise InputError("is an ensemble", where=run.path, fix="export its members one by one")
    check_new(out)
    if store is not None:
        check_preparation(run, store)
        store.rows("val")
    _write(run, out, dtype)
    exported = open_trained(out)
    assert isinstance(exported, Run)
    if store is not None:
        keep_frozen(fix_frozen(exported, store, rules=rules), exported)
        freeze_ood(exported, training_scans(store, run.config.data), train=run.config.data.split)
        frozen_lesions(exported, store)
    elif exported.fingerprint == run.fingerprint:
        kept = {name: (run.path / name).read_bytes() for name in FROZEN_NAMES if (run.path / name).is_file()}
        write_set(kept, out, what="export")
    frozen = read_frozen(exported)
    write_text(hub_card(exported, None if frozen is None else frozen.validation), out / CARD_NAME)
    return exported


def export_pretraining(run: PretrainedRun, out: Path, *, dtype: StoredType = "float16") -> PretrainedRun:
    """Writes a pretraining into a new folder, which opens as one and starts trainings as the run does.

    Args:
      run: an opened pretraining.
      out: the new folder.
      dtype: of the stored parameters.

    Returns:
      The exported run, opened.

    Raises:
      InputError: the folder holds something, or a parameter that ``dtype`` cannot hold.
    """
    check_new(out)
    _write(run, out, dtype)
    exported = PretrainedRun.open(out)
    write_text(hub_card(exported, None), out / CARD_NAME)
    return exported


def check_new(out: Path) -> None:
    """InputError where something but an empty folder is at the place of a new one."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("is there and is not an empty folder", where=out, fix="name a new folder")


def _write(run: Run | PretrainedRun, out: Path, dtype: StoredType) -> None:
    pretrained = Path(run.config.model.pretrained).name
    config = dataclasses.replace(
        run.config,
        model=dataclasses.replace(run.config.model, pretrained=pretrained),
        data=dataclasses.replace(run.config.data, store="", more=(), weights=()),
        init_from="",
    )
    files = {name: (run.path / name).read_bytes() for name in (SEEN_NAME, LABELS_NAME) if (run.path / name).is_file()}
    contract = exported_contract(run.facts, run.objective, run.config.objective.name, where=run.path)
    facts = run.facts | {STORE_FACT: "", CONTRACT_FACT: contract.to_json()}
    files["run.json"] = (json.dumps(facts, indent=2) + "\n").encode()
    files[WEIGHTS_NAME] = exported_weights(run.params, step=run.step, dtype=dtype, where=run.path)
    # Last: a folder with a config.json is a run.
    files["config.json"] = config.to_json().encode()
    write_set(files, out, what="export")
