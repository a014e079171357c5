"""RCA by a fresh reconstructor, which judges the directions of every method alike."""

from __future__ import annotations

import torch

from ganaug.packs import DirectionPack
from ganaug.training.discovery.discover import discover


def fresh_rca(
    pack: DirectionPack,
    *,
    steps: int = 2000,
    batch_size: int = 32,
    max_magnitude: float = 6.0,
    reconstructor_width: int = 1,
    samples: int = 10_000,
    seed: int = 0,
    device: str | torch.device | None = None,
    show_progress: bool = True,
) -> float:
    """RCA by a fresh reconstructor, trained on the pack's directions as they are, so that all methods are judged alike.

    Args:
        steps, batch_size, max_magnitude, reconstructor_width, seed: see :class:`DiscoverySettings`.
        samples: fresh pairs on which it is measured.

    Returns:
        The share of pairs whose direction it names, in [0, 1].
    """
    judged = discover(
        pack.generator,
        initial=pack.directions,
        num_directions=pack.num_directions,
        direction_matrix="given",
        steps=steps,
        batch_size=batch_size,
        max_magnitude=max_magnitude,
        reconstructor_width=reconstructor_width,
        reconstructor_lr=1e-3,
        rca_samples=samples,
        seed=seed,
        device=device,
        show_progress=show_progress,
    )
    rca: float = judged.scores["rca"]
    return rca
