"""ProGAN's generator (Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation",
ICLR 2018, table 2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from typing_extensions import Self

from ganaug.errors import GeneratorError
from ganaug.generators.generator import Generator
from ganaug.generators.layers import UpsampledConv2d, pixel_norm, stage_widths
from ganaug.generators.layouts import renamed
from ganaug.generators.network import load_weights


class Stage(nn.Module):
    """What growing by one resolution adds: two convolutions, the first on the input doubled by nearest neighbours."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.conv1: nn.Module = UpsampledConv2d(in_width, out_width, 3, padding=1)
        self.conv2 = nn.Conv2d(out_width, out_width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv1(pixel_norm(x)), 0.2, inplace=True)
        return F.leaky_relu(self.conv2(pixel_norm(x)), 0.2, inplace=True)

    def fuse(self) -> None:
        assert isinstance(self.conv1, UpsampledConv2d)
        self.conv1 = self.conv1.as_transposed()


class ProGAN(Generator):
    """The generator of ProGAN, grown to any resolution.

    The equalised learning rate is a training device: here its scales are part of the weights. What the network
    draws is clamped to [-1, 1], as the original's is when it is shown: it learns that range, but leaves it here and
    there.

    Args:
        latent_dim: length of one latent. Latents are normalised: only their direction counts.
        channels: 1 (grey) or 3 (colour).
        image_size: 4, 8, 16, ... pixels.
        widths: feature maps at each resolution from 4 pixels up; by default the paper's, 512 up to 32 pixels and
            then halved with every doubling.

    See :class:`Generator` for shapes. Unconditional.
    """

    architecture = "progan"
    recomputes = False
    contiguous_width = 64  # the many layers of 1024 pixels add to an error of 3e-5 otherwise

    def __init__(
        self,
        *,
        latent_dim: int = 512,
        channels: int = 3,
        image_size: int = 1024,
        widths: Sequence[int] | None = None,
    ) -> None:
        stages = stage_widths(image_size, widths, features=16384)
        super().__init__(latent_dim=latent_dim, image_size=image_size, channels=channels)
        self.dense = nn.ConvTranspose2d(latent_dim, stages[0], 4)
        self.conv = nn.Conv2d(stages[0], stages[0], 3, padding=1)
        self.stages = nn.ModuleList(Stage(in_width, out_width) for in_width, out_width in pairwise(stages))
        self.to_rgb = nn.Conv2d(stages[-1], channels, 1)

    def synthesize(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        x = F.leaky_relu(self.dense(pixel_norm(latents)[:, :, None, None]), 0.2, inplace=True)
        x = F.leaky_relu(self.conv(pixel_norm(x)), 0.2, inplace=True)
        for stage in self.stages:
            x = checkpoint(stage, x, use_reentrant=False) if self.recomputes else stage(x)
        images: Tensor = self.to_rgb(pixel_norm(x)).clamp(-1, 1)
        return images

    def _fuse(self) -> None:
        for stage in self.stages:
            assert isinstance(stage, Stage)
            stage.fuse()

    @classmethod
    def from_checkpoint(
        cls, state: Mapping[str, Tensor], *, image_size: int | None = None, origin: str = "the checkpoint"
    ) -> Self:
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
            generator = cls(
                latent_dim=dense.shape[0],
                channels=folded["to_rgb.bias"].shape[0],
                image_size=size,
                widths=[folded["conv.bias"].shape[0]]
                + [folded[f"stages.{stage}.conv2.bias"].shape[0] for stage in range(layers // 2 - 1)],
            )
        return load_weights(generator, folded, origin=origin)


def looks_like_progan(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the layout that :meth:`ProGAN.from_checkpoint` reads."""
    return {"features.0.conv.weight", "features.0.wscale.scale", "output.conv.weight"} <= state.keys()
