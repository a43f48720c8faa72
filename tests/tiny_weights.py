"""A file of weights as others publish them, small enough to be made by a test."""

import numpy as np

WIDTH, DEPTH, PATCH, GRID, REGISTERS = 96, 3, 14, 16, 4


def tiny_dinov2() -> dict[str, np.ndarray]:
    """A network of slice_vit_nano's width by the names of Meta's DINOv2 with registers, with patches of 14."""
    rng = np.random.default_rng(0)
    shapes = {
        "cls_token": (1, 1, WIDTH),
        "register_tokens": (1, REGISTERS, WIDTH),
        "mask_token": (1, WIDTH),
        "pos_embed": (1, 1 + GRID**2, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
    }
    for i in range(DEPTH):
        parts = {"norm1": (WIDTH,), "norm2": (WIDTH,), "attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH)}
        parts |= {"mlp.fc1": (4 * WIDTH, WIDTH), "mlp.fc2": (WIDTH, 4 * WIDTH)}
        for part, shape in parts.items():
            shapes |= {f"blocks.{i}.{part}.weight": shape, f"blocks.{i}.{part}.bias": shape[:1]}
        shapes |= {f"blocks.{i}.ls{k}.gamma": (WIDTH,) for k in (1, 2)}
    return {name: rng.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}
