"""The bidirectional GRU beside torch's."""

import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ichformer.models.layers.gru import BidirectionalGru
from ichformer.models.weights.gru import torch_gru
from ichformer.models.weights.source import Source
from tests.parity.compare import assert_parity, randomise, source_of

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


def test_gru_of_torch():
    reference = theirs()
    params = torch_gru(source_of(reference))
    mask = jnp.ones(X.shape[:2], bool)
    ours = GRU.apply({"params": params}, jnp.asarray(X), mask, train=False)
    np.testing.assert_allclose(ours, reference(torch.from_numpy(X))[0].detach(), atol=1e-5)
    assert_parity(
        ours=lambda params, x: GRU.apply({"params": params}, x, mask, train=False),
        layout=torch_gru,
        gradient_layout=gradients,
        theirs=reference,
        run=lambda model: model(torch.from_numpy(X))[0],
        inputs=(X,),
    )


def test_short_sequences_as_torch_packs_them():
    lengths = [9, 4, 1]
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.from_numpy(X), lengths, batch_first=True)
    reference = theirs()
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(reference(packed)[0], batch_first=True)
    mask = jnp.arange(9)[None] < jnp.asarray(lengths)[:, None]
    ours = GRU.apply({"params": torch_gru(source_of(reference))}, jnp.asarray(X), mask, train=False)
    np.testing.assert_allclose(jnp.where(mask[..., None], ours, 0.0), expected.detach(), atol=1e-5)
