"""Shifting as pure functions: of a generator, latents and offsets, with nothing drawn at random and nothing stored.

``LatentShift``, its twin for kornia, banks and the evaluation are made of these. Images are float in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganaug.generators import Generator
from ganaug.images import resized, signed_to_unit


def offsets(directions: Tensor, indices: Tensor, magnitudes: Tensor) -> Tensor:
    """What a shift adds to latents: the sum of epsilon * d over the directions of each row.

    Args:
        directions: ``(K, latent_dim)``, unit rows.
        indices: ``(N,)`` or ``(N, num_ops)`` int64, rows of ``directions``.
        magnitudes: of the same shape, in latent units.

    Returns:
        ``(N, latent_dim)``.
    """
    shifts = magnitudes[..., None] * directions[indices]
    return shifts if indices.ndim == 1 else shifts.sum(1)


@torch.no_grad()
def sampled(
    generator: Generator, latents: Tensor, offsets: Tensor, labels: Tensor | None, *, size: Sequence[int]
) -> Tensor:
    """The images of shifted latents, G(z + offset, y), in ``size``.

    Args:
        latents, offsets: ``(N, latent_dim)``, on the generator's device.
        labels: ``(N,)``, or None for an unconditional generator.
        size: height and width of the images.

    Returns:
        ``(N, C, *size)`` float32 in [0, 1].
    """
    return resized(signed_to_unit(generator(latents + offsets, labels)), size)


@torch.no_grad()
def change(
    generator: Generator, latents: Tensor, offsets: Tensor, labels: Tensor | None, *, size: Sequence[int]
) -> Tensor:
    """What an offset changes in the images of latents, G(z + offset, y) - G(z, y), in ``size``.

    Args and shapes are those of :func:`sampled`.

    Returns:
        ``(N, C, *size)`` float32 in [-1, 1], to be added to images in [0, 1].
    """
    both = None if labels is None else torch.cat([labels, labels])
    before, after = generator(torch.cat([latents, latents + offsets]), both).float().chunk(2)
    return resized((after - before) / 2, size)


def inverted(
    generator: Generator, images: Tensor, latents: Tensor, offsets: Tensor, labels: Tensor | None, *, blend: str = "add"
) -> Tensor:
    """Real images, shifted by way of their latents.

    Args:
        images: ``(N, C, H, W)`` float32 in [0, 1], of any size.
        latents: ``(N, latent_dim)``, those of the images.
        blend: ``"add"`` adds the :func:`change` to the images (gradients reach them); ``"replace"`` returns the
            shifted reconstruction G(z + offset, y) (they don't).

    Returns:
        ``(N, C, H, W)`` float32 in [0, 1].
    """
    size = images.shape[-2:]
    if blend == "replace":
        return sampled(generator, latents, offsets, labels, size=size)
    return (images + change(generator, latents, offsets, labels, size=size)).clamp(0, 1)
