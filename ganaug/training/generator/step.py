"""The losses, and one step of both networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganaug.devices import autocast
from ganaug.draws import seeded
from ganaug.generators import Generator
from ganaug.training.generator.diffaugment import diffaugment
from ganaug.training.generator.settings import GeneratorSettings

View = Callable[[Tensor], Tensor]


class Real(NamedTuple):
    """Real images ``(N, C, H, W)`` float in [-1, 1], and their labels ``(N,)``, or None without classes."""

    images: Tensor
    labels: Tensor | None


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))), Miyato et al., ICLR 2018, equation 16."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_generator_loss(fake: Tensor) -> Tensor:
    """-D(G(z)), Miyato et al., ICLR 2018, equation 17."""
    return -fake.mean()


def relativistic_loss(higher: Tensor, lower: Tensor) -> Tensor:
    """log(1 + exp(D(b) - D(a))) of pairs whose first should score higher (Jolicoeur-Martineau, ICLR 2019; Huang et al.,
    "The GAN is dead; long live the GAN!", NeurIPS 2024, section 2)."""
    return F.softplus(lower - higher).mean()


def misread(logits: Tensor | None, labels: Tensor | None) -> Tensor | float:
    """Cross-entropy of the classes of the first ``len(labels)`` images; 0 where none are read."""
    return 0.0 if logits is None or labels is None else F.cross_entropy(logits[: len(labels)].float(), labels)


def squared_gradient(scores: Tensor, images: Tensor) -> Tensor:
    """The mean of ||dD/dx||^2: R1 of real images, R2 of drawn ones (Mescheder et al., ICML 2018)."""
    [gradient] = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return gradient.float().square().sum((1, 2, 3)).mean()


class Players(NamedTuple):
    """Both networks and their optimisers."""

    generator: Generator
    discriminator: nn.Module
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer


def take_step(
    players: Players,
    real: Real,
    settings: GeneratorSettings,
    *,
    seeds: tuple[int, ...],
    penalised: bool = True,
    average_gradients: Callable[[nn.Module], None],
) -> Tensor:
    """One step of the discriminator, then one of the generator.

    Args:
        real: as many images as are drawn, where the networks are.
        seeds: of all the step's draws, which depend on nothing else.
        penalised: with the relativistic loss's gradient penalties (lazy regularisation: Karras et al., CVPR 2020).
        average_gradients: called with a network whose gradients are complete, before its optimiser takes them.

    Returns:
        Both losses, ``(2,)`` float, on the networks' device: not waited for.
    """
    rng = seeded(*seeds)
    generator, discriminator = players.generator, players.discriminator

    def view(images: Tensor) -> Tensor:
        return diffaugment(images, rng) if settings.diffaugment else images

    # The discriminator.
    latents, labels = _draw(generator, real, rng, settings)
    with torch.no_grad(), autocast(generator.device, settings.precision):
        fake = generator(latents, labels)
    discriminator_loss = _discriminator_loss(discriminator, real, Real(fake.float(), labels), view, settings, penalised)
    _descend(players.discriminator_optimizer, discriminator, discriminator_loss, average_gradients)

    # The generator.
    latents, labels = _draw(generator, real, rng, settings)
    discriminator.requires_grad_(False)
    with autocast(generator.device, settings.precision):
        scores, logits = discriminator(view(generator(latents, labels).float()), labels)
        if settings.loss == "hinge":
            generator_loss = hinge_generator_loss(scores.float())
        else:
            generator_loss = relativistic_loss(scores.float(), discriminator(view(real.images), real.labels)[0].float())
        generator_loss = generator_loss + settings.class_weight * misread(logits, labels)
    _descend(players.generator_optimizer, generator, generator_loss, average_gradients)
    discriminator.requires_grad_(True)
    return torch.stack([discriminator_loss.detach(), generator_loss.detach()])


def _discriminator_loss(
    discriminator: nn.Module, real: Real, fake: Real, view: View, settings: GeneratorSettings, penalised: bool
) -> Tensor:
    if settings.loss == "hinge":
        labels = None if real.labels is None or fake.labels is None else torch.cat([real.labels, fake.labels])
        with autocast(real.images.device, settings.precision):
            scores, logits = discriminator(view(torch.cat([real.images, fake.images])), labels)
        loss = hinge_discriminator_loss(*scores.float().chunk(2))
        return loss + settings.class_weight * misread(logits, real.labels)
    seen = [view(each.images).detach().requires_grad_(penalised) for each in (real, fake)]
    with autocast(real.images.device, settings.precision):
        (of_real, logits), (of_fake, _) = (
            discriminator(images, each.labels) for images, each in zip(seen, (real, fake), strict=True)
        )
    loss = relativistic_loss(of_real.float(), of_fake.float())
    if penalised:
        penalty = squared_gradient(of_real.float(), seen[0]) + squared_gradient(of_fake.float(), seen[1])
        loss = loss + settings.penalty_every * settings.gradient_penalty / 2 * penalty
    return loss + settings.class_weight * misread(logits, real.labels)


def _draw(
    generator: Generator, real: Real, rng: torch.Generator, settings: GeneratorSettings
) -> tuple[Tensor, Tensor | None]:
    """As many latents as there are real images, and labels; pairs that are compared are of one class."""
    count = len(real.images)
    latents, labels = generator.sample_latents(count, rng=rng), generator.sample_labels(count, rng=rng)
    return latents, labels if settings.loss == "hinge" else real.labels


def _descend(
    optimizer: torch.optim.Optimizer,
    network: nn.Module,
    loss: Tensor,
    average_gradients: Callable[[nn.Module], None],
) -> None:
    optimizer.zero_grad()
    loss.backward()
    average_gradients(network)
    optimizer.step()
