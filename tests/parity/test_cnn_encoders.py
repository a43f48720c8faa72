"""ResNet, ConvNeXt and EfficientNet with the weights of Hugging Face's and MONAI's, beside them."""

import re

import jax
import numpy as np
import pytest

from ichformer.models.encoders.convnext import ConvNext
from ichformer.models.encoders.efficientnet import EfficientNet, Stage
from ichformer.models.encoders.resnet import IMAGENET_MEAN, IMAGENET_STD, ResNet
from ichformer.models.weights.layouts.convnext import (
    authors_convnext,
    huggingface_convnext,
    timm_convnext,
    torchvision_convnext,
)
from ichformer.models.weights.layouts.efficientnet import pytorch_efficientnet
from ichformer.models.weights.layouts.registry import recognise
from ichformer.models.weights.layouts.resnet import huggingface_resnet, torchvision_resnet
from ichformer.models.weights.source import Source
from tests.parity.compare import assert_parity, randomise, tensors_of
from tests.parity.reference import Installed, torch

monai = Installed("monai.networks.nets")
transformers = Installed("transformers")
X = np.random.default_rng(0).random((2, 40, 72, 3), np.float32)


def channels_first(x, mean=IMAGENET_MEAN, std=IMAGENET_STD):
    return torch.from_numpy(np.ascontiguousarray(((x - mean) / std).transpose(0, 3, 1, 2), np.float32))


def apply(encoder):
    return lambda params, x: encoder.apply({"params": params}, x, train=False)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_resnet_of_hugging_face(reference, bottleneck):
    def theirs():
        config = transformers.ResNetConfig(
            embedding_size=8,
            hidden_sizes=[32, 64] if bottleneck else [8, 16],
            depths=[2, 2],
            layer_type="bottleneck" if bottleneck else "basic",
        )
        return randomise(transformers.ResNetModel(config))

    assert_parity(
        reference,
        ours=apply(ResNet((2, 2), (8, 16), bottleneck, norm="affine")),
        layout=huggingface_resnet,
        theirs=theirs,
        run=lambda model: model(channels_first(X)).last_hidden_state.permute(0, 2, 3, 1),
        inputs=(X,),
    )


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_resnet_by_torchvisions_names(reference, block):
    """MONAI's 2-D ResNet has torchvision's names and structure."""

    def theirs():
        module = monai.ResNet(
            block,
            [1, 2, 1, 1],
            [8, 16, 24, 32],
            spatial_dims=2,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )
        return randomise(module)

    def run(model):
        y = model.maxpool(model.act(model.bn1(model.conv1(channels_first(X)))))
        for part in (model.layer1, model.layer2, model.layer3, model.layer4):
            y = part(y)
        return y.permute(0, 2, 3, 1)

    assert_parity(
        reference,
        ours=apply(ResNet((1, 2, 1, 1), (8, 16, 24, 32), block == "bottleneck", norm="affine")),
        layout=torchvision_resnet,
        theirs=theirs,
        run=run,
        inputs=(X,),
    )


def convnext():
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 24], depths=[1, 2, 1], num_stages=3)
    return randomise(transformers.ConvNextModel(config))


def test_convnext_of_hugging_face(reference):
    x = X[:, :32, :64]
    assert_parity(
        reference,
        ours=apply(ConvNext((1, 2, 1), (8, 16, 24))),
        layout=huggingface_convnext,
        theirs=convnext,
        run=lambda model: model.layernorm(model(channels_first(x)).last_hidden_state.permute(0, 2, 3, 1)),
        inputs=(x,),
    )


def test_convnext_of_torchvision(reference):
    def theirs():
        torchvision = Installed("torchvision.models.convnext")
        sizes = [(8, 16, 1), (16, 24, 2), (24, None, 1)]
        settings = [torchvision.CNBlockConfig(*size) for size in sizes]
        return randomise(torchvision.ConvNeXt(settings, layer_scale=1.0, num_classes=2))

    found = recognise(reference.tensors(lambda: tensors_of(theirs())), where="a file")
    assert found.layout.name == "torchvision ConvNeXt"
    x = X[:, :32, :64]
    assert_parity(
        reference,
        ours=apply(ConvNext((1, 2, 1), (8, 16, 24))),
        layout=torchvision_convnext,
        theirs=theirs,
        run=lambda model: model.classifier[0](model.features(channels_first(x))).permute(0, 2, 3, 1),
        inputs=(x,),
        left=("classifier.2.bias", "classifier.2.weight"),
    )


# From Hugging Face's names to those of facebookresearch/ConvNeXt (models/convnext.py) and timm (models/convnext.py).
AUTHORS = [
    (r"^embeddings\.patch_embeddings", "downsample_layers.0.0"),
    (r"^embeddings\.layernorm", "downsample_layers.0.1"),
    (r"^encoder\.stages\.(\d)\.downsampling_layer", r"downsample_layers.\1"),
    (r"^encoder\.stages\.(\d)\.layers", r"stages.\1"),
    (r"layer_scale_parameter", "gamma"),
    (r"layernorm", "norm"),
]
TIMM = [
    (r"^embeddings\.patch_embeddings", "stem.0"),
    (r"^embeddings\.layernorm", "stem.1"),
    (r"^layernorm", "head.norm"),
    (r"^encoder\.stages\.(\d)\.downsampling_layer", r"stages.\1.downsample"),
    (r"^encoder\.stages\.(\d)\.layers", r"stages.\1.blocks"),
    (r"dwconv", "conv_dw"),
    (r"layernorm", "norm"),
    (r"pwconv(\d)", r"mlp.fc\1"),
    (r"layer_scale_parameter", "gamma"),
]


@pytest.mark.full
@pytest.mark.parametrize(("renames", "layout"), [(AUTHORS, authors_convnext), (TIMM, timm_convnext)])
def test_convnext_by_other_names(renames, layout):
    theirs = {name: tensor.numpy() for name, tensor in convnext().state_dict().items()}
    renamed = {"head.fc.weight": np.zeros((5, 24), np.float32)}
    for name, value in theirs.items():
        for old, new in renames:
            name = re.sub(old, new, name)
        renamed["module." + name] = value
    found = recognise(renamed, where="a file")
    assert found.layout.convert is layout
    jax.tree.map(np.testing.assert_array_equal, layout(found.source), huggingface_convnext(Source(theirs)))
    assert found.left == ("head.fc.weight",)


@pytest.mark.full
def test_files_of_the_others_are_recognised():
    resnet = transformers.ResNetForImageClassification(
        transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    )
    layouts = {
        torchvision_resnet: monai.ResNet("basic", [1] * 4, [8] * 4, spatial_dims=2),
        huggingface_resnet: resnet,
        huggingface_convnext: convnext(),
        pytorch_efficientnet: monai.EfficientNet(
            ["r1_k3_s11_e1_i32_o16"], spatial_dims=2, width_coefficient=1.0, depth_coefficient=1.0
        ),
    }
    for layout, module in layouts.items():
        tensors = {"module." + name: tensor.numpy() for name, tensor in module.state_dict().items()}
        assert recognise(tensors, where="a file").layout.convert is layout


def test_efficientnet_of_monai(reference):
    def theirs():
        # Without "se" in the blocks, and with ReLU6 in the place of swish, it is a Lite model.
        blocks = ["r1_k3_s11_e1_i32_o16", "r2_k5_s22_e6_i16_o24", "r1_k3_s22_e6_i24_o40"]
        sizes = {"spatial_dims": 2, "num_classes": 2, "width_coefficient": 1.0, "depth_coefficient": 1.0}
        module = monai.EfficientNet(blocks, **sizes)
        for part in module.modules():
            if hasattr(part, "_swish"):
                part._swish = torch.nn.ReLU6()
        return randomise(module)

    def run(model):
        y = model._conv_stem(model._conv_stem_padding(channels_first(X, 127 / 255, 128 / 255)))
        y = model._blocks(model._swish(model._bn0(y)))
        return model._swish(model._bn1(model._conv_head(model._conv_head_padding(y)))).permute(0, 2, 3, 1)

    stages = (Stage(16, 1, 3, 1, 1), Stage(24, 2, 5, 2, 6), Stage(40, 1, 3, 2, 6))
    assert_parity(
        reference,
        ours=apply(EfficientNet(stages, norm="affine")),
        layout=pytorch_efficientnet,
        theirs=theirs,
        run=run,
        inputs=(X,),
        left=("_fc.bias", "_fc.weight"),
    )
