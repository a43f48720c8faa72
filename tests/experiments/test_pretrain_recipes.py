"""The recipes of pretrainings that need more than this machine: their settings are whole, and the plan adds up."""

import dataclasses
import shlex

import jax
import jax.numpy as jnp
import pytest

from experiments import pretrain_gpu, pretrain_pod
from ichformer.bench.train import noise_batch
from ichformer.cli.parsing import parse
from ichformer.training.build import build_objective


@pytest.mark.slow
@pytest.mark.parametrize("config", [pretrain_gpu.config("STORE"), pretrain_pod.CONFIG], ids=["gpu", "pod"])
def test_the_loss_of_a_recipe_can_be_traced(config):
    objective = build_objective(config)
    batch = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, noise_batch(2, 4, 64)))
    key = jax.random.key(0)
    params = jax.eval_shape(objective.init, key, batch)["params"]
    loss, weight, _ = jax.eval_shape(lambda params, batch: objective.loss(params, batch, key, True), params, batch)
    assert loss.shape == weight.shape == ()


def test_the_command_of_a_pod_is_the_recipe():
    told = parse(shlex.split(pretrain_pod.command())[1:]).keywords["settings"]
    assert dataclasses.replace(told, data=dataclasses.replace(told.data, store="")) == pretrain_pod.CONFIG


def test_scans_are_shared_by_all_chips():
    assert pretrain_pod.STEPS * pretrain_pod.BATCH_SIZE >= pretrain_pod.SCANS * pretrain_pod.EPOCHS
    for x, y, z in pretrain_pod.TOPOLOGIES.values():
        assert pretrain_pod.BATCH_SIZE % (x * y * z) == 0
        assert x % pretrain_pod.HOST[0] == y % pretrain_pod.HOST[1] == z % pretrain_pod.HOST[2] == 0
