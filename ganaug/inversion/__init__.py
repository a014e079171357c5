"""Latents of real images, from one image to a folder of them."""

from ganaug.inversion.classes import classes_of_folder
from ganaug.inversion.domain import check_domain, check_domain_of_files, fit_domain
from ganaug.inversion.folder import InvertedFolder, Stored, invert_folder, stored_latents
from ganaug.inversion.invert import invert, invert_resized
from ganaug.inversion.latents import Latents
from ganaug.inversion.refine import refine

__all__ = [
    "InvertedFolder",
    "Latents",
    "Stored",
    "check_domain",
    "check_domain_of_files",
    "classes_of_folder",
    "fit_domain",
    "invert",
    "invert_folder",
    "invert_resized",
    "refine",
    "stored_latents",
]
