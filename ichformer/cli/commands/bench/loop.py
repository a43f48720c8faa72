"""``ichformer bench loop``."""

from ichformer.cli.printing import print_result


def loop(
    *,
    model: str = "slice_vit_nano",
    batch_size: int = 8,
    num_slices: int = 8,
    size: int = 64,
    steps: int = 20,
    rounds: int = 20,
    json: bool = False,
) -> None:
    """Measures how much time the training loop adds to the steps of a model.

    The loop is timed around a step that does nothing, and around the steps of the model beside these steps alone.

    Args:
      model: Name of the model; `ichformer models` lists them.
      batch_size: Scans in a step, over all devices.
      num_slices: Slices of a scan.
      size: Rows and columns of a slice, in pixels.
      steps: Steps of the model in a round, alone and in the loop.
      rounds: How often the two take turns. More rounds make the result more exact.
      json: Print one JSON object in place of text.
    """
    from ichformer.bench.loop import bench_loop, format_loop
    from ichformer.training.process import own_process

    own_process()
    found = bench_loop(model, batch_size=batch_size, num_slices=num_slices, size=size, steps=steps, rounds=rounds)
    print_result(found, format_loop(found), as_json=json)
