"""SN-GANs of anvoynov/GANLatentDiscovery: a folder of ``generator.pt`` and ``args.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ganaug.checkpoints.layout import (
    BATCH_NORM_TENSORS,
    Layout,
    batch_norm_names,
    counters,
    register,
    renamed,
    without_counters,
)
from ganaug.errors import GeneratorError
from ganaug.generators import SNGAN, load_weights


def build(
    state: Mapping[str, Tensor], *, config: Mapping[str, Any] | None = None, origin: str = "the checkpoint"
) -> SNGAN:
    """Build the frozen generator of a state dict in the layout of anvoynov/GANLatentDiscovery.

    Args:
        state: the tensors of a ``generator.pt``. All sizes are read off them.
        config: the ``args.json`` beside it; its ``model``, ``latent_dim`` and ``image_channels`` are compared.
        origin: where ``state`` comes from, for the error.

    Raises:
        GeneratorError: missing, extra or mis-shaped tensors; a config of another generator.
    """
    state = without_counters(state)
    blocks = max(1, sum(re.fullmatch(r"model\.\d+\.conv1\.weight", name) is not None for name in state))
    layers = {"model.0": ("dense", 2), f"model.{blocks + 4}": ("to_image", 4)}
    norms = {f"model.{blocks + 2}": "norm"}
    for k in range(blocks):
        theirs, ours = f"model.{k + 2}", f"blocks.{k}"
        norms |= {f"{theirs}.model.0": f"{ours}.norm1", f"{theirs}.model.4": f"{ours}.norm2"}
        # Each convolution has two names there; loading leaves it what the second one holds.
        for theirs_too, conv in ((("conv1", "model.3"), "conv1"), (("conv2", "model.6"), "conv2")):
            layers |= {f"{theirs}.{name}": (f"{ours}.{conv}", 4) for name in theirs_too}
        if f"{theirs}.bypass.1.weight" in state:
            layers[f"{theirs}.bypass.1"] = (f"{ours}.shortcut", 4)
    names = {f"{theirs}.weight": (f"{ours}.weight", ndim) for theirs, (ours, ndim) in layers.items()}
    names |= {f"{theirs}.bias": (f"{ours}.bias", 1) for theirs, (ours, _) in layers.items()}
    for theirs, ours in norms.items():
        names |= batch_norm_names(theirs, ours)
    found = renamed(state, names, layout="SN-GAN (Voynov & Babenko)", origin=origin)
    kernels = [tensor.shape[-1] for name, tensor in found.items() if name.endswith("shortcut.weight")]
    with torch.device("meta"):
        generator = SNGAN(
            latent_dim=found["dense.weight"].shape[1],
            channels=len(found["to_image.bias"]),
            widths=[len(found[f"blocks.{k}.norm1.bias"]) for k in range(blocks)] + [len(found["norm.bias"])],
            shortcut_kernel=kernels[0] if kernels else 1,
        )
    sizes = {
        "model": f"sn_resnet{generator.image_size}",
        "latent_dim": generator.latent_dim,
        "image_channels": generator.channels,
    }
    config = config or {}
    wrong = [f"{key} {config[key]!r}, not {size!r}" for key, size in sizes.items() if config.get(key, size) != size]
    if wrong:
        raise GeneratorError(f"the args.json beside {origin} is another generator's: it says {'; '.join(wrong)}.")
    return load_weights(generator, {**counters(generator), **found}, origin=origin)


register(
    Layout(
        title="SN-GAN (anvoynov/GANLatentDiscovery)",
        architecture=SNGAN.architecture,
        build=build,
        has=("model.0.weight", "model.2.conv1.weight", "model.2.model.0.running_mean"),
        pattern=rf"model\.0\.(weight:2|bias:1)|model\.\d+\.(model\.\d\.)?(weight:4|{BATCH_NORM_TENSORS})"
        r"|model\.\d+\.(conv[12]|bypass\.1)\.(weight:4|bias:1)",
        config="args.json",
        rank=20,
    )
)
