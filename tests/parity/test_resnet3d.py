"""The 3-D ResNet with weights by MedicalNet's names, beside MONAI's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.models.encoders.resnet3d import ResNet3D
from ichformer.models.families.cnn import cnn3d
from ichformer.models.weights.layouts.resnet import torchvision_resnet
from ichformer.models.weights.load import load_weights
from tests.parity.compare import assert_parity, randomise
from tests.parity.reference import Installed, torch

monai = Installed("monai.networks.nets")
X = np.random.default_rng(0).random((2, 16, 32, 24, 1), np.float32)


def padded_shortcut(x, planes, stride, spatial_dims=3):
    """MONAI's and MedicalNet's, which cut the gradient with ``.data``, without that."""
    x = x[:, :, ::stride, ::stride, ::stride]
    return torch.nn.functional.pad(x, (0, 0) * 3 + (0, planes - x.shape[1]))


@pytest.mark.parametrize(
    ("block", "shortcut", "dilated"), [("basic", "A", False), ("bottleneck", "B", False), ("basic", "B", True)]
)
def test_resnet_of_monai(reference, block, shortcut, dilated, monkeypatch):
    def theirs():
        monkeypatch.setattr(
            monai.ResNet, "_downsample_basic_block", lambda self, *args, **options: padded_shortcut(*args, **options)
        )
        module = monai.ResNet(
            block,
            [1, 1, 1, 1],
            [8, 8, 16, 24],
            n_input_channels=1,
            conv1_t_stride=2,
            shortcut_type=shortcut,
            feed_forward=False,
            bias_downsample=False,
        )
        if dilated:
            # What MedicalNet's models/resnet.py builds in stages 3 and 4.
            for stage, dilation in ((module.layer3, 2), (module.layer4, 4)):
                for part in stage.modules():
                    if isinstance(part, torch.nn.Conv3d):
                        part.stride = (1, 1, 1)
                        if part.kernel_size == (3, 3, 3):
                            part.dilation = part.padding = (dilation,) * 3
        return randomise(module)

    def run(model):
        y = torch.from_numpy(np.ascontiguousarray(((X - 0.4) * 3).transpose(0, 4, 1, 2, 3)))
        for part in (model.conv1, model.bn1, model.act, model.maxpool):
            y = part(y)
        for part in (model.layer1, model.layer2, model.layer3, model.layer4):
            y = part(y)
        return y.permute(0, 2, 3, 4, 1)

    encoder = ResNet3D(
        (1, 1, 1, 1),
        (8, 8, 16, 24),
        block == "bottleneck",
        "pad" if shortcut == "A" else "project",
        5,
        dilated,
        "affine",
    )
    stride = 8 if dilated else 32
    # Ours interpolates between planes: at every stride-th slice stands the plane itself.
    assert_parity(
        reference,
        ours=lambda params, x: encoder.apply({"params": params}, x, jnp.ones(x.shape[:2], bool))[:, ::stride],
        layout=torchvision_resnet,
        theirs=theirs,
        run=run,
        inputs=(X,),
    )


@pytest.mark.full
def test_a_file_of_medicalnet_starts_a_model_of_three_windows(tmp_path):
    """Saved from a DataParallel inside a dictionary, as MedicalNet's files are; one channel becomes three."""
    theirs = randomise(
        monai.ResNet(
            "basic",
            [1] * 3 + [0],
            [8, 8, 16, 16],
            n_input_channels=1,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )
    )
    torch.save(
        {"state_dict": {"module." + name: tensor for name, tensor in theirs.state_dict().items()}}, tmp_path / "net.pth"
    )
    model = cnn3d(depths=(1, 1, 1), widths=(8, 8, 16), norm="affine", depth_strides=4)
    x = jnp.repeat(jnp.asarray(X), 3, axis=-1)
    mask, spacing_mm = jnp.ones(x.shape[:2], bool), jnp.ones((2, 3))
    fresh = jax.eval_shape(lambda: model.init(jax.random.key(0), x, mask, spacing_mm, False)["params"])
    params, report, layout = load_weights(fresh, tmp_path / "net.pth")
    assert "MedicalNet" in layout
    assert report.changed == {"encoder/stem/kernel": "from 1 to 3 channels"}
    assert report.numbers == report.total
    ours = jax.jit(lambda params: model.encoder.apply({"params": params}, x, mask)[:, ::16])(params["encoder"])
    y = torch.from_numpy(np.ascontiguousarray(((X - 0.4) * 3).transpose(0, 4, 1, 2, 3)))
    for part in (theirs.conv1, theirs.bn1, theirs.act, theirs.maxpool, theirs.layer1, theirs.layer2, theirs.layer3):
        y = part(y)
    np.testing.assert_allclose(ours, y.detach().permute(0, 2, 3, 4, 1), atol=1e-4)
