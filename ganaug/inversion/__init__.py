"""Latents of real images, from one image to a folder of them."""

from ganaug.inversion.folder import InvertedFolder, invert_folder
from ganaug.inversion.invert import invert, invert_resized
from ganaug.inversion.latents import Latents
from ganaug.inversion.refine import refine

__all__ = ["InvertedFolder", "Latents", "invert", "invert_folder", "invert_resized", "refine"]
