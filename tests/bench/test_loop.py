"""The bench of the loop: figures that fit each other, from the loop that trains."""

import json

import pytest

from ichformer.bench.loop import bench_loop, format_loop
from ichformer.cli import main
from ichformer.errors import InputError


@pytest.mark.full  # the step of training is compiled
def test_figures_fit_each_other(capsys):
    words = ["--batch-size", "8", "--num-slices", "2", "--size", "32", "--steps", "20", "--rounds", "2"]
    main(["bench", "loop", "--model", "cnn2d_nano", *words, "--json"])
    found = json.loads(capsys.readouterr().out)
    low, high = found["overhead_quartiles"]
    assert low <= found["overhead"] <= high
    assert 0 < found["bare_ms"] < 1e5
    # How fast is for the command to say, on a machine that is free; but with steps that do nothing
    # the loop is faster than with those of a model.
    assert found["idle_steps_per_s"] > 1e3 / found["loop_ms"]
    assert "the loop adds" in format_loop(found)


def test_what_cannot_be_measured():
    with pytest.raises(InputError, match="--steps: found 10; give 20 or more"):
        bench_loop("cnn2d_nano", steps=10)
    with pytest.raises(InputError, match="there is no such model"):
        bench_loop("resnet")
    with pytest.raises(InputError, match="cannot be shared by"):
        bench_loop("cnn2d_nano", batch_size=3)
