"""Augmentation along discovered directions, for torchvision and kornia pipelines."""

from typing import TYPE_CHECKING, Any

from ganaug.transforms.inverted_folder import InvertedFolder, invert_folder
from ganaug.transforms.latent_bank import BankError, LatentBank
from ganaug.transforms.latent_shift import Latents, LatentShift
from ganaug.transforms.shifting import TransformError

if TYPE_CHECKING:
    from ganaug.transforms.kornia_twin import RandomLatentShift

__all__ = [
    "BankError",
    "InvertedFolder",
    "LatentBank",
    "LatentShift",
    "Latents",
    "RandomLatentShift",
    "TransformError",
    "invert_folder",
]


def __getattr__(name: str) -> Any:
    """Import kornia, which takes seconds, when its twin is first used."""
    if name == "RandomLatentShift":
        from ganaug.transforms.kornia_twin import RandomLatentShift

        return RandomLatentShift
    raise AttributeError(f"module 'ganaug.transforms' has no attribute {name!r}")
