"""BigGAN-deeps of the package ``pytorch-pretrained-biggan``: ``pytorch_model.bin`` and ``config.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ganaug.checkpoints.layout import Layout, another_layout, register
from ganaug.checkpoints.spectral_norm import divided, singular_vector
from ganaug.errors import GeneratorError
from ganaug.generators import BigGANDeep, load_weights
from ganaug.generators.biggan import BOTTOM_SIZE

# The tensors that tell the layout and its sizes, with their number of dimensions.
DIMENSIONS = {
    "embeddings.weight": 2,
    "generator.gen_z.weight_orig": 2,
    "generator.bn.running_means": 2,
    "generator.conv_to_rgb.weight_orig": 4,
}


def build(
    state: Mapping[str, Tensor], *, config: Mapping[str, Any] | None = None, truncation: float = 1.0
) -> BigGANDeep:
    """Build the frozen generator of a ``pytorch_model.bin`` of ``pytorch-pretrained-biggan``.

    Sizes are read off the tensors. They do not tell which blocks double the resolution: without a ``config`` every
    second one does, from the second on, as in all published models, and ``eps`` is 1e-4.

    Args:
        state: the state dict.
        config: the ``config.json`` beside it; ``layers`` and ``eps`` are taken from it, other sizes compared.
        truncation: see :class:`BigGANDeep`.

    Raises:
        GeneratorError: another layout, a config of another model, or tensors missing, extra or mis-shaped.
    """
    if not _recognises(state):
        raise another_layout(state, "pytorch-pretrained-biggan's pytorch_model.bin", DIMENSIONS)
    config = config or {}
    class_embed_dim, num_classes = state["embeddings.weight"].shape
    n_stats, ch = state["generator.bn.running_means"].shape
    latent_dim = state["generator.gen_z.weight_orig"].shape[1] - class_embed_dim
    layers, position = _layers(state, max(ch, 1))
    sizes = {"z_dim": latent_dim, "num_classes": num_classes, "channel_width": ch, "n_stats": n_stats}
    wrong = [f"{name} {config[name]!r}, not {size}" for name, size in sizes.items() if config.get(name, size) != size]
    if wrong:
        raise GeneratorError(f"the config is not the checkpoint's: it says {'; '.join(wrong)}.")
    with torch.device("meta"):  # nothing is allocated before the tensors are seen to fit
        generator = BigGANDeep(
            latent_dim=latent_dim,
            num_classes=num_classes,
            class_embed_dim=class_embed_dim,
            ch=ch,
            layers=config.get("layers", layers),
            attention_layer_position=position,
            eps=config.get("eps", 1e-4),
            n_stats=n_stats,
            truncation=truncation,
        )
    return load_weights(generator, _weights(state), origin="the checkpoint")


def _recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the layout of the PyPI package ``pytorch-pretrained-biggan``."""
    return all(name in state and state[name].ndim == ndim for name, ndim in DIMENSIONS.items())


NAMES = (
    (r"^generator\.", ""),
    (r"^embeddings\.", "shared."),
    (r"^gen_z\.", "linear."),
    (r"^conv_to_rgb\.", "to_image."),
    (r"^bn\.weight$", "norm.gain"),
    (r"^bn\.", "norm."),
    (r"\.bn_(\d)\.", r".norms.\1."),
    (r"\.conv_(\d)\.", r".convs.\1."),
    (r"\.scale\.", ".gain."),
    (r"\.offset\.", ".bias."),
    (r"\.snconv1x1_(theta|phi|g|o)(_conv)?\.", r".\1."),
    (r"\.weight_orig$", ".weight"),
    (r"\.running_means$", ".means"),
    (r"\.running_vars$", ".variances"),
)


def _weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The package's tensors under our names, spectral norm folded in: sigma = u^T W v with both vectors as stored."""
    weights = {}
    for name, tensor in state.items():
        stem, _, kind = name.rpartition(".")
        if kind in ("weight_u", "weight_v") and f"{stem}.weight_orig" in state:
            continue
        if kind == "weight_orig" and tensor.ndim > 1:
            matrix = tensor.flatten(1)
            u, v = (
                singular_vector(state, f"{stem}.weight_{side}", tensor, length)
                for side, length in zip("uv", matrix.shape, strict=True)
            )
            tensor = divided(name, tensor, u @ (matrix @ v))
        if name == "embeddings.weight":  # a linear layer of one-hot labels
            tensor = tensor.mT.contiguous()
        elif stem == "generator.gen_z" and tensor.ndim and len(tensor) % 16 == 0:  # features come last in TensorFlow
            tensor = tensor.unflatten(0, (BOTTOM_SIZE, BOTTOM_SIZE, -1)).movedim(2, 0).flatten(0, 2)
        elif stem == "generator.conv_to_rgb":  # of as many channels as feature maps the package shows three
            tensor = tensor[:3].clone() if tensor.shape[:1] == state["generator.bn.running_means"].shape[1:] else tensor
        elif kind == "gamma" and tensor.numel() == 1:
            tensor = tensor.reshape(())
        for pattern, ours in NAMES:
            name = re.sub(pattern, ours, name)
        weights[name] = tensor
    return weights


def _layers(state: Mapping[str, Tensor], ch: int) -> tuple[list[tuple[bool, int, int]], int | None]:
    """The blocks of a checkpoint, every second one taken to double the resolution, and the one after attention."""
    numbers = {int(match[1]) for name in state if (match := re.match(r"generator\.layers\.(\d{1,6})\.", name))}
    layers: list[tuple[bool, int, int]] = []
    position = None
    for number in sorted(numbers):
        stem = f"generator.layers.{number}"
        if f"{stem}.gamma" in state:
            position = len(layers)
            continue
        widths = []
        for name, dim in ((f"{stem}.conv_0.weight_orig", 1), (f"{stem}.conv_3.weight_orig", 0)):
            if name not in state or state[name].ndim != 4:
                raise GeneratorError(f"the checkpoint has no convolution {name}. Is it whole?")
            widths.append(state[name].shape[dim] // ch)
        layers.append((len(layers) % 2 == 1, widths[0], widths[1]))
    return layers, position


register(
    Layout(
        title="BigGAN-deep (pytorch-pretrained-biggan)",
        architecture=BigGANDeep.architecture,
        build=build,
        has=tuple(DIMENSIONS),
        pattern=r"embeddings\.weight:2|generator\.(gen_z|layers\.\d+|bn|conv_to_rgb)\..+",
        recognises=_recognises,
        config="config.json",
        rank=80,
    )
)
