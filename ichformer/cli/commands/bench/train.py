"""``ichformer bench train``."""

from typing import Literal

from ichformer.cli.printing import print_result


def train(
    *,
    model: str,
    batch_size: int = 8,
    num_slices: int = 32,
    size: int = 256,
    dtype: Literal["float32", "bfloat16"] = "float32",
    steps: int = 10,
    scaling: str | None = None,
    json: bool = False,
) -> None:
    """Measures how fast a model trains on this machine: scans/s, TFLOP/s, MFU, peak memory, time to compile.

    Args:
      model: Name of the model; `ichformer models` lists them.
      batch_size: Scans in a step, over all devices.
      num_slices: Slices of a scan.
      size: Rows and columns of a slice, in pixels.
      dtype: Type of the activations. GPUs and TPUs are faster with bfloat16.
      steps: Number of steps that are timed.
      scaling: In place of the measurement, compile for these numbers of devices, such as 1,2,4,8, with --batch-size
        scans on each. It says what the devices send each other and predicts the speed of pods of TPU v5p and H100.
      json: Print one JSON object in place of text.
    """
    if scaling is not None:
        from ichformer.bench.scaling import bench_scaling, format_scaling, read_counts

        found = bench_scaling(
            model, read_counts(scaling), batch_size=batch_size, num_slices=num_slices, size=size, dtype=dtype
        )
        return print_result(found, format_scaling(found), as_json=json)
    from ichformer.bench.train import bench_train, format_train
    from ichformer.training.process import own_process

    own_process()
    found = bench_train(model, batch_size=batch_size, num_slices=num_slices, size=size, dtype=dtype, steps=steps)
    return print_result(found, format_train(found), as_json=json)
