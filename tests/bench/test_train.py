"""The bench of training: figures that fit each other, and utilisation only where the device is known."""

import json

import jax
import pytest

from ichformer.bench import train
from ichformer.bench.train import bench_train
from ichformer.cli import main
from ichformer.errors import InputError
from ichformer.models.flops import count_flops, scan_inputs
from ichformer.models.registry import create_model


@pytest.mark.slow  # the step of training is compiled
def test_figures_fit_each_other(capsys, monkeypatch):
    # The emulated devices of the tests, as if they were real ones.
    monkeypatch.setitem(train.PEAKS, jax.devices()[0].device_kind, {"float32": 0.5})
    words = ["--batch-size", "8", "--num-slices", "2", "--size", "32", "--steps", "2"]
    main(["bench", "train", "--model", "cnn2d_nano", *words, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["slices_per_s"] == pytest.approx(2 * found["scans_per_s"])
    model, inputs = create_model("cnn2d_nano"), scan_inputs(2, 32, 32, 3)
    variables = jax.eval_shape(lambda *x: model.init(jax.random.key(0), *x, False), *inputs)
    forward = count_flops(lambda *x: model.apply(*x, False), {"params": variables["params"]}, *inputs)
    assert found["tflops_per_s"] == pytest.approx(3 * forward * found["scans_per_s"] / 1e12)
    assert found["mfu"] == pytest.approx(found["tflops_per_s"] / 0.5 / jax.device_count())
    assert found["memory_source"] == "compiled"  # a CPU does not count its memory
    params = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert found["peak_memory_gb"] > 4 * 4 * params / 1e9  # parameters, their average and two moments
    assert found["compile_s"] > 0
    said = train.format_train(found)
    assert "scans/s" in said
    assert "MFU" in said


def test_devices_are_known_by_their_names():
    def peak(kind):
        return next((peaks for name, peaks in train.PEAKS.items() if name in kind), None)

    assert peak("NVIDIA H100 80GB HBM3")["bfloat16"] == 989
    assert peak("NVIDIA H100 PCIe")["bfloat16"] == 756
    assert peak("TPU v5 lite")["bfloat16"] == 197
    assert peak("TPU v5p")["bfloat16"] == 459
    assert "bfloat16" not in peak("Tesla T4")
    assert peak("cpu") is None


def test_what_cannot_be_measured():
    with pytest.raises(InputError, match="there is no such model"):
        bench_train("resnet")
    with pytest.raises(InputError, match="--steps: found 0; give 1 or more"):
        bench_train("cnn2d_nano", steps=0)
    with pytest.raises(InputError, match="cannot be shared by"):
        bench_train("cnn2d_nano", batch_size=3)
