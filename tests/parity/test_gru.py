"""The bidirectional GRU beside torch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ichformer.models.layers.gru import BidirectionalGru
from ichformer.models.registry import create_model
from ichformer.models.weights.layouts.gru import torch_gru
from ichformer.models.weights.load import load_weights
from ichformer.models.weights.source import Source
from tests.parity.compare import assert_parity, randomise, tensors_of
from tests.parity.reference import torch

X = np.random.default_rng(0).standard_normal((3, 9, 6)).astype(np.float32)
GRU = BidirectionalGru(hidden=5, layers=2)


def theirs():
    return randomise(torch.nn.GRU(6, 5, num_layers=2, bidirectional=True, batch_first=True))


def gradients(source):
    """At the gates r and z torch has two biases for our one: each of them has the whole gradient."""
    tensors = {name: source.take(name).copy() for name in source.names}
    for name in tensors:
        if name.startswith("bias_hh"):
            tensors[name][:10] = 0
    return torch_gru(Source(tensors))


def test_gru_of_torch(reference):
    mask = jnp.ones(X.shape[:2], bool)
    assert_parity(
        reference,
        ours=lambda params, x: GRU.apply({"params": params}, x, mask, train=False),
        layout=torch_gru,
        gradient_layout=gradients,
        theirs=theirs,
        run=lambda model: model(torch.from_numpy(X))[0],
        inputs=(X,),
        tolerance=1e-5,
    )


@pytest.mark.full
def test_short_sequences_as_torch_packs_them():
    lengths = [9, 4, 1]
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.from_numpy(X), lengths, batch_first=True)
    reference = theirs()
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(reference(packed)[0], batch_first=True)
    mask = jnp.arange(9)[None] < jnp.asarray(lengths)[:, None]
    ours = GRU.apply({"params": torch_gru(Source(tensors_of(reference)))}, jnp.asarray(X), mask, train=False)
    np.testing.assert_allclose(jnp.where(mask[..., None], ours, 0.0), expected.detach(), atol=1e-5)


@pytest.mark.full
def test_a_file_of_a_sequence_model_goes_to_the_context(tmp_path):
    """The second stage of the RSNA recipes was trained on its own: encoder and heads stay as they are."""
    reference = torch.nn.GRU(3 * 64, 32, num_layers=2, bidirectional=True)
    torch.save({"module.gru." + name: tensor for name, tensor in reference.state_dict().items()}, tmp_path / "gru.pth")
    model = create_model("cnn_gru_nano")
    x, mask, spacing_mm = jnp.zeros((1, 2, 32, 32, 3)), jnp.ones((1, 2), bool), jnp.ones((1, 3))
    fresh = jax.eval_shape(lambda: model.init(jax.random.key(0), x, mask, spacing_mm, False)["params"])
    params, report, _ = load_weights(fresh, tmp_path / "gru.pth")
    assert report.numbers == report.total == sum(leaf.size for leaf in jax.tree.leaves(fresh["context"]))
    np.testing.assert_array_equal(
        params["context"]["gru"]["backward1"]["state"], reference.weight_hh_l1_reverse.detach().T
    )
    assert not report.left
