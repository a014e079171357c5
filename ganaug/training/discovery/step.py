"""One step of discovery: the paper's equation 1 (Voynov & Babenko 2020, section 3.2).

min over A, R of the mean over z, k, epsilon of   cross-entropy(k, k') + lambda |epsilon - epsilon'|
where   k', epsilon' = R(G(z), G(z + A(epsilon e_k)))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from ganaug.devices import autocast
from ganaug.draws import draw_shifts
from ganaug.generators import Generator
from ganaug.training.discovery.matrix import DirectionMatrix
from ganaug.training.discovery.settings import DiscoverySettings

FIGURES = ("loss", "direction_loss", "magnitude_loss", "rca", "label")
"""What :func:`figures` measures: the loss, its two parts, and the shares of directions and of labels told right."""

Synthesis: TypeAlias = Callable[[Tensor, Tensor | None], Tensor]
"""A frozen generator as a function of latents and labels."""


class Batch(NamedTuple):
    """What a step draws: ``(N, latent_dim)`` latents, ``(N,)`` labels or None, indices and magnitudes."""

    latents: Tensor
    labels: Tensor | None
    indices: Tensor
    magnitudes: Tensor

    def part(self, rows: slice) -> Batch:
        labels = None if self.labels is None else self.labels[rows]
        return Batch(self.latents[rows], labels, self.indices[rows], self.magnitudes[rows])


def draw_batch(generator: Generator, settings: DiscoverySettings, rng: torch.Generator) -> Batch:
    """z, y, k and epsilon of one step, where the generator is."""
    indices, magnitudes = draw_shifts(
        settings.batch_size,
        settings.num_directions,
        max_magnitude=settings.max_magnitude,
        min_magnitude=settings.min_magnitude,
        distribution=settings.magnitude_distribution,
        rng=rng,
    )
    latents = generator.sample_latents(settings.batch_size, rng=rng)
    labels = generator.sample_labels(settings.batch_size, rng=rng)
    return Batch(latents, labels, indices.to(generator.device), magnitudes.to(generator.device))


class Predictions(NamedTuple):
    """Direction logits ``(N, K)`` and magnitudes ``(N,)``; where there is a reader, label logits ``(N, num_classes)``
    of the images and of the shifted images."""

    directions: Tensor
    magnitudes: Tensor
    labels: Tensor | None = None
    shifted_labels: Tensor | None = None


class Learner(nn.Module):
    """All that learns: the direction matrix, the reconstructor and, for label-safe discovery, a reader of labels."""

    def __init__(self, matrix: DirectionMatrix, reconstructor: nn.Module, reader: nn.Module | None) -> None:
        super().__init__()
        self.matrix, self.reconstructor, self.reader = matrix, reconstructor, reader

    def forward(self, synthesize: Synthesis, batch: Batch) -> Predictions:
        """Draw the pairs, and predict direction, magnitude and labels.

        The reader learns from unshifted images; where it reads shifted ones, only the direction matrix learns.
        """
        with torch.no_grad():
            images = synthesize(batch.latents, batch.labels)
        shifted = synthesize(batch.latents + self.matrix(batch.indices, batch.magnitudes), batch.labels)
        directions, magnitudes = self.reconstructor(images, shifted)
        if self.reader is None:
            return Predictions(directions, magnitudes)
        fixed = {name: parameter.detach() for name, parameter in self.reader.named_parameters()}
        fixed |= {name: buffer.clone() for name, buffer in self.reader.named_buffers()}
        labels = self.reader(images)
        return Predictions(directions, magnitudes, labels, torch.func.functional_call(self.reader, fixed, (shifted,)))


def figures(predicted: Predictions, batch: Batch, settings: DiscoverySettings) -> Tensor:
    """The :data:`FIGURES` of a batch, ``(5,)``; the first is the loss."""
    logits, error = predicted.directions.float(), predicted.magnitudes.float() - batch.magnitudes
    direction_loss = F.cross_entropy(logits, batch.indices)
    magnitude_loss = (error.abs() if settings.magnitude_loss == "absolute" else error.square()).mean()
    loss = direction_loss + settings.magnitude_weight * magnitude_loss
    rca = (logits.argmax(1) == batch.indices).float().mean()
    label = torch.zeros_like(loss)
    if predicted.labels is not None and predicted.shifted_labels is not None and batch.labels is not None:
        loss = loss + F.cross_entropy(predicted.labels.float(), batch.labels)
        loss = loss + settings.label_weight * F.cross_entropy(predicted.shifted_labels.float(), batch.labels)
        label = (predicted.shifted_labels.argmax(1) == batch.labels).float().mean()
    return torch.stack([loss, direction_loss, magnitude_loss, rca, label])


def take_step(
    learner: nn.Module,
    synthesize: Synthesis,
    optimizer: torch.optim.Optimizer,
    parts: Sequence[Batch],
    settings: DiscoverySettings,
) -> list[Tensor]:
    """One step of the optimiser on the mean loss of a batch's parts, which are drawn one after another.

    Args:
        learner: a :class:`Learner`, or a ``DistributedDataParallel`` of one, which averages gradients once a step.

    Returns:
        The figures of each part over the number of parts, so that their sum is the batch's.
    """
    measured = []
    optimizer.zero_grad()
    for number, part in enumerate(parts, 1):
        more = number < len(parts)
        with learner.no_sync() if more and isinstance(learner, DistributedDataParallel) else nullcontext():
            with autocast(part.latents.device, settings.precision):
                predicted = learner(synthesize, part)
            shares = figures(predicted, part, settings) / len(parts)
            shares[0].backward()
        measured.append(shares.detach())
    optimizer.step()
    return measured
