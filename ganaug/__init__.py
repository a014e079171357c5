"""Data augmentation along directions discovered in a generator's latent space."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganaug import checkpoints, evaluation, gallery, generators, inversion, packs, training, transforms
    from ganaug.generators import Generator
    from ganaug.packs import DirectionPack

__version__ = "0.1.0"
__all__ = [
    "DirectionPack",
    "Generator",
    "checkpoints",
    "evaluation",
    "gallery",
    "generators",
    "inversion",
    "packs",
    "training",
    "transforms",
]

_HOMES = {"DirectionPack": "ganaug.packs", "Generator": "ganaug.generators"}


def __getattr__(name: str) -> Any:
    """Import rooms and public classes when they are first used, so that ``import ganaug`` stays quick."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in __all__:
        return importlib.import_module(f"ganaug.{name}")
    raise AttributeError(f"module 'ganaug' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
