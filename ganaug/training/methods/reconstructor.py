"""The paper's method (Voynov & Babenko, ICML 2020) as one among the others."""

from __future__ import annotations

import torch

from ganaug.generators import Generator
from ganaug.packs import DirectionPack
from ganaug.training.discovery import DiscoverySettings, discover
from ganaug.training.methods.registry import method


@method("reconstructor", DiscoverySettings)
def find(
    generator: Generator, settings: DiscoverySettings, device: str | torch.device | None, show_progress: bool
) -> DirectionPack:
    return discover(generator, device=device, show_progress=show_progress, **settings.to_dict())
