"""What makes torchvision importable beside any torch."""

import contextlib

# Its wheels are built for CUDA: beside a torch without it, its operators have to be declared by hand, and before
# transformers or MONAI look for it.
with contextlib.suppress(ImportError):
    import torch

    _LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, _name):
            _LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
