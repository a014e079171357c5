"""SN-GAN's ResNet generator (Miyato et al., "Spectral Normalization for GANs", ICLR 2018, table 4)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.checkpoint import checkpoint

from ganaug.errors import GeneratorError
from ganaug.generators.generator import Generator
from ganaug.generators.layers import Folded, PlainBatchNorm2d, UpsampledConv2d, batch_norm

MOST_WIDTHS = 13
"""Each but the first doubles the resolution."""


class UpBlock(nn.Module):
    """Residual block that doubles the resolution by nearest neighbours."""

    def __init__(self, in_width: int, out_width: int, num_classes: int, shortcut_kernel: int) -> None:
        super().__init__()
        self.norm1 = batch_norm(in_width, num_classes)
        self.conv1: nn.Module = UpsampledConv2d(in_width, out_width, 3, padding=1)
        self.norm2 = batch_norm(out_width, num_classes)
        self.conv2 = nn.Conv2d(out_width, out_width, 3, padding=1)
        self.shortcut_doubles = shortcut_kernel == 3 and in_width != out_width
        self.shortcut: nn.Module
        if in_width == out_width:
            self.shortcut = nn.Identity()
        elif shortcut_kernel == 3:
            self.shortcut = UpsampledConv2d(in_width, out_width, 3, padding=1)
        else:
            self.shortcut = nn.Conv2d(in_width, out_width, 1)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        h = self.conv1(F.relu(self.norm1(x, labels), inplace=True))
        h = F.relu(self.norm2(h, labels), inplace=True)
        shortcut = self.shortcut(x)
        if not self.shortcut_doubles:
            # A 1 x 1 convolution and nearest-neighbour doubling commute; this order is four times cheaper.
            shortcut = F.interpolate(shortcut, scale_factor=2)
        out: Tensor = self.conv2(h).add_(shortcut)
        return out

    def fuse(self) -> None:
        assert isinstance(self.conv1, UpsampledConv2d)
        self.conv1 = self.conv1.as_transposed()
        if isinstance(self.norm2, PlainBatchNorm2d):
            self.conv1 = fuse_conv_bn_eval(self.conv1.eval(), self.norm2, transpose=True)
            self.norm2 = Folded()
        if isinstance(self.shortcut, UpsampledConv2d):
            self.shortcut = self.shortcut.as_transposed()


class SNGAN(Generator):
    """The ResNet generator of SN-GAN, grey or colour, unconditional or class-conditional.

    Args:
        latent_dim: length of one latent.
        channels: 1 (grey) or 3 (colour).
        num_classes: number of classes; positive makes every batch norm class-conditional.
        widths: feature maps at the bottom resolution and after each residual block. Each block doubles the
            resolution, so four widths over ``bottom_size=4`` give 32 pixels, five give 64.
        bottom_size: height and width of the first feature map.
        shortcut_kernel: 1 or 3, of the convolution beside a residual block that changes the number of feature maps.
            The paper's is 1 x 1; Voynov & Babenko's generators have 3 x 3.

    The paper's generators, and the 64-pixel one of its authors' code (``latent_dim=128`` in all):

    ====== ========================================= ===========
    pixels widths                                    bottom_size
    ====== ========================================= ===========
    32     ``(256, 256, 256, 256)``                  4
    48     ``(512, 256, 128, 64)``                   6
    64     ``(1024, 512, 256, 128, 64)``             4
    128    ``(1024, 1024, 512, 256, 128, 64)``       4
    ====== ========================================= ===========

    See :class:`Generator` for shapes.
    """

    architecture = "sngan"
    recomputes = False
    contiguous_width = 512

    def __init__(
        self,
        *,
        latent_dim: int = 128,
        channels: int = 3,
        num_classes: int = 0,
        widths: Sequence[int] = (256, 256, 256, 256),
        bottom_size: int = 4,
        shortcut_kernel: int = 1,
    ) -> None:
        if not 2 <= len(widths) <= MOST_WIDTHS or any(not isinstance(width, int) or width < 1 for width in widths):
            raise GeneratorError(f"widths should be 2 to {MOST_WIDTHS} positive integers, got {widths!r}.")
        if shortcut_kernel not in (1, 3):
            raise GeneratorError(f"shortcut_kernel should be 1 or 3, got {shortcut_kernel!r}.")
        super().__init__(
            latent_dim=latent_dim,
            image_size=bottom_size * 2 ** (len(widths) - 1),
            channels=channels,
            num_classes=num_classes,
        )
        self.bottom_size = bottom_size
        self.dense = nn.Linear(latent_dim, widths[0] * bottom_size**2)
        self.blocks = nn.ModuleList(
            UpBlock(in_width, out_width, num_classes, shortcut_kernel) for in_width, out_width in pairwise(widths)
        )
        self.norm = PlainBatchNorm2d(widths[-1])
        self.to_image = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def synthesize(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        h = self.dense(latents).unflatten(1, (-1, self.bottom_size, self.bottom_size))
        for block in self.blocks:
            h = checkpoint(block, h, labels, use_reentrant=False) if self.recomputes else block(h, labels)
        images: Tensor = self.to_image(F.relu(self.norm(h), inplace=True)).tanh()
        return images

    def _fuse(self) -> None:
        for block in self.blocks:
            assert isinstance(block, UpBlock)
            block.fuse()
