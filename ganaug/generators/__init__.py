"""Frozen generators: one file per architecture."""

from ganaug.generators.base import Generator, GeneratorError, ModuleGenerator, build_generator
from ganaug.generators.convert import convert_checkpoint
from ganaug.generators.dcgan import DCGAN
from ganaug.generators.distribution import generator_from_distribution
from ganaug.generators.encoder import Encoder, build_encoder
from ganaug.generators.sngan import SNGAN

ARCHITECTURES: dict[str, type[Generator]] = {SNGAN.architecture: SNGAN, DCGAN.architecture: DCGAN}

__all__ = [
    "ARCHITECTURES",
    "DCGAN",
    "SNGAN",
    "Encoder",
    "Generator",
    "GeneratorError",
    "ModuleGenerator",
    "build_encoder",
    "build_generator",
    "convert_checkpoint",
    "generator_from_distribution",
]
