"""What makes torchvision importable beside any torch, and where a test finds the network of another library."""

import contextlib

import pytest

from tests.parity.reference import Reference

# Its wheels are built for CUDA: beside a torch without it, its operators have to be declared by hand, and before
# transformers or MONAI look for it.
with contextlib.suppress(ImportError):
    import torch

    _LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, _name):
            _LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


@pytest.fixture(
    params=[pytest.param("kept", marks=pytest.mark.slow), pytest.param("installed", marks=pytest.mark.full)]
)
def reference(request: pytest.FixtureRequest) -> Reference:
    """The network that the test is about, by the test's name and parameters."""
    case = request.node.callspec.id.replace(request.param, "").strip("-")
    words = [request.path.stem, request.node.originalname, *([case] if case else [])]
    return Reference("-".join(word.removeprefix("test_") for word in words), installed=request.param == "installed")
