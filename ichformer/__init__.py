"""Transformers that find intracranial haemorrhage and its five subtypes on non-contrast head CT, in JAX and Flax.

From scans and a table of labels to a trained model, and from a scan to its scores:

  >>> import ichformer as ich
  >>> store = ich.prepare("folder", source="scans/", labels="labels.csv", out="store", progress=False)
  >>> run = ich.train(store, model="hybrid_nano", out="runs/first", progress=False)
  >>> run = ich.open_run("runs/first")
  >>> volume = ich.read_volume("scan/")
  >>> prediction = run.predict(volume)
  >>> sorted(prediction.scan_scores) == sorted(ich.LABELS)
  True
  >>> run.explain(volume, "any").shape == volume.hu.shape
  True
  >>> summary = run.evaluate(store, out="evaluation")

Folders of scans are predicted at once, with a folder for each and a table of all:

  >>> result = ich.predict(["scan/"], run="runs/first", out="out", csv="out/scores.csv", progress=False)
  >>> list(result.table["number"])
  [1]

A notebook shows the page of a scan:

  >>> page = ich.show_page(result.series[0].folder)

Scores of any model are evaluated and compared from a table, which is a file or a DataFrame:

  >>> summary = ich.evaluate(table)
  >>> comparison = ich.compare(table, other_table)

What a score comes from is drawn by any of a dozen methods:

  >>> ich.explain(run, volume, "any", method="integrated_gradients", level="scan").shape == volume.hu.shape
  True

What the features of a model tell is read by a simple classifier, also with few labels:

  >>> table = ich.embed(run, store, split="train", progress=False)
  >>> result = ich.probe(run, store, label="any", method="knn", progress=False)

Models are Flax modules, and take labels of your own:

  >>> import jax
  >>> ich.list_models("swin*")
  ('swin3d_nano', 'swin3d_t', 'swin3d_s', 'swin3d_b')
  >>> model = ich.create_model("cnn2d_nano", labels=("bleed", "fracture"))
  >>> variables = model.init(jax.random.key(0), **ich.example_inputs(model))

They may start from weights of other libraries, and see HU through windows:

  >>> start = ich.load_pretrained("slice_vit_nano", "dinov2.safetensors")
  >>> channels = ich.apply_windows(volume.hu, (ich.WINDOWS["brain"], ich.WINDOWS["bone"]))
  >>> channels.shape == (*volume.hu.shape, 2)
  True

Own models, encoders, objectives, cohorts, corruptions and explanations are registered by decorators:
``ich.register_model``, ``ich.register_encoder``, ``ich.register_objective``, ``ich.register_cohort``,
``ich.register_corruption`` and ``ich.register_explanation``. A cohort returns what ``make_index`` makes of its rows, in
a ``Cohort`` where it has labels of its own. A model returns a ``Prediction``. An objective is an ``Objective``, most
often a ``Classification`` with another loss:

  >>> own = ich.LabelSet(names=("bleed", "fracture"))
  >>> row = {"cohort": "mine", "origin": "mine", "patient": "1", "series": "1", "path": "/scans/1.nii.gz"}
  >>> cohort = ich.Cohort(index=ich.make_index([{**row, "bleed": 1}], label_set=own), label_set=own)
  >>> outputs = model.apply(variables, **ich.example_inputs(model))
  >>> isinstance(outputs, ich.Prediction)
  True
  >>> objective = ich.Classification(model=model, windows=(ich.WINDOWS["brain"],), label_set=own)
  >>> isinstance(objective, ich.Objective)
  True

A bad input is one line that says what to do:

  >>> try:
  ...     ich.open_run("nowhere")
  ... except ich.InputError as error:
  ...     print(error)
  nowhere/config.json: there is no run here; name the folder of a run that was trained

What these functions take and give has names for type hints:

  >>> isinstance(volume, ich.Volume), isinstance(store, ich.Store), isinstance(run, ich.TrainedModel)
  (True, True, True)
  >>> ich.SUBTYPES == ich.LABELS[:-1]
  True

Importing this package loads nothing heavy: each name is imported when it is first used. Everything else is imported
from the room that holds it (``ichformer.ct``, ``ichformer.models`` ...).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ichformer.cohorts.cohort import Cohort as Cohort
    from ichformer.cohorts.index import make_index as make_index
    from ichformer.cohorts.registry import register_cohort as register_cohort
    from ichformer.ct.corruptions.registry import register_corruption as register_corruption
    from ichformer.ct.io.scans import read_volume as read_volume
    from ichformer.ct.volume import Volume as Volume
    from ichformer.ct.windows import WINDOWS as WINDOWS
    from ichformer.ct.windows import apply_windows as apply_windows
    from ichformer.errors import InputError as InputError
    from ichformer.evaluation.compare import compare as compare
    from ichformer.explanations.registry import register_explanation as register_explanation
    from ichformer.labels import LabelSet as LabelSet
    from ichformer.models.contract import Prediction as Prediction
    from ichformer.models.encoders.registry import register_encoder as register_encoder
    from ichformer.models.inputs import example_inputs as example_inputs
    from ichformer.models.registry import create_model as create_model
    from ichformer.models.registry import list_models as list_models
    from ichformer.models.registry import register_model as register_model
    from ichformer.models.weights.pretrained import load_pretrained as load_pretrained
    from ichformer.objectives.base import Objective as Objective
    from ichformer.objectives.classification import Classification as Classification
    from ichformer.objectives.registry import register_objective as register_objective
    from ichformer.pipeline.store.records import Store as Store
    from ichformer.reporting.inline_page import show_page as show_page
    from ichformer.workflows.evaluate_table import evaluate as evaluate
    from ichformer.workflows.explanations.explain_scan import explain as explain
    from ichformer.workflows.features.embed_store import embed as embed
    from ichformer.workflows.features.probe_run import probe as probe
    from ichformer.workflows.follow_up.compare_scans import follow_up as follow_up
    from ichformer.workflows.opened.open_run import open_run as open_run
    from ichformer.workflows.opened.pretrained_model import PretrainedModel as PretrainedModel
    from ichformer.workflows.opened.trained_model import TrainedModel as TrainedModel
    from ichformer.workflows.predict_scans import predict as predict
    from ichformer.workflows.prepare_store import prepare as prepare
    from ichformer.workflows.train_run import train as train

__version__ = "0.1.0"

LABELS = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")
"""The six labels, in the one order that is used everywhere (RSNA 2019; "any" is the maximum of the five)."""

SUBTYPES = LABELS[:-1]
"""The five subtypes, in the order of ``LABELS``."""

_PLACES = {
    "Classification": "ichformer.objectives.classification",
    "Cohort": "ichformer.cohorts.cohort",
    "InputError": "ichformer.errors",
    "LabelSet": "ichformer.labels",
    "Objective": "ichformer.objectives.base",
    "Prediction": "ichformer.models.contract",
    "PretrainedModel": "ichformer.workflows.opened.pretrained_model",
    "Store": "ichformer.pipeline.store.records",
    "TrainedModel": "ichformer.workflows.opened.trained_model",
    "Volume": "ichformer.ct.volume",
    "WINDOWS": "ichformer.ct.windows",
    "apply_windows": "ichformer.ct.windows",
    "compare": "ichformer.evaluation.compare",
    "create_model": "ichformer.models.registry",
    "embed": "ichformer.workflows.features.embed_store",
    "evaluate": "ichformer.workflows.evaluate_table",
    "example_inputs": "ichformer.models.inputs",
    "explain": "ichformer.workflows.explanations.explain_scan",
    "follow_up": "ichformer.workflows.follow_up.compare_scans",
    "list_models": "ichformer.models.registry",
    "load_pretrained": "ichformer.models.weights.pretrained",
    "make_index": "ichformer.cohorts.index",
    "open_run": "ichformer.workflows.opened.open_run",
    "predict": "ichformer.workflows.predict_scans",
    "prepare": "ichformer.workflows.prepare_store",
    "probe": "ichformer.workflows.features.probe_run",
    "read_volume": "ichformer.ct.io.scans",
    "register_cohort": "ichformer.cohorts.registry",
    "register_corruption": "ichformer.ct.corruptions.registry",
    "register_encoder": "ichformer.models.encoders.registry",
    "register_explanation": "ichformer.explanations.registry",
    "register_model": "ichformer.models.registry",
    "register_objective": "ichformer.objectives.registry",
    "show_page": "ichformer.reporting.inline_page",
    "train": "ichformer.workflows.train_run",
}
"""Public name -> the module that holds it."""

__all__ = [
    "LABELS",
    "SUBTYPES",
    "WINDOWS",
    "Classification",
    "Cohort",
    "InputError",
    "LabelSet",
    "Objective",
    "Prediction",
    "PretrainedModel",
    "Store",
    "TrainedModel",
    "Volume",
    "apply_windows",
    "compare",
    "create_model",
    "embed",
    "evaluate",
    "example_inputs",
    "explain",
    "follow_up",
    "list_models",
    "load_pretrained",
    "make_index",
    "open_run",
    "predict",
    "prepare",
    "probe",
    "read_volume",
    "register_cohort",
    "register_corruption",
    "register_encoder",
    "register_explanation",
    "register_model",
    "register_objective",
    "show_page",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_PLACES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
