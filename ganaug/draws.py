"""Seeded random draws."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ganaug.errors import SettingsError


def seeded(*seeds: int) -> torch.Generator:
    """A random generator of its own for every tuple of seeds.

    torch's CPU generator reads 32 bits of a seed, so that sums and shifts of seeds collide; NumPy's seed sequences
    don't.
    """
    state = np.random.SeedSequence([seed % 2**64 for seed in seeds]).generate_state(1)
    return torch.Generator().manual_seed(int(state[0]))


def draw_shifts(
    count: int,
    num_directions: int,
    *,
    max_magnitude: float = 6.0,
    min_magnitude: float = 0.5,
    distribution: str = "uniform",
    rng: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw which direction to go along and how far (Voynov & Babenko 2020, section 3.2).

    Args:
        max_magnitude: magnitudes are uniform over ``[-max_magnitude, max_magnitude]``, or normal with this standard
            deviation.
        min_magnitude: absolute magnitudes below it are pushed up to it, so that every shift can be seen.
        distribution: ``"uniform"`` or ``"normal"``.

    Returns:
        Indices ``(count,)`` int64, uniform over the directions, and magnitudes ``(count,)`` float32 in latent units.

    Raises:
        SettingsError: another distribution.
    """
    device = torch.device("cpu") if rng is None else rng.device  # named, as float32 is, whatever torch's defaults are
    indices = torch.randint(num_directions, (count,), generator=rng, device=device)
    if distribution == "uniform":
        magnitudes = (2 * torch.rand(count, generator=rng, device=device, dtype=torch.float32) - 1) * max_magnitude
    elif distribution == "normal":
        magnitudes = torch.randn(count, generator=rng, device=device, dtype=torch.float32) * max_magnitude
    else:
        raise SettingsError(f'distribution should be "uniform" or "normal", got {distribution!r}.')
    magnitudes = torch.where(magnitudes < 0, -1.0, 1.0).to(magnitudes) * magnitudes.abs().clamp(min=min_magnitude)
    return indices, magnitudes
