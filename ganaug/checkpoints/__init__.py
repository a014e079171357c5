"""Generators out of other people's checkpoints: one file per published layout, which enters itself in the registry."""

import pkgutil
from importlib import import_module

from ganaug.checkpoints.convert import convert_checkpoint
from ganaug.checkpoints.deformator import directions_from_deformator
from ganaug.checkpoints.distribution import generator_from_distribution
from ganaug.checkpoints.layout import Layout, register
from ganaug.checkpoints.pickles import read_nvidia_pickle

for file in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{file.name}")

__all__ = [
    "Layout",
    "convert_checkpoint",
    "directions_from_deformator",
    "generator_from_distribution",
    "read_nvidia_pickle",
    "register",
]
