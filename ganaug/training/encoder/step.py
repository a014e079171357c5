"""One step of an encoder's training: what is drawn, and the losses on it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ganaug.devices import autocast
from ganaug.errors import EncoderTrainingError
from ganaug.generators import Encoder, Generator
from ganaug.training.encoder.settings import EncoderSettings

SURE = 0.95
"""The encoder's probability of a real image's class from which on it is taken for its label."""
UNSURE = -100
"""In place of a label that nobody is sure of."""


@dataclass(frozen=True)
class Batch:
    """What a step is made of.

    Attributes:
        latents, labels: of the images that the generator draws, where it is; labels None if it is unconditional.
        noise: ``(N, C, H, W)`` on the CPU, for the generated images and then the real ones.
        real: ``(M, C, H, W)`` in [-1, 1], on the CPU; None where real images take no part.
    """

    latents: Tensor
    labels: Tensor | None
    noise: Tensor
    real: Tensor | None


def draw_batch(generator: Generator, real: Tensor | None, rng: torch.Generator, settings: EncoderSettings) -> Batch:
    """Draw what goes with the real images of a step."""
    total, size = settings.batch_size, generator.image_size
    count = total - (0 if real is None else len(real))
    latents, labels = generator.sample_latents(count, rng=rng), generator.sample_labels(count, rng=rng)
    spread = settings.noise * torch.rand(total, 1, 1, 1, generator=rng)
    noise = spread * torch.randn(total, generator.channels, size, size, generator=rng)
    return Batch(latents, labels, noise, real)


def losses_of(generator: Generator, encoder: Encoder, batch: Batch, settings: EncoderSettings) -> dict[str, Tensor]:
    """The four losses on a batch of generated images and, where there are any, of real ones."""
    latents, labels, count = batch.latents, batch.labels, len(batch.latents)
    read, sure = labels, None if labels is None else torch.ones_like(labels, dtype=torch.bool)
    with autocast(generator.device, settings.precision):
        with torch.no_grad():
            images = generator(latents, labels).float()
            if batch.real is not None:
                real = batch.real.to(images.device)
                images = torch.cat([images, real])
                if labels is not None and sure is not None:
                    found, found_sure = _read_labels(encoder, real)
                    read, sure = torch.cat([labels, found]), torch.cat([sure, found_sure])
        noisy = (images + batch.noise.to(images.device)).contiguous(memory_format=torch.channels_last)
        found, _, logits = encoder.encode(noisy, read)
        reconstructed = generator(found, read)
    losses = {
        "latent": (found[:count] - latents).square().mean(),
        "image": (reconstructed.float() - images).abs().mean(),
        "prior": (found.square().mean(1) - 1).relu().square().mean(),
    }
    if logits is not None and read is not None and sure is not None:
        losses["class"] = F.cross_entropy(logits, read.where(sure, UNSURE), ignore_index=UNSURE)
    return losses


def _read_labels(encoder: Encoder, real: Tensor) -> tuple[Tensor, Tensor]:
    """The class of each real image, and whether the encoder, which must read classes, is sure of it."""
    encoder.eval()  # running statistics, as at use
    logits = encoder.encode(real)[2]
    encoder.train()
    if logits is None:
        raise EncoderTrainingError("the encoder of a class-conditional generator should read classes.")
    probability, labels = logits.softmax(1).max(1)
    return labels, probability > SURE
