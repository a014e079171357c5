"""Refinement of latents by optimisation."""

from __future__ import annotations

import torch
from torch import Tensor

from ganaug.devices import own_defaults
from ganaug.generators import Generator


@own_defaults
@torch.inference_mode(False)  # gradients are needed, wherever it is called
def refine(
    generator: Generator,
    images: Tensor,
    latents: Tensor,
    labels: Tensor | None = None,
    *,
    steps: int = 50,
    learning_rate: float = 0.05,
    prior_weight: float = 0.01,
) -> Tensor:
    """Optimise latents so that their images come nearer to given ones; no latent gets worse than it came.

    Minimises, image by image, mean |G(z) - x| + prior_weight * mean(z^2) with Adam and a cosine learning rate, and
    returns the best latents seen (Abdal et al., "Image2StyleGAN", ICCV 2019, in the generator's own prior).

    Args:
        images: ``(N, C, H, W)`` float in [-1, 1] of the generator's size, on its device.
        latents: ``(N, latent_dim)`` to start from.
        labels: ``(N,)``, or None for an unconditional generator.

    Returns:
        Latents ``(N, latent_dim)``.
    """
    images, best = images.detach().clone(), latents.detach().clone()
    labels = None if labels is None else labels.clone()
    current = best.clone().requires_grad_()
    lowest = torch.full((len(best),), float("inf"), device=best.device)
    optimizer = torch.optim.Adam([current], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for step in range(steps + 1):
        with torch.enable_grad():
            reconstructed = generator(current, labels)
            losses = (reconstructed - images).abs().mean((1, 2, 3)) + prior_weight * current.square().mean(1)
            if step < steps:
                optimizer.zero_grad()
                losses.sum().backward()
        better = losses.detach() < lowest
        lowest = torch.where(better, losses.detach(), lowest)
        best[better] = current.detach()[better]
        if step < steps:
            optimizer.step()
            schedule.step()
    return best
