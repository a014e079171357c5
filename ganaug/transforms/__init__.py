"""Augmentation along discovered directions, for torchvision pipelines."""

from ganaug.transforms.latent_shift import LatentShift

__all__ = ["LatentShift"]
