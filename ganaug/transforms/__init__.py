"""Augmentation along discovered directions, for torchvision and kornia pipelines."""

from typing import TYPE_CHECKING, Any

from ganaug.inversion import InvertedFolder, Latents
from ganaug.transforms import functional
from ganaug.transforms.bank import LatentBank
from ganaug.transforms.folder import augment_folder
from ganaug.transforms.latent_shift import LatentShift

if TYPE_CHECKING:
    from ganaug.transforms.kornia import RandomLatentShift

__all__ = [
    "InvertedFolder",
    "LatentBank",
    "LatentShift",
    "Latents",
    "RandomLatentShift",
    "augment_folder",
    "functional",
]


def __getattr__(name: str) -> Any:
    """Import kornia, which takes seconds, when its twin is first used."""
    if name == "RandomLatentShift":
        from ganaug.transforms.kornia import RandomLatentShift

        return RandomLatentShift
    raise AttributeError(f"module 'ganaug.transforms' has no attribute {name!r}")
