"""Layers that several architectures share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from ganaug.errors import GeneratorError


def without_batch_norms(layers: nn.Sequential) -> nn.Sequential:
    """The same map in evaluation, with every batch norm folded into the layer just before it."""
    kept = list(layers)
    for layer, norm in pairwise(layers):
        if isinstance(layer, nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d):
            kept[kept.index(layer)] = fuse_conv_bn_eval(layer, norm, transpose=True)
            kept.remove(norm)
        elif isinstance(layer, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
            kept[kept.index(layer)] = fuse_linear_bn_eval(layer, norm)
            kept.remove(norm)
    return nn.Sequential(*kept)


def pixel_norm(x: Tensor) -> Tensor:
    """Every pixel's features, or every latent, scaled to a mean square of one (section 4.2)."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def stage_widths(image_size: int, widths: Sequence[int] | None, *, features: int) -> tuple[int, ...]:
    """Feature maps at 4, 8, ... ``image_size`` pixels; the paper's ``min(512, features / resolution)`` by default.

    Raises:
        GeneratorError: the size is not a power of two of at least 4, or there is not one positive width per resolution.
    """
    if not isinstance(image_size, int) or image_size < 4 or image_size & (image_size - 1):
        raise GeneratorError(f"image_size should be a power of two of at least 4, got {image_size!r}.")
    stages = image_size.bit_length() - 2
    if widths is None:
        return tuple(max(1, min(512, features >> (stage + 2))) for stage in range(stages))
    if len(widths) != stages or any(not isinstance(width, int) or width < 1 for width in widths):
        raise GeneratorError(
            f"widths should be {stages} positive integers for {image_size} pixels, one for each resolution from 4, "
            f"got {widths!r}."
        )
    return tuple(widths)


class ConditionalBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose gain and bias depend on the class (Miyato & Koyama, "cGANs with Projection Discriminator")."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__(width, affine=False)
        self.gain = nn.Embedding(num_classes, width)
        self.offset = nn.Embedding(num_classes, width)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.offset.weight)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        gain, offset = self.gain(labels)[:, :, None, None], self.offset(labels)[:, :, None, None]
        if self.training:
            out: Tensor = super().forward(x) * gain + offset
            return out
        return _normalised(self, x, gain, offset)


class PlainBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with the conditional one's signature; labels are not used."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.training:
            return super().forward(x)
        return _normalised(self, x, self.weight[:, None, None], self.bias[:, None, None])


def _normalised(norm: nn.BatchNorm2d, x: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    """Batch norm in evaluation: one pass over x forwards and one backwards."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = gain * (norm.running_var + norm.eps).rsqrt()[:, None, None]
    shift = offset - norm.running_mean[:, None, None] * scale
    return torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype))


class Folded(nn.Module):
    """Stands where a batch norm was that is now part of a convolution."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return x


def batch_norm(width: int, num_classes: int) -> nn.Module:
    return ConditionalBatchNorm2d(width, num_classes) if num_classes else PlainBatchNorm2d(width)


class UpsampledConv2d(nn.Conv2d):
    """A 3 x 3 convolution of the input doubled by nearest neighbours."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=2))

    def as_transposed(self) -> nn.ConvTranspose2d:
        """The same map as one 4 x 4 transposed convolution of stride 2, in 16 instead of 36 products a pixel.

        Each input pixel, doubled, is a 2 x 2 block of ones; the block convolved with the kernel is the new kernel.
        """
        assert self.bias is not None
        transposed = nn.utils.skip_init(
            nn.ConvTranspose2d, self.in_channels, self.out_channels, 4, stride=2, padding=1, device=self.weight.device
        )
        assert isinstance(transposed, nn.ConvTranspose2d) and transposed.bias is not None
        kernel = self.weight.detach().flip(2, 3).transpose(0, 1)
        blocks = [F.pad(kernel, (x, 1 - x, y, 1 - y)) for x in (0, 1) for y in (0, 1)]
        transposed.weight.data = torch.stack(blocks).sum(0)
        transposed.bias.data = self.bias.detach().clone()
        return transposed
