"""``ichformer models``."""

from ichformer.cli.printing import print_result


def models(*, json: bool = False) -> None:
    """Lists the models, with the parameters of each and the floating-point operations (FLOPs) that a scan takes.

    The operations (GFLOP) are those of the forward pass over 32 slices of 256 x 256 pixels and three windows.

    Args:
      json: Print one JSON object in place of text.
    """
    from ichformer.models.registry import registered_models

    entries = registered_models()
    lines = [
        f"{name:<28}{_number(entry.params, ',d'):>12}{_number(entry.gflops, ',.4g'):>9}  {entry.about}"
        for name, entry in entries.items()
    ]
    table = [
        {"name": name, "family": entry.family, "params": entry.params, "gflops": entry.gflops, "about": entry.about}
        for name, entry in entries.items()
    ]
    text = "\n".join([f"{'':<28}{'parameters':>12}{'GFLOP':>9}", *lines])
    print_result({"models": table}, text, as_json=json)


def _number(value: float | None, form: str) -> str:
    """A number that nobody counted is a dash."""
    return "-" if value is None else format(value, form)
