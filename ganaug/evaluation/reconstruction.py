"""How well a pack's encoder finds the latents of images."""

from __future__ import annotations

import torch
from torch import Tensor

from ganaug.devices import own_defaults
from ganaug.images import uint8_to_signed
from ganaug.inversion import invert
from ganaug.packs import DirectionPack


@own_defaults
@torch.no_grad()
def reconstruction_error(
    pack: DirectionPack, images: Tensor | None = None, *, samples: int = 1000, batch_size: int = 250, seed: int = 4
) -> float:
    """Mean absolute difference between images and G(E(image)), as a share of full scale.

    A class-conditional generator draws the class that the encoder reads.

    Args:
        images: ``(N, C, H, W)`` uint8 of the generator's size, of which the first ``samples`` are taken; by default
            fresh ones of the generator.

    Raises:
        PackError: the pack has no encoder.
    """
    generator = pack.generator
    if images is None:
        rng = torch.Generator().manual_seed(seed)
        latents, labels = generator.sample_latents(samples, rng=rng), generator.sample_labels(samples, rng=rng)
        rows = torch.arange(samples).split(batch_size)
        batches = [generator(latents[row], labels if labels is None else labels[row]) for row in rows]
    else:
        batches = [uint8_to_signed(batch).to(generator.device) for batch in images[:samples].split(batch_size)]
    errors = []
    for batch in batches:
        reconstructed = generator(*invert(pack, batch))
        errors.append((reconstructed - batch).abs().mean((1, 2, 3)) / 2)
    return torch.cat(errors).mean().item()
