"""PatchEncoder beside the vision transformers of transformers, timm, vit_jax and big_vision: values and gradients."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from ichformer.models.encoders.patch_encoder import PatchEncoder
from ichformer.models.layers.attention.transformer import BlockStyle
from ichformer.models.weights.files import read_tensors
from ichformer.models.weights.load import load_weights
from ichformer.models.weights.source import Tree
from tests.parity.compare import flat
from tests.parity.reference import Installed, Network, Reference, coarse, torch, two_bits

transformers = Installed("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

WIDTH, HEADS, DEPTH, PATCH, SIZE, REGISTERS = 24, 2, 3, 4, 16, 3
SIZES = {
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": HEADS,
    "intermediate_size": 4 * WIDTH,
    "image_size": SIZE,
    "patch_size": PATCH,
}
GRID = (SIZE // PATCH, SIZE // PATCH)
DINO = BlockStyle(mlp="gelu", layer_scale=1.0)


def encoder(style: BlockStyle, num_registers: int = 0) -> PatchEncoder:
    return PatchEncoder(
        PATCH,
        WIDTH,
        DEPTH,
        HEADS,
        style=style,
        positions="learned",
        position_grid=GRID,
        class_token=True,
        num_registers=num_registers,
    )


def pictures() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, SIZE, SIZE, 3)).astype(np.float32)


def directions(count: int) -> np.ndarray:
    """What the loss multiplies the tokens with: a sum of squares would hide what a norm holds fixed."""
    return np.random.default_rng(1).normal(size=(2, count, WIDTH)).astype(np.float32)


def randomise(model: Any) -> Any:
    """No zeros and ones of a fresh start, which would hide a norm or a bias that went to the wrong place."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(0.3 * torch.randn(value.shape, generator=generator))
    return coarse(model).eval()


def all_tokens(model: PatchEncoder, params: Tree, x: jax.Array) -> jax.Array:
    """Behind the last norm, tokens of no place first."""
    bound = model.bind({"params": params})
    _, before = bound.before_last_attention(x, train=False)
    return bound.norm(bound.blocks.last(lambda block, _, tokens: block(tokens, train=False), before))


def assert_equal(
    reference: Reference,
    model: PatchEncoder,
    run: Callable[[Path], tuple[Path, np.ndarray, Path]],
    folder: Path,
) -> None:
    """All tokens, and every gradient.

    ``run`` gives a file of weights, the tokens, and a file of gradients: as they come like weights, what brings weights
    into our layout, brings them there too.
    """

    def new_folder() -> Path:
        torch.manual_seed(0)
        new = folder / f"run{len(list(folder.iterdir()))}"
        new.mkdir()
        return new

    tensors = reference.tensors(lambda: read_tensors(run(new_folder())[0]))
    weights = folder / "kept.safetensors"
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, weights)
    x = jnp.asarray(pictures())
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False)["params"])
    fresh = jax.tree.map(lambda p: np.zeros(p.shape, p.dtype), shapes)
    params, report, _ = load_weights(fresh, weights)
    assert (report.new, report.misfits, report.numbers) == ((), {}, report.total)

    def loss(p: Tree) -> tuple[jax.Array, jax.Array]:
        ours = all_tokens(model, p, x)
        return jnp.sum(ours * directions(ours.shape[1])), ours

    found, ours = jax.jit(jax.grad(loss, has_aux=True))(params)

    def compute() -> Network:
        _, tokens, gradients = run(new_folder())
        return Network(tensors=tensors, output=tokens, gradients=flat(load_weights(fresh, gradients)[0]))

    reference.assert_equal(np.asarray(ours), flat(found), compute)


def run_torch(theirs: Any, save: Callable[[Path], Path], folder: Path) -> tuple[Path, np.ndarray, Path]:
    """A file of a torch model's weights, its tokens, and a file of gradients in the place of the weights."""
    weights = save(folder / "weights")
    tokens = theirs(torch.from_numpy(pictures()).permute(0, 3, 1, 2))
    tokens = getattr(tokens, "last_hidden_state", tokens)
    tokens.backward(torch.from_numpy(directions(tokens.shape[1])))
    with torch.no_grad():
        for name, value in theirs.named_parameters():
            gradient = torch.zeros_like(value) if value.grad is None else value.grad
            if name.endswith(("position_embeddings", "pos_embed", "pos_embedding")):
                # The class token's own: where it is added to that of the token, the two would count twice.
                gradient[:, : gradient.shape[1] - GRID[0] * GRID[1]] = 0
            value.copy_(gradient)
    return weights, tokens.detach().numpy(), save(folder / "gradients")


def huggingface(make: Callable[[], Any]) -> Callable[[Path], tuple[Path, np.ndarray, Path]]:
    """As transformers writes it, which is not how it names its tensors in memory."""

    def run(folder: Path) -> tuple[Path, np.ndarray, Path]:
        theirs = make()

        def save(path: Path) -> Path:
            theirs.save_pretrained(path)
            return path / "model.safetensors"

        return run_torch(theirs, save, folder)

    return run


def test_huggingface_vit(reference: Reference, tmp_path: Path) -> None:
    def make() -> Any:
        return randomise(transformers.ViTModel(transformers.ViTConfig(**SIZES), add_pooling_layer=False))

    assert_equal(reference, encoder(BlockStyle(mlp="gelu", epsilon=1e-12)), huggingface(make), tmp_path)


def test_huggingface_vit_mae(reference: Reference, tmp_path: Path) -> None:
    def make() -> Any:
        theirs = randomise(transformers.ViTMAEModel(transformers.ViTMAEConfig(**SIZES, mask_ratio=0.0)))
        # It shuffles its patches even where it hides none; the order that it gives puts them back.
        noise = torch.arange(16.0)[None].repeat(2, 1)
        forward = theirs.forward
        theirs.forward = lambda x: forward(x, noise=noise)
        theirs.embeddings.position_embeddings.requires_grad_(True)
        return theirs

    assert_equal(reference, encoder(BlockStyle(mlp="gelu", epsilon=1e-12)), huggingface(make), tmp_path)


@pytest.mark.parametrize("registers", [0, REGISTERS])
@pytest.mark.parametrize("mlp", ["gelu", "swiglu"])
def test_huggingface_dinov2(reference: Reference, tmp_path: Path, registers: int, mlp: str) -> None:
    def make() -> Any:
        sizes = {**SIZES, "use_swiglu_ffn": mlp == "swiglu"}
        if registers:
            config = transformers.Dinov2WithRegistersConfig(**sizes, num_register_tokens=registers)
            return randomise(transformers.Dinov2WithRegistersModel(config))
        return randomise(transformers.Dinov2Model(transformers.Dinov2Config(**sizes)))

    assert_equal(reference, encoder(BlockStyle(mlp=mlp, layer_scale=1.0), registers), huggingface(make), tmp_path)


def timm(*, registers: int, embed_class: bool) -> Any:
    """timm.models.VisionTransformer by the names of its ``state_dict``; timm itself is not needed."""

    class Part(torch.nn.Module):
        def __init__(self, **parts: Any) -> None:
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part)

    class Timm(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            linear, norm = torch.nn.Linear, lambda: torch.nn.LayerNorm(WIDTH, eps=1e-6)
            self.patch_embed = Part(proj=torch.nn.Conv2d(3, WIDTH, PATCH, PATCH))
            self.cls_token = torch.nn.Parameter(torch.zeros(1, 1, WIDTH))
            if registers:
                self.reg_token = torch.nn.Parameter(torch.zeros(1, registers, WIDTH))
            positions = GRID[0] * GRID[1] + (1 + registers if embed_class else 0)
            self.pos_embed = torch.nn.Parameter(torch.zeros(1, positions, WIDTH))
            self.blocks = torch.nn.ModuleList(
                Part(
                    norm1=norm(),
                    attn=Part(qkv=linear(WIDTH, 3 * WIDTH), proj=linear(WIDTH, WIDTH)),
                    ls1=Part(gamma=torch.nn.Parameter(torch.ones(WIDTH))),
                    norm2=norm(),
                    mlp=Part(fc1=linear(WIDTH, 4 * WIDTH), fc2=linear(4 * WIDTH, WIDTH)),
                    ls2=Part(gamma=torch.nn.Parameter(torch.ones(WIDTH))),
                )
                for _ in range(DEPTH)
            )
            self.norm = norm()

        def forward(self, x: Any) -> Any:
            x = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
            placeless = [getattr(self, name) for name in ("cls_token", "reg_token") if hasattr(self, name)]
            placeless = [token.expand(len(x), -1, -1) for token in placeless]
            if embed_class:
                x = torch.cat([*placeless, x], dim=1) + self.pos_embed
            else:
                x = torch.cat([*placeless, x + self.pos_embed], dim=1)
            for block in self.blocks:
                b, n, _ = x.shape
                qkv = block.attn.qkv(block.norm1(x)).reshape(b, n, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
                y = torch.nn.functional.scaled_dot_product_attention(*qkv).transpose(1, 2).reshape(b, n, WIDTH)
                x = x + block.ls1.gamma * block.attn.proj(y)
                y = block.mlp.fc2(torch.nn.functional.gelu(block.mlp.fc1(block.norm2(x))))
                x = x + block.ls2.gamma * y
            return self.norm(x)

    return Timm()


@pytest.mark.parametrize(("registers", "embed_class"), [(0, True), (REGISTERS, True), (REGISTERS, False)])
def test_timm(reference: Reference, tmp_path: Path, registers: int, embed_class: bool) -> None:
    def run(folder: Path) -> tuple[Path, np.ndarray, Path]:
        theirs = randomise(timm(registers=registers, embed_class=embed_class))

        def save(path: Path) -> Path:
            file = path.with_suffix(".safetensors")
            save_file({name: value.numpy().copy() for name, value in theirs.state_dict().items()}, file)
            return file

        return run_torch(theirs, save, folder)

    assert_equal(reference, encoder(DINO, registers), run, tmp_path)


@pytest.mark.parametrize("as_published", [True, False])
def test_torchvision(reference: Reference, tmp_path: Path, as_published: bool) -> None:
    before = {"mlp.0": "mlp.linear_1", "mlp.3": "mlp.linear_2"} if as_published else {}

    def run(folder: Path) -> tuple[Path, np.ndarray, Path]:
        torchvision = Installed("torchvision.models.vision_transformer")
        theirs = randomise(torchvision.VisionTransformer(SIZE, PATCH, DEPTH, HEADS, WIDTH, 4 * WIDTH, num_classes=2))

        class Tokens(torch.nn.Module):
            """Without the head, by the names of the whole."""

            def named_parameters(self, *_: Any, **__: Any) -> Any:
                return theirs.named_parameters()

            def forward(self, x: Any) -> Any:
                patches = theirs.conv_proj(x).flatten(2).transpose(1, 2)
                return theirs.encoder(torch.cat([theirs.class_token.expand(len(x), -1, -1), patches], dim=1))

        def save(path: Path) -> Path:
            values = {}
            for name, value in theirs.state_dict().items():
                for new, old in before.items():
                    name = name.replace(new, old)
                values[name] = value.numpy().copy()
            save_file(values, path.with_suffix(".safetensors"))
            return path.with_suffix(".safetensors")

        return run_torch(Tokens(), save, folder)

    assert_equal(reference, encoder(BlockStyle(mlp="gelu")), run, tmp_path)


class MlpBlock(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.gelu(nn.Dense(4 * WIDTH)(x))
        return nn.Dense(WIDTH)(x)


class GoogleBlock(nn.Module):
    """Flax numbers what has no name of its own: of one kind in big_vision, of all kinds in vit_jax."""

    names: tuple[str, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        norm1, attention, norm2, mlp = self.names
        y = nn.LayerNorm(name=norm1)(x)
        x = x + nn.MultiHeadDotProductAttention(HEADS, name=attention)(y, y)
        return x + MlpBlock(name=mlp)(nn.LayerNorm(name=norm2)(x))


class Google(nn.Module):
    names: tuple[str, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        before = self.names[3] == "MlpBlock_3"  # vit_jax joins the class token to the patches before positions
        x = nn.Conv(WIDTH, (PATCH, PATCH), (PATCH, PATCH), padding="VALID", name="embedding")(x)
        x = x.reshape(len(x), -1, WIDTH)
        token = jnp.broadcast_to(self.param("cls", nn.initializers.zeros, (1, 1, WIDTH)), (len(x), 1, WIDTH))
        zeros = nn.initializers.zeros
        if before:
            x = jnp.concatenate([token, x], axis=1)
            x = x + self.param("Transformer/posembed_input/pos_embedding", zeros, (1, 17, WIDTH))
        else:
            x = x + self.param("pos_embedding", zeros, (1, 16, WIDTH))
            x = jnp.concatenate([token, x], axis=1)
        for i in range(DEPTH):
            x = GoogleBlock(self.names, name=f"Transformer/encoderblock_{i}")(x)
        return nn.LayerNorm(name="Transformer/encoder_norm")(x)


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("", ("LayerNorm_0", "MultiHeadDotProductAttention_1", "LayerNorm_2", "MlpBlock_3")),
        ("params/", ("LayerNorm_0", "MultiHeadDotProductAttention_0", "LayerNorm_1", "MlpBlock_0")),
    ],
    ids=["vit_jax", "big_vision"],
)
def test_google(reference: Reference, tmp_path: Path, prefix: str, names: tuple[str, ...]) -> None:
    def run(folder: Path) -> tuple[Path, np.ndarray, Path]:
        theirs, x = Google(names), jnp.asarray(pictures())
        shapes = jax.eval_shape(lambda: theirs.init(jax.random.key(0), x))["params"]
        rng = np.random.default_rng(2)
        params = jax.tree.map(lambda p: jnp.asarray(two_bits(0.3 * rng.standard_normal(p.shape))), shapes)

        def loss(p: Tree) -> tuple[jax.Array, jax.Array]:
            tokens = theirs.apply({"params": p}, x)
            return jnp.sum(tokens * directions(17)), tokens

        gradients, tokens = jax.jit(jax.grad(loss, has_aux=True))(params)
        position = "Transformer/posembed_input/pos_embedding"
        if position in gradients:
            gradients[position] = gradients[position].at[:, 0].set(0)  # see ``run_torch``
        for name, tree in (("weights", params), ("gradients", gradients)):
            np.savez(folder / f"{name}.npz", **{prefix + key: value for key, value in flat(tree).items()})
        return folder / "weights.npz", np.asarray(tokens), folder / "gradients.npz"

    assert_equal(reference, encoder(BlockStyle(mlp="gelu_tanh")), run, tmp_path)
