"""Frozen generators: one file per architecture, which enters itself in ARCHITECTURES."""

import pkgutil
from importlib import import_module

from ganaug.generators.biggan import BigGAN, BigGANDeep
from ganaug.generators.dcgan import DCGAN
from ganaug.generators.encoder import Encoder, build_encoder
from ganaug.generators.generator import ARCHITECTURES, Generator, build_generator
from ganaug.generators.mlp import MLP
from ganaug.generators.module import ModuleGenerator
from ganaug.generators.network import load_weights
from ganaug.generators.progan import ProGAN
from ganaug.generators.sngan import SNGAN
from ganaug.generators.stylegan2 import StyleGAN2
from ganaug.generators.stylegan3 import StyleGAN3

for file in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{file.name}")

__all__ = [
    "ARCHITECTURES",
    "DCGAN",
    "MLP",
    "SNGAN",
    "BigGAN",
    "BigGANDeep",
    "Encoder",
    "Generator",
    "ModuleGenerator",
    "ProGAN",
    "StyleGAN2",
    "StyleGAN3",
    "build_encoder",
    "build_generator",
    "load_weights",
]
