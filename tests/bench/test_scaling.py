"""What devices send is read rightly from a module's text, and the prediction is the formula that it says."""

import json

import jax
import pytest

from ichformer.bench.collectives import Collective, collectives, reads
from ichformer.bench.scaling import LINKS, MFU, POD, bench_scaling, predict_pods, read_counts
from ichformer.cli import main
from ichformer.errors import InputError
from ichformer.models.registry import registered_models

# In the notations of XLA on CPU, GPU and TPU: named groups, listed ones, shaped ones; in a loop, and in two halves.
MODULE = """HloModule step, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%body (loop: (s32[], f32[8,64])) -> (s32[], f32[8,64]) {
  %loop = (s32[], f32[8,64]) parameter(0)
  %shard = bf16[2,64]{1,0} get-tuple-element(%loop), index=1
  %gathered = bf16[8,64]{1,0} all-gather(%shard), replica_groups=[2,4]<=[8], dimensions={0}
  ROOT %turn = (s32[], f32[8,64]) tuple(%shard, %gathered)
}

%condition (loop.1: (s32[], f32[8,64])) -> pred[] {
  %loop.1 = (s32[], f32[8,64]) parameter(0)
  ROOT %less = pred[] constant(true)
}

ENTRY %main (p: f32[16], m: f32[16], x: f32[8,64]) -> f32[16] {
  %p = f32[16]{0} parameter(0), metadata={op_name="state.params['a']"}
  %m = f32[16]{0} parameter(1), metadata={op_name="state.opt_state[0].mu['a']"}
  %x = f32[8,64]{1,0} parameter(2), metadata={op_name="batch.hu"}
  %g = (f32[16]{0}, f32[4]{0}) all-reduce(%p, %x), replica_groups={{0,1},{2,3}}, to_apply=%add
  %start = (f32[16]{0}, f32[128]{0}) all-gather-start(%p), replica_groups=mesh['a'=2,'b'=4] {'a','b'}, dimensions={0}
  %done = f32[128]{0} all-gather-done(%start)
  %scattered = f32[16]{0} reduce-scatter(%done), replica_groups=[1,8]<=[8], to_apply=%add
  %alone = f32[16]{0} all-reduce(%m), replica_groups=[8,1]<=[8], to_apply=%add
  %init = (s32[], f32[8,64]) tuple(%x)
  %while = (s32[], f32[8,64]) while(%init), condition=%condition, body=%body, backend_config={KNOWN}
  %mean = f32[16]{0} multiply(%m, %scattered)
  ROOT %moved = f32[16]{0} collective-permute(%mean), source_target_pairs={{0,1},{1,0}}
}
""".replace("KNOWN", '"known_trip_count":{"n":"3"}')


def test_every_exchange_is_found_with_its_size_its_devices_and_how_often_it_runs():
    assert collectives(MODULE, devices=8) == [
        Collective(kind="all-reduce", result_bytes=80, devices=2, times=1),
        Collective(kind="all-gather", result_bytes=512, devices=8, times=1),
        Collective(kind="reduce-scatter", result_bytes=64, devices=8, times=1),
        Collective(kind="all-gather", result_bytes=1024, devices=4, times=3),
        Collective(kind="collective-permute", result_bytes=64, devices=8, times=1),
    ]
    sent = [each.sent_bytes for each in collectives(MODULE, devices=8)]
    assert sent == [2 * 1 / 2 * 80, 7 / 8 * 512, 7 * 64, 3 * 3 / 4 * 1024, 64]


def test_what_follows_from_an_argument():
    assert reads(MODULE, "all-gather", "state.opt_state") == []
    assert reads(MODULE, "all-gather", "state.params") == ["start"]
    assert reads(MODULE, "all-gather", "batch") == ["while"]
    assert reads(MODULE, "collective-permute", "state.opt_state") == ["moved"]


@pytest.mark.parametrize("text", ["", "1,,2", "0", "-1", "two", "1;2"])
def test_counts_that_are_none(text):
    with pytest.raises(InputError, match=r"1,2,4,8"):
        read_counts(text)
    assert read_counts("1, 2,8") == (1, 2, 8)


def test_the_prediction_is_its_formula():
    rows = [{"layout": "data", "devices": 1, "mb_sent": 0.0}, {"layout": "data", "devices": 8, "mb_sent": 1400.0}]
    pods = {pod["device"]: pod for pod in predict_pods(rows, 1e12, "bfloat16")}
    assert set(pods) == set(LINKS)
    sent_gb = 1.6 * (POD - 1) / POD  # 1.4 GB on 8 devices are 1.6 on very many
    assert pods["TPU v5p"]["compute_s"] == pytest.approx(3e12 / (MFU * 459e12))
    assert pods["TPU v5p"]["send_s"] == pytest.approx(sent_gb / 200)
    assert pods["H100"]["send_s"] == pytest.approx(sent_gb / 400)
    for pod in pods.values():
        t, c = pod["compute_s"], pod["send_s"]
        assert pod["low"] == pytest.approx(t / (t + c))
        assert pod["high"] == pytest.approx(min(1, t / c))


@pytest.mark.full
def test_data_parallel_sums_each_gradient_once_and_fsdp_holds_less(capsys):
    words = ["--scaling", "1,8", "--batch-size", "1", "--num-slices", "2", "--size", "64", "--json"]
    main(["bench", "train", "--model", "slice_vit_nano", *words])
    found = json.loads(capsys.readouterr().out)
    rows = {(row["layout"], row["devices"]): row for row in found["rows"]}
    gradient_mb = 4 * registered_models()["slice_vit_nano"].params / 1e6
    assert rows["data", 1]["mb_sent"] == rows["fsdp", 1]["mb_sent"] == 0
    # Every gradient once, and the sums of loss and metrics, which are a few numbers.
    assert rows["data", 8]["kinds"] == {"all-reduce": pytest.approx(2 * 7 / 8 * gradient_mb, rel=1e-3)}
    gathered = rows["fsdp", 8]["kinds"]["all-gather"]
    assert 0.9 * 7 / 8 * gradient_mb < gathered < 2.1 * 7 / 8 * gradient_mb
    assert rows["fsdp", 8]["argument_mb"] < rows["fsdp", 1]["argument_mb"] / 6
    assert 0 < found["pods"][0]["low"] < found["pods"][0]["high"] <= 1


def test_more_devices_than_there_are():
    with pytest.raises(InputError, match="JAX_NUM_CPU_DEVICES"):
        bench_scaling("cnn2d_nano", (2 * jax.device_count(),))
