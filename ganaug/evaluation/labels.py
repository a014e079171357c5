"""Whether a change keeps the label, and how far it may go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ganaug.devices import autocast, own_defaults
from ganaug.evaluation.judges import predict
from ganaug.generators import Generator
from ganaug.images import uint8_to_signed
from ganaug.inversion import invert
from ganaug.packs import DirectionPack


def wilson_lower_bound(hits: int, trials: int, *, z: float = 1.645) -> float:
    """Lower bound of a rate with 95% confidence, one-sided (Wilson, JASA 1927)."""
    rate = hits / trials
    centre = rate + z * z / (2 * trials)
    spread = z * math.sqrt((rate * (1 - rate) + z * z / (4 * trials)) / trials)
    return (centre - spread) / (1 + z * z / trials)


class InvertedImages(NamedTuple):
    """Real images ``(N, C, H, W)`` in [-1, 1] with labels ``(N,)``, their latents, and what G makes of those."""

    images: Tensor
    labels: Tensor
    latents: Tensor
    reconstructed: Tensor


@own_defaults
@torch.no_grad()
def invert_images(
    pack: DirectionPack, images: Tensor, labels: Tensor, *, batch_size: int = 250, precision: str = "bfloat16"
) -> InvertedImages:
    """Find the latents of real images ``(N, C, H, W)`` uint8 with labels ``(N,)``, and reconstruct them.

    Raises:
        PackError: the pack has no encoder.
    """
    latents, reconstructed = [], []
    device = pack.generator.device
    seen, labels = uint8_to_signed(images).to(device), labels.to(device)
    for batch, given in zip(seen.split(batch_size), labels.split(batch_size), strict=True):
        found, classes = invert(pack, batch, given)
        with autocast(device, precision):
            reconstructed.append(pack.generator(found, classes).float())
        latents.append(found)
    return InvertedImages(seen, labels, torch.cat(latents), torch.cat(reconstructed))


@own_defaults
@torch.no_grad()
def label_hits(
    generator: Generator,
    direction: Tensor,
    classifier: nn.Module,
    *,
    magnitudes: Sequence[float],
    samples: int = 400,
    seed: int = 1,
    precision: str = "bfloat16",
    real: InvertedImages | None = None,
) -> list[int]:
    """How many of ``samples`` shifted images are read as their label, for each magnitude.

    The label is the generator's for a class-conditional one, and what the classifier reads off the unshifted image
    for an unconditional one. Every magnitude shifts the same latents.

    Args:
        direction: ``(latent_dim,)``, unit length.
        classifier: maps images in [-1, 1] to logits.
        real: shift the first ``samples`` of these instead of fresh images; their own labels count.
    """
    direction = direction.to(generator.device)
    if real is None:
        rng = torch.Generator().manual_seed(seed)
        latents, labels = generator.sample_latents(samples, rng=rng), generator.sample_labels(samples, rng=rng)
    else:
        latents, labels = real.latents[:samples], real.labels[:samples] if generator.num_classes else None

    def read(magnitude: float) -> Tensor:
        with autocast(generator.device, precision):
            images = generator(latents + magnitude * direction, labels).float()
        if real is not None:
            images = (real.images[:samples] + images - real.reconstructed[:samples]).clamp(-1, 1)
        return predict(classifier, images, precision=precision)

    known = labels if real is None else real.labels[:samples]
    wanted = read(0.0) if known is None else known.cpu()
    return [int((read(magnitude) == wanted).sum()) for magnitude in magnitudes]


@own_defaults
def safe_ranges(
    generator: Generator,
    directions: Tensor,
    classifier: nn.Module,
    *,
    rate: float = 0.95,
    max_magnitude: float = 6.0,
    grid: int = 12,
    samples: int = 400,
    seed: int = 1,
    real: InvertedImages | None = None,
    show_progress: bool = True,
) -> list[tuple[float, float]]:
    """For each direction the interval of magnitudes over which the label stays readable.

    From zero outwards in steps of ``max_magnitude / grid``, both ways, as long as the 95% confidence bound of the
    label's agreement stays at ``rate`` or above; ``(0, 0)`` where the first step fails both ways. With ``real``, the
    change is made to those images; see :func:`label_hits`.
    """
    step = max_magnitude / grid
    ranges = []
    for direction in tqdm(directions, "safe ranges", leave=False, disable=not show_progress):
        reach = {}
        for sign in (-1, 1):
            reach[sign] = 0.0
            for k in range(1, grid + 1):
                magnitude = sign * step * k
                hits = label_hits(
                    generator, direction, classifier, magnitudes=[magnitude], samples=samples, seed=seed, real=real
                )
                if wilson_lower_bound(hits[0], samples) < rate:
                    break
                reach[sign] = magnitude
        ranges.append((reach[-1], reach[1]))
    return ranges
