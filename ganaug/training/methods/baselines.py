"""Baselines that look at no image: random directions and the latent's axes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganaug.generators import Generator
from ganaug.settings import Settings, setting
from ganaug.training.discovery import DirectionMatrix
from ganaug.training.methods.registry import method


@dataclass(frozen=True, kw_only=True)
class BaselineSettings(Settings):
    """Settings of the baselines: see the fields."""

    num_directions: int = setting(64, "K, how many directions")
    seed: int = setting(0, "of the random directions; coordinate draws nothing", least=0)


@method("random", BaselineSettings)
def random(
    generator: Generator,
    settings: BaselineSettings,
    device: str | torch.device | None = None,
    show_progress: bool = False,
) -> Tensor:
    """Fixed random directions, orthonormal while there are no more than coordinates."""
    return _rows("random", generator, settings)


@method("coordinate", BaselineSettings)
def coordinate(
    generator: Generator,
    settings: BaselineSettings,
    device: str | torch.device | None = None,
    show_progress: bool = False,
) -> Tensor:
    """The first axes of the latent space."""
    return _rows("coordinate", generator, settings)


def _rows(kind: str, generator: Generator, settings: BaselineSettings) -> Tensor:
    rng = torch.Generator().manual_seed(settings.seed)
    count, within = settings.num_directions, generator.directions_within
    return DirectionMatrix(kind, count, generator.latent_dim, within=within, rng=rng).rows.detach()
