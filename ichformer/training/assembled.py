"""The parts of a training, as its configuration names them: objective, first parameters, batches, compiled step."""

import functools

import grain
import jax
import optax

from ichformer.objectives.base import Objective
from ichformer.pipeline.known_labels import KnownLabels
from ichformer.pipeline.loader import training_batches
from ichformer.pipeline.store.records import Store
from ichformer.training.build import Given, build_objective, check_teacher, check_whole_batch
from ichformer.training.config import TrainConfig
from ichformer.training.input_scale import standardise_inputs
from ichformer.training.labels import for_known_labels
from ichformer.training.optimizer.optim import build_optimizer
from ichformer.training.runs.opening.run_folder import run_folder
from ichformer.training.sharding.parallel import compile_step
from ichformer.training.state import TrainState
from ichformer.training.step import train_step
from ichformer.training.stepping import Step
from ichformer.training.transfer import transfer_params, transfer_pretrained


def checked_objective(config: TrainConfig, given: Given, store: Store) -> tuple[Objective, KnownLabels | None]:
    """The objective for what the scans to train on have labels of, and these labels.

    Raises:
      InputError: it does not go with the store, the batch or the average of ``config``.
    """
    objective, known = for_known_labels(build_objective(config, store.label_set, given), config, store)
    check_whole_batch(objective, config)
    check_teacher(objective, config)
    return objective, known


def with_known_parameters(
    state: TrainState, config: TrainConfig, given: Given, store: Store, objective: Objective
) -> TrainState:
    """A state before the first step, with the scale of its inputs and with the parameters that are loaded.

    Args:
      state: as it was drawn.
      config: of the training; ``init_from`` and ``model.pretrained`` say what is loaded.
      given: objects in place of what the settings name.
      store: the scans to train on.
      objective: what is optimised.
    """
    state = standardise_inputs(
        state,
        store,
        split=config.data.split,
        windows=config.objective.display_windows,
        neighbours=config.objective.neighbours,
    )
    if config.init_from:
        return transfer_params(state, run_folder(config.init_from), objective, given)
    return transfer_pretrained(state, config.model) if config.model.pretrained else state


def batches_of(
    config: TrainConfig, given: Given, store: Store, *, start: int = 0, lesions: bool
) -> grain.DatasetIterator:
    """The batches of a training from step ``start`` on; see ``pipeline.loader.training_batches``."""
    return training_batches(
        store,
        split=config.data.split,
        seed=config.seed,
        batch_size=config.data.batch_size,
        num_slices=config.data.num_slices,
        augmentation=config.data.augmentation,
        change=given.augment,
        num_workers=config.data.num_workers,
        start=start,
        host=jax.process_index(),
        hosts=jax.process_count(),
        lesions=lesions,
        weights=config.data.weights,
    )


def compiled_step(
    config: TrainConfig,
    objective: Objective,
    state: TrainState,
    mesh: jax.sharding.Mesh,
    *,
    optimizer: optax.GradientTransformation | None = None,
) -> Step:
    """``train_step`` with the settings of a training, over a mesh.

    Args:
      config: of the training.
      objective: what is optimised.
      state: arrays or shapes; only their layout is read.
      mesh: where to run.
      optimizer: in place of that of ``config``.
    """
    step = functools.partial(
        train_step,
        objective=objective,
        optimizer=build_optimizer(config.optim, config.steps) if optimizer is None else optimizer,
        ema_decay=config.ema_decay,
        spike_factor=config.spike_factor,
        accumulate=config.parallel.accumulate,
    )
    return compile_step(step, state, mesh, mode=config.parallel.mode)
