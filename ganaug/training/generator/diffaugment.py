"""Differentiable augmentation of what a discriminator sees (Zhao et al., "Differentiable Augmentation for
Data-Efficient GAN Training", NeurIPS 2020): colour, translation, cutout."""

from __future__ import annotations

import torch
from torch import Tensor

FARTHEST = 8
"""Images are moved by up to an eighth of a side."""
CUT = 2
"""The square that is cut out has half a side."""
DRAWS = 7


def diffaugment(images: Tensor, rng: torch.Generator) -> Tensor:
    """Each image in other colours, moved, and with a square of zeros, gradients included.

    Brightness moves by up to half of the range, saturation is scaled by 0 to 2, contrast by 0.5 to 1.5; what is moved
    in and what is cut out is zero, grey, as in the paper's code.

    Args:
        images: ``(N, C, H, W)`` float in [-1, 1].
        rng: on the CPU; seven numbers are drawn for each image.

    Returns:
        ``(N, C, H, W)`` float, no longer within [-1, 1].
    """
    draws = torch.rand(DRAWS, len(images), 1, 1, 1, generator=rng).to(images.device)
    brightness, saturation, contrast, *places = draws
    return _cut(_moved(_coloured(images, brightness, saturation, contrast), *places[:2]), *places[2:])


def _coloured(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    images = images + (brightness - 0.5)
    if images.shape[1] > 1:
        grey = images.mean(1, keepdim=True)
        images = (images - grey) * (2 * saturation) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def _moved(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    rows, columns = (_taken(images, axis, draw) for axis, draw in ((2, down), (3, right)))
    height, width = images.shape[2:]
    there = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    each = torch.arange(len(images), device=images.device)[:, None, None]
    moved = images.movedim(1, -1)[each, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]]
    return moved.movedim(-1, 1) * (there[0][:, None, :, None] & there[1][:, None, None, :])


def _taken(images: Tensor, axis: int, draw: Tensor) -> Tensor:
    """Which row, or column, comes to each place: ``(N, side)``; outside of the image where none does."""
    side = images.shape[axis]
    most = round(side / FARTHEST)
    by = (draw.view(-1, 1) * (2 * most + 1)).long().clamp(max=2 * most) - most
    return torch.arange(side, device=images.device) - by


def _cut(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    gone = [_within(images.shape[axis], draw.view(-1, 1)) for axis, draw in ((2, down), (3, right))]
    return images * ~(gone[0][:, None, :, None] & gone[1][:, None, None, :])


def _within(side: int, draw: Tensor) -> Tensor:
    """Which places of a side the square takes: ``(N, side)``; its middle is anywhere in the image."""
    half = side // CUT // 2
    middle = (draw * (side + 1)).long().clamp(max=side)
    places = torch.arange(side, device=draw.device)
    return (places >= middle - half) & (places < middle + half)
