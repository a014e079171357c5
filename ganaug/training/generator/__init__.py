"""Training of generators, five files: settings, discriminator, differentiable augmentation, step, run."""

from ganaug.training.generator.settings import GeneratorSettings, read_generator_recipe
from ganaug.training.generator.train import train_generator

__all__ = ["GeneratorSettings", "read_generator_recipe", "train_generator"]
