"""DVN: direction variation naturalness (Voynov & Babenko 2020, section 4.1)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ganaug.devices import own_defaults
from ganaug.evaluation.judges import predict, train_classifier
from ganaug.generators import Generator
from ganaug.images import signed_to_uint8
from ganaug.streams import Images


@torch.no_grad()
def _pairs(
    generator: Generator, direction: Tensor, max_magnitude: float, count: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """``count`` images G(z + epsilon * d) with label 1 and as many G(z - epsilon * d) with label 0, as uint8."""
    images = []
    for start in range(0, count, 250):
        size = min(250, count - start)
        latents, labels = generator.sample_latents(size, rng=rng), generator.sample_labels(size, rng=rng)
        shifts = torch.rand(size, 1, generator=rng).to(generator.device) * max_magnitude * direction
        images.append(torch.stack([generator(latents - shifts, labels), generator(latents + shifts, labels)]).cpu())
    low, high = signed_to_uint8(torch.cat(images, dim=1))
    return torch.cat([low, high]), torch.arange(2).repeat_interleave(count)


@own_defaults
def direction_variation_naturalness(
    generator: Generator,
    direction: Tensor,
    real_images: Images,
    *,
    max_magnitude: float = 6.0,
    samples: int = 2000,
    steps: int = 150,
    seed: int = 0,
) -> float:
    """How far what a direction changes also varies in real images: an accuracy in [0, 1].

    A classifier learns to tell G(z + epsilon * d) from G(z - epsilon * d), epsilon uniform over
    ``[0, max_magnitude]``; it labels the real images; another one, trained from scratch on those pseudo-labels, is
    tested on fresh generated pairs.

    Args:
        direction: ``(latent_dim,)``, unit length.
        real_images: ``(N, C, H, W)`` uint8 of the generator's channels and size.
        samples: pairs to train on, and pairs to test on.
        steps: of each classifier.
    """
    rng = torch.Generator().manual_seed(seed)
    direction = direction.to(generator.device)
    images, signs = _pairs(generator, direction, max_magnitude, samples, rng)
    train = partial(train_classifier, steps=steps, device=generator.device, show_progress=False)
    first = train(images, signs, seed=seed)
    pseudo_labels = predict(first, real_images)
    if len(pseudo_labels.unique()) < 2:
        return 0.5
    second = train(real_images, pseudo_labels, seed=seed + 1)
    images, signs = _pairs(generator, direction, max_magnitude, samples, rng)
    return (predict(second, images) == signs).float().mean().item()
