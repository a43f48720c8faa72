"""``ichformer explain``."""

from pathlib import Path
from typing import Literal

from ichformer.cli.printing import print_result
from ichformer.files.writing import shown


def explain(
    run: Path,
    scan: Path,
    /,
    *,
    out: Path,
    method: tuple[str, ...] = ("input_x_gradient",),
    label: str = "any",
    level: Literal["scan", "slice"] | None = None,
    window: tuple[float, float] | None = None,
    json: bool = False,
) -> None:
    """Draws maps of what the score of a scan comes from. Research use only.

    A map is written as NIfTI on the grid of the scan and as a picture of all slices. The file explanation.json says
    what each map is. None of these files names a person.

    Args:
      run: Folder of a run or of an ensemble. The word default stands for the weights that come with ichformer.
      scan: The scan: DICOM (a folder, a file, a zip or tar), a NIfTI file or pictures.
      out: Folder for the maps.
      method: Methods, one or more. On the features of the model: hires_cam, grad_cam, grad_cam_plus_plus, layer_cam
        and ablation_cam, which are coarse, and all but the last are fast. With a layer behind an @ they take its
        features, such as hires_cam@encoder/stage0_block1. For models that attend within slices: attention_rollout,
        gradient_attention and legrad. On the voxels: input_x_gradient, attn_lrp (for models with attention),
        integrated_gradients, smooth_grad, occlusion and rise. And lesions, the map of a model with a lesion head.
      label: Label whose score is explained.
      level: Whose score is explained, that of the whole scan or those of its slices. By default that of the slices,
        unless they were never trained.
      window: The HU that are black and white in display pictures (PNG, JPEG, TIFF), such as 0 80. By default they are
        estimated from the pictures. Give them where you know them.
      json: Print one JSON object in place of text.
    """
    from ichformer.training.process import own_process
    from ichformer.workflows.explanations.explain_scan import explain_scan

    own_process()
    found = explain_scan(run, scan, methods=method, label=label, level=level, out=out, window_hu=window)
    lines = [
        f"{one['method']} of {one['label']}, level {one['level']}: {one['picture']} and {one['voxels']}, "
        f"cells {one['cells']['rows']} x {one['cells']['columns']}, largest {one['largest']:.3g} {one['unit']}"
        + ("" if one["completeness_error"] is None else f", completeness error {one['completeness_error']:.2g}")
        for one in found["explanations"]
    ]
    lines += [f"folder: {shown(out)}", "Research use only. Not for diagnosis."]
    print_result(found, "\n".join(lines), as_json=json)
