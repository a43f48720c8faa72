"""Reads weights of ``torch.nn.GRU`` into ``BidirectionalGru``."""

import numpy as np

from ichformer.models.weights.source import Source, Tree


def torch_gru(source: Source) -> Tree:
    """A bidirectional GRU of any number of layers."""
    tree: Tree = {}
    layer = 0
    while f"weight_ih_l{layer}" in source:
        for ours, theirs in ((f"forward{layer}", f"l{layer}"), (f"backward{layer}", f"l{layer}_reverse")):
            given, state = source.alike(f"bias_ih_{theirs}", f"bias_hh_{theirs}")
            hidden = state.size // 3
            # Gates r, z, n: torch's second bias only acts on its own at n, inside the reset.
            added = np.concatenate([state[: 2 * hidden], np.zeros_like(state[2 * hidden :])])
            tree[ours] = {
                "input": {"kernel": source.take(f"weight_ih_{theirs}").T, "bias": given + added},
                "state": source.take(f"weight_hh_{theirs}").T,
                "state_bias": state[2 * hidden :],
            }
        layer += 1
    return tree
