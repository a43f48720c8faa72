"""An audit as people read it: a table of causes, and a picture with the evidence."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int16

from ichformer.errors import one_line
from ichformer.evaluation.summary import bootstrap_note, figure
from ichformer.explanations.audit.causes import CAUSES, NOT_COVERED, TEXTURE
from ichformer.explanations.audit.effects import ALARM_SHARE
from ichformer.explanations.audit.results import Audit

_WINDOWS_HU = {TEXTURE: (0, 80)}
_WINDOW_HU = (-200, 400)
"""Of the slices; wide enough for what lies outside the brain, narrow for texture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """A slice of the scan whose score a cause moved most.

    Attributes:
      cause: of ``causes.CAUSES``.
      series: the scan.
      effect: logits that its part adds, against the mean over all scans.
      slice_number: counted from 1.
      before: HU of the slice.
      after: the same with the part of another scan.
      map: input x gradient of the scan's score.
    """

    cause: str
    series: str
    effect: float
    slice_number: int
    before: Int16[np.ndarray, "h w"]
    after: Int16[np.ndarray, "h w"]
    map: Float32[np.ndarray, "h w"]


def format_audit(found: Audit) -> str:
    """What the audit says, as a table with one line a cause."""
    alarms = ", ".join(one.cause for one in found.alarms)
    unclear = [one.cause for one in found.causes if one.verdict in ("cannot tell", "not audited")]
    head = f"The scores of {one_line(found.label)} lean on: {alarms}." if alarms else "No cause is found"
    if not alarms:
        head += f", but nothing is known of {', '.join(unclear)}." if unclear else "."
    lines = [
        head,
        "",
        f"{len(found.scans)} scans of {found.patients} patients, split {one_line(found.split)}",
        f"  {'part that is exchanged':<24}{'verdict':<16}{'share of the scores':<30}{'AUROC lost':<28}named in",
    ]
    for one in found.causes:
        told = [figure(one.share, signed=True), figure(one.auroc_lost, signed=True), f"{one.scans_named} scans"]
        cells = [""] * 3 if one.verdict == "not audited" else told
        lines.append(f"  {one.cause:<24}{one.verdict:<16}{cells[0]:<30}{cells[1]:<28}{cells[2]}".rstrip())
        lines += [f"    {one.why}"] * bool(one.why)
    lines += ["", *(f"  {name}: {about}" for name, about in CAUSES.items())]
    lines += [f"  A verdict needs the whole interval of the share on one side of {ALARM_SHARE:.2f}."]
    lines += [f"  {bootstrap_note(found.replicates, found.seed)}"]
    lines += [f"  ! not covered: {what}" for what in NOT_COVERED]
    if found.left_out:
        lines.append(f"  ! {len(found.left_out)} scans were not audited. {one_line(found.left_out[0].reason)}")
    if (rest := found.scans_in_split - len(found.scans) - len(found.left_out)) > 0:
        lines.append(f"  ! {rest} more scans of the split were not taken")
    return "\n".join(lines)


def draw_audit(found: Audit, examples: Sequence[Example]) -> bytes:
    """Draw the shares of all causes with their intervals, and below them a row of pictures for each example.

    A row shows the slice as it is, the same with the part of another scan, and the map of the score over it: red raised
    the score, blue lowered it.

    Args:
      found: the audit.
      examples: one for each cause that the model leans on.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(9, 2.6 + 3.2 * len(examples)), layout="constrained")
    FigureCanvasAgg(canvas)
    grid = canvas.add_gridspec(1 + len(examples), 3, height_ratios=[2.2, *[3.2] * len(examples)])
    axes = canvas.add_subplot(grid[0, :])
    for y, one in enumerate(found.causes):
        colour = "tab:red" if one.verdict == "leans" else "0.4"
        if one.share.value is not None:
            axes.plot(one.share.value, y, "o", color=colour)
            if one.share.interval is not None:
                axes.plot([one.share.interval.low, one.share.interval.high], [y, y], color=colour)
        else:
            axes.text(0.01, y, f"{one.verdict}: {one.why}", va="center", fontsize=8)
    axes.axvline(ALARM_SHARE, color="0.7", linestyle="--")
    axes.set_yticks(range(len(found.causes)), [one.cause.replace("_", " ") for one in found.causes])
    axes.invert_yaxis()
    axes.set_xlim(min(-0.05, axes.get_xlim()[0]), max(1.0, axes.get_xlim()[1]))
    axes.set_xlabel("share of the variance of the scores, 95 % interval over patients")
    axes.set_title(f"{found.label}, {len(found.scans)} scans, split {found.split}. Research use only.", fontsize=10)
    for row, example in enumerate(examples, start=1):
        low, high = _WINDOWS_HU.get(example.cause, _WINDOW_HU)
        largest = float(np.abs(example.map).max()) or 1.0
        titles = (
            f"{example.cause.replace('_', ' ')}: slice {example.slice_number}, {example.effect:+.2f} logits",
            "the same with that of another scan",
            "where the score comes from (input x gradient)",
        )
        for column, (title, hu) in enumerate(zip(titles, (example.before, example.after, example.before), strict=True)):
            axes = canvas.add_subplot(grid[row, column])
            axes.imshow(hu, cmap="gray", vmin=low, vmax=high)
            if column == 2:
                strength = np.abs(example.map) / largest
                axes.imshow(example.map, cmap="bwr", vmin=-largest, vmax=largest, alpha=np.sqrt(strength) * 0.8)
            axes.set_title(title, fontsize=8)
            axes.set_axis_off()
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
