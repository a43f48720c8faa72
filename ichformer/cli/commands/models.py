"""``ichformer models``."""

from ichformer.cli.printing import print_result


def models(*, json: bool = False) -> None:
    """Lists the models, with the parameters of each and the floating-point operations (FLOPs) that a scan takes.

    The operations (GFLOP) are those of the forward pass over 32 slices of 256 x 256 pixels and three windows. Both are
    without a lesion head, which "map" says that a model can have (--model.lesions).

    Args:
      json: Print one JSON object in place of text.
    """
    from ichformer.models.registry import model_options, registered_models

    entries = registered_models()
    maps = {name for name in entries if "lesions" in model_options(name)}
    lines = [
        f"{name:<28}{_number(entry.params, ',d'):>12}{_number(entry.gflops, ',.4g'):>9}  "
        f"{'yes' if name in maps else 'no':<3}  {entry.about}"
        for name, entry in entries.items()
    ]
    table = [
        {
            "name": name,
            "family": entry.family,
            "params": entry.params,
            "gflops": entry.gflops,
            "lesions": name in maps,
            "about": entry.about,
        }
        for name, entry in entries.items()
    ]
    text = "\n".join([f"{'':<28}{'parameters':>12}{'GFLOP':>9}  map", *lines])
    print_result({"models": table}, text, as_json=json)


def _number(value: float | None, form: str) -> str:
    """A number that nobody counted is a dash."""
    return "-" if value is None else format(value, form)
