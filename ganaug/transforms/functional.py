"""Pure functions from images to shifted images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganaug.images import resized, signed_to_unit, unit_to_signed
from ganaug.inversion import invert
from ganaug.packs import DirectionPack


@torch.no_grad()
def sampled(
    pack: DirectionPack, latents: Tensor, offsets: Tensor, labels: Tensor, size: Sequence[int], device: torch.device
) -> Tensor:
    """G(z + offset, y) as float images ``(M, C, *size)`` in [0, 1]."""
    generator, _ = pack.networks(device)
    drawn = generator((latents + offsets).to(device), labels)
    return resized(signed_to_unit(drawn), size)


def inverted(
    pack: DirectionPack, images: Tensor, offsets: Tensor, labels: Tensor | None, latents: Tensor | None, *, blend: str
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Real images with the change that an offset of their latents makes, those latents, and the classes drawn.

    Args:
        images: ``(M, C, H, W)`` float32 in [0, 1].
        offsets: ``(M, latent_dim)``.
        labels: ``(M,)`` or None for the encoder to read.
        latents: ``(M, latent_dim)`` where they are known already, or None for the encoder to find.
        blend: ``"add"`` adds the change G(z + offset) - G(z) to the image; ``"replace"`` returns G(z + offset).
    """
    generator, _ = pack.networks(images.device)
    with torch.no_grad():
        if latents is None or (labels is None and generator.num_classes):
            seen = unit_to_signed(resized(images.detach(), (generator.image_size, generator.image_size)))
            found, labels = invert(pack, seen, labels if generator.num_classes else None)
            latents = found if latents is None else latents
        latents = latents.to(images.device, torch.float32)
        labels = labels if generator.num_classes else None
        shifted = latents + offsets.to(images.device)
        if blend == "replace":
            drawn = signed_to_unit(generator(shifted, labels))
            return resized(drawn, images.shape[-2:]), latents, labels
        both = None if labels is None else torch.cat([labels, labels])
        before, after = generator(torch.cat([latents, shifted]), both).float().chunk(2)
        change = resized((after - before) / 2, images.shape[-2:])
    return (images + change).clamp(0, 1), latents, labels
