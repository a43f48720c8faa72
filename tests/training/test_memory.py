"""What a step on a CPU costs in fresh pages, in a process of its own: JAX has to be started anew."""

import subprocess
import sys

import pytest

from tests.processes import with_one_device

STEP = """
import resource, sys
import jax, jax.numpy as jnp
from ichformer.training.process import keep_memory_of_steps
if sys.argv[1] == "kept":
    keep_memory_of_steps()
step = jax.jit(lambda x: jnp.cumsum(x, 0).sum() + (x @ x[:, :8]).sum())
x = jnp.ones((4500, 4500))
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step(x).block_until_ready()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(min(pages() for _ in range(5)))
"""


def fresh_pages(how: str) -> int:
    alone = with_one_device()  # calls that several take part in have threads of their own
    done = subprocess.run([sys.executable, "-c", STEP, how], env=alone, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.full
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc alone")
def test_a_step_takes_the_memory_of_the_last_one():
    assert fresh_pages("kept") < 2000
    assert fresh_pages("given back") > 20_000
