"""Directions whose effects can be told apart: LatentCLR (Yüksel et al., ICCV 2021)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from ganaug.devices import autocast, default_device, in_channels_last, own_defaults
from ganaug.draws import draw_shifts
from ganaug.errors import DiscoveryError, GeneratorError
from ganaug.generators import Generator
from ganaug.settings import Settings, setting
from ganaug.training.discovery.matrix import DirectionMatrix
from ganaug.training.methods.features import IMAGES, affine_layers, fix_signs, layer_output
from ganaug.training.methods.registry import method


@dataclass(frozen=True, kw_only=True)
class ContrastiveSettings(Settings):
    """Settings of :func:`contrastive`: see the fields."""

    num_directions: int = setting(64, "K; may exceed the latent's dimensions", least=2)
    steps: int = setting(1_000, "optimiser steps")
    batch_size: int = setting(8, "latents a step; one label each, the same for all directions", least=2)
    directions_per_step: int = setting(
        16, "at most so many directions, drawn afresh, take part in a step: more take more time and memory", least=2
    )
    magnitude: float = setting(3.0, "the largest shift, in latent units; the smallest is a twelfth of it")
    temperature: float = setting(0.5, "divides the similarities")
    learning_rate: float = setting(1e-3, "Adam's, at the first step; it follows a cosine to zero")
    precision: Literal["bfloat16", "float32"] = setting("bfloat16", "of the generator; bfloat16 is autocast")
    seed: int = setting(0, "of every random draw", least=0)


@method("contrastive", ContrastiveSettings)
def find(
    generator: Generator, settings: ContrastiveSettings, device: str | torch.device | None, show_progress: bool
) -> Tensor:
    return contrastive(generator, **settings.to_dict(), device=device, show_progress=show_progress)


@own_defaults
def contrastive(
    generator: Generator,
    num_directions: int,
    *,
    layer: str | None = None,
    device: str | torch.device | None = None,
    show_progress: bool = True,
    **settings: Any,
) -> Tensor:
    """Learn K directions, each of which changes a layer's features alike from latent to latent, unlike the others.

    The global directions of Yüksel et al., "LatentCLR: A Contrastive Learning Approach for Unsupervised Discovery of
    Interpretable Directions", ICCV 2021: see :func:`contrastive_loss`. As in the published code, a step has one signed
    magnitude, and similarities are absolute, so that d and -d are one direction.

    Args:
        generator: frozen by this call and moved to ``device``; runs no further than ``layer``.
        num_directions: K.
        layer: name of a module (``generator.named_modules()``); by default the one half way through those that run
            one after another.
        device: defaults to CUDA when there is one, else the CPU.
        settings: see :class:`ContrastiveSettings`.

    Returns:
        ``(K, latent_dim)`` float32 unit rows on the CPU, in no order; the largest coordinate of each is positive.

    Raises:
        SettingsError: an unknown or impossible setting.
        GeneratorError: the generator returns another shape or range than it promises; no such layer, the generator
            does not run it, or it does not depend on the latent.
        DiscoveryError: a loss or directions that are not finite.
    """
    chosen = ContrastiveSettings.from_mapping({"num_directions": num_directions, **settings})
    target = default_device(device)
    generator = in_channels_last(generator.freeze().check().to(target))
    rng = torch.Generator().manual_seed(chosen.seed)
    within = generator.directions_within
    matrix = DirectionMatrix("unit", num_directions, generator.latent_dim, within=within, rng=rng).to(target)
    optimizer = torch.optim.Adam(matrix.parameters(), lr=chosen.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, chosen.steps)
    with (
        layer_output(generator, middle_layer(generator) if layer is None else layer) as features,
        tqdm(range(chosen.steps), "contrastive", disable=not show_progress) as bar,
    ):
        for step in bar:
            loss = _loss(generator, features, matrix, rng, chosen)
            optimizer.zero_grad()
            loss.backward()
            if step == 0 and matrix.weight.grad is not None and not matrix.weight.grad.any():
                raise GeneratorError("the layer does not depend on what directions may change. Name a later one.")
            optimizer.step()
            schedule.step()
            if step % 50 == 0 or step == chosen.steps - 1:
                last, length = loss.item(), matrix.weight.norm().item()
                if not math.isfinite(last) or not math.isfinite(length):
                    raise DiscoveryError(
                        f"by step {step + 1} the loss is {last} and the direction matrix has norm {length}. Lower "
                        "learning_rate or magnitude, raise temperature, or use precision=float32."
                    )
                bar.set_postfix(loss=f"{last:.3f}")
    return fix_signs(matrix.rows)


def _loss(
    generator: Generator,
    features: Callable[[Tensor, Tensor | None], Tensor],
    matrix: DirectionMatrix,
    rng: torch.Generator,
    settings: ContrastiveSettings,
) -> Tensor:
    """The contrastive loss of one step's draws; only the shifted latents' features have a graph."""
    drawn = torch.randperm(settings.num_directions, generator=rng)[: settings.directions_per_step]
    _, magnitude = draw_shifts(1, 1, max_magnitude=settings.magnitude, min_magnitude=settings.magnitude / 12, rng=rng)
    latents = generator.sample_latents(settings.batch_size, rng=rng)
    labels = generator.sample_labels(settings.batch_size, rng=rng)
    shifted = latents + matrix(drawn.to(latents.device), magnitude.to(latents.device))[:, None]
    with autocast(latents.device, settings.precision):
        with torch.no_grad():
            before = features(latents, labels)
        after = features(shifted.flatten(0, 1), None if labels is None else labels.repeat(len(drawn)))
    if not after.requires_grad:
        raise GeneratorError("the layer does not depend on the latent. Name another one.")
    changes = after.float().unflatten(0, (len(drawn), len(latents))) - before.float()
    return contrastive_loss(changes.flatten(2), settings.temperature)


def contrastive_loss(changes: Tensor, temperature: float) -> Tensor:
    """How much the changes along one direction resemble those along others rather than each other.

    For each change, the log-sum-exp of |cosine similarity| / temperature over changes along other directions, less
    that over changes of other latents along the same one; averaged.

    Shape:
        - changes: ``(K, N, features)``, of N latents along each of K directions
        - output: scalar
    """
    num_directions, count = changes.shape[:2]
    changes = F.normalize(changes.flatten(0, 1), dim=1)
    similarity = (changes @ changes.T).abs() / temperature
    direction = torch.arange(num_directions, device=changes.device).repeat_interleave(count)
    same = direction[:, None] == direction
    itself = torch.eye(len(changes), dtype=torch.bool, device=changes.device)
    negative = similarity.masked_fill(same, -math.inf).logsumexp(1)
    positive = similarity.masked_fill(~same | itself, -math.inf).logsumexp(1)
    return (negative - positive).mean()


def middle_layer(generator: Generator) -> str:
    """Name of the module half way through those that run one after another, past what is affine in the latent."""
    affine = affine_layers(generator)
    inside = chain = list(affine)
    while inside:
        chain = [name for name in inside if not any(name.startswith(f"{other}.") for other in inside)]
        inside = [name for name in inside if len(chain) == 1 and name.startswith(f"{chain[0]}.")]
    return next((name for name in chain[(len(chain) - 1) // 2 :] if not affine[name]), IMAGES)
