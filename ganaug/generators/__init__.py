"""Frozen generators: one file per architecture."""

from ganaug.generators.biggan import BigGAN, BigGANDeep
from ganaug.generators.dcgan import DCGAN
from ganaug.generators.encoder import Encoder, build_encoder
from ganaug.generators.generator import Generator, build_generator
from ganaug.generators.mlp import MLP
from ganaug.generators.module import ModuleGenerator
from ganaug.generators.progan import ProGAN
from ganaug.generators.sngan import SNGAN
from ganaug.generators.stylegan2 import StyleGAN2
from ganaug.generators.stylegan3 import StyleGAN3

ARCHITECTURES: dict[str, type[Generator]] = {
    kind.architecture: kind for kind in (SNGAN, DCGAN, ProGAN, BigGAN, BigGANDeep, StyleGAN2, StyleGAN3, MLP)
}

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
]
