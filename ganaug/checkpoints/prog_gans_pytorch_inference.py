"""ProGANs of ptrblck/prog_gans_pytorch_inference."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ganaug.checkpoints.layout import Layout, register, renamed
from ganaug.errors import GeneratorError
from ganaug.generators import ProGAN, load_weights


def build(state: Mapping[str, Tensor], *, image_size: int | None = None, origin: str = "the checkpoint") -> ProGAN:
    """Build the frozen generator of a state dict in the layout of ptrblck/prog_gans_pytorch_inference.

    Args:
        state: the tensors; the published ones are ``100_celeb_hq_network-snapshot-010403.pth``, 1024 pixels.
        image_size: the resolution that is expected. The layout keeps the last toRGB layer only, and the features
            of a lower resolution can't be shown without their own, so no other than the checkpoint's is possible.
        origin: where ``state`` comes from, for the error.

    Raises:
        GeneratorError: missing, extra or mis-shaped tensors; another resolution than ``image_size``.
    """
    numbers = [int(match[1]) for name in state if (match := re.match(r"features\.(\d+)\.", name))]
    layers = min(len(state), 1 + max(numbers, default=0))
    layers += layers % 2  # two for each resolution
    names = {f"features.{k}": f"stages.{k // 2 - 1}.conv{k % 2 + 1}" for k in range(2, layers)}
    names |= {"features.0": "dense", "features.1": "conv", "output": "to_rgb"}
    found = renamed(
        state,
        {f"{theirs}.conv.weight": (f"{ours}.weight", 4) for theirs, ours in names.items()}
        | {f"{theirs}.wscale.scale": (f"{ours}.scale", 1) for theirs, ours in names.items()}
        | {f"{theirs}.wscale.b": (f"{ours}.bias", 1) for theirs, ours in names.items()},
        layout="ProGAN",
        origin=origin,
    )
    size = 2 << layers // 2
    if image_size not in (None, size):
        raise GeneratorError(
            f"{origin} draws {size} pixels, and image_size={image_size} was asked for. That needs a toRGB layer "
            "for the features of that resolution, and the checkpoint holds the last one only (output.conv.weight). "
            "Leave image_size out, and resize the images."
        )
    folded = {f"{ours}.bias": found[f"{ours}.bias"] for ours in names.values()}
    for theirs, ours in names.items():
        weight, scale = found[f"{ours}.weight"], found[f"{ours}.scale"]
        if scale.numel() != 1:
            raise GeneratorError(f"{origin}: {theirs}.wscale.scale is {tuple(scale.shape)}, expected (1,).")
        folded[f"{ours}.weight"] = weight * scale
    # A 4 x 4 convolution of one pixel, padded by 3, is the transposed one with its kernel turned round.
    dense = folded["dense.weight"].flip(2, 3).transpose(0, 1)
    folded["dense.weight"] = dense
    with torch.device("meta"):
        generator = ProGAN(
            latent_dim=dense.shape[0],
            channels=folded["to_rgb.bias"].shape[0],
            image_size=size,
            widths=[folded["conv.bias"].shape[0]]
            + [folded[f"stages.{stage}.conv2.bias"].shape[0] for stage in range(layers // 2 - 1)],
        )
    return load_weights(generator, folded, origin=origin)


register(
    Layout(
        title="ProGAN (ptrblck/prog_gans_pytorch_inference)",
        architecture=ProGAN.architecture,
        build=build,
        has=("features.0.conv.weight", "features.0.wscale.scale", "output.conv.weight"),
        pattern=r"(features\.\d+|output)\.(conv\.weight:4|wscale\.(scale|b):1)",
        rank=30,
    )
)
