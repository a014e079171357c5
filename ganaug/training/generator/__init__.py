"""Training of generators, five files: settings, discriminator, differentiable augmentation, step, run."""

from ganaug.training.generator.settings import GeneratorSettings, read_generator_recipe
from ganaug.training.generator.train import Trained, train_generator

__all__ = ["GeneratorSettings", "Trained", "read_generator_recipe", "train_generator"]
