"""ProGAN's generator (Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation",
ICLR 2018, table 2)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ganaug.generators.generator import Generator
from ganaug.generators.layers import UpsampledConv2d, pixel_norm, stage_widths


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
