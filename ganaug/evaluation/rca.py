"""RCA: reconstructor classification accuracy (Voynov & Babenko 2020, section 4.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganaug.devices import autocast, own_defaults
from ganaug.draws import draw_shifts
from ganaug.generators import Generator


@own_defaults
@torch.no_grad()
def reconstructor_accuracy(
    generator: Generator,
    directions: Tensor,
    reconstructor: nn.Module,
    *,
    samples: int = 10_000,
    batch_size: int = 250,
    max_magnitude: float = 6.0,
    min_magnitude: float = 0.5,
    distribution: str = "uniform",
    precision: str = "bfloat16",
    seed: int = 1,
    most_at_once: int | None = None,
) -> float:
    """The share of fresh pairs whose direction the reconstructor names, in [0, 1].

    Class-conditional generators draw both images of a pair with the same label.

    Args:
        directions: ``(K, latent_dim)``, as they were trained (rows of the direction matrix).
        reconstructor: maps two batches of images to ``(logits, magnitudes)``; put in evaluation mode.
        samples: pairs drawn, from ``seed``.
        most_at_once: pairs of images in memory at the same time, ``batch_size`` by default; does not change the draws.
    """
    reconstructor.eval()
    device = generator.device
    directions = directions.to(device)
    rng = torch.Generator().manual_seed(seed)
    hits = torch.zeros((), dtype=torch.int64, device=device)
    for start in range(0, samples, batch_size):
        count = min(batch_size, samples - start)
        indices, magnitudes = draw_shifts(
            count,
            len(directions),
            max_magnitude=max_magnitude,
            min_magnitude=min_magnitude,
            distribution=distribution,
            rng=rng,
        )
        latents, labels = generator.sample_latents(count, rng=rng), generator.sample_labels(count, rng=rng)
        indices = indices.to(device)
        shifts = directions[indices] * magnitudes.to(device)[:, None]
        for rows in torch.arange(count, device=device).split(most_at_once or batch_size):
            given = None if labels is None else labels[rows]
            with autocast(device, precision):
                images, shifted = generator(latents[rows], given), generator(latents[rows] + shifts[rows], given)
                logits, _ = reconstructor(images, shifted)
            hits += (logits.argmax(1) == indices[rows]).sum()
    return hits.item() / samples
