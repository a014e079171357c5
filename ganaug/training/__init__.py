"""Training of generators, discovery of directions, training of inversion encoders."""

from ganaug.training.build import Built, build
from ganaug.training.discovery import (
    DirectionMatrix,
    DiscoverySettings,
    Reconstructor,
    discover,
    discovery_words,
    fresh_rca,
    plan,
)
from ganaug.training.encoder import (
    EncoderSettings,
    RealImages,
    encoder_words,
    read_real_images,
    train_encoder,
    train_pack_encoder,
)
from ganaug.training.generator import GeneratorSettings, Trained, read_generator_recipe, train_generator
from ganaug.training.methods import METHODS, Method, find_directions, method
from ganaug.training.published import convert_deformator
from ganaug.training.recipe import Recipe, make_pack, read_recipe, recipe_for_generator

__all__ = [
    "METHODS",
    "Built",
    "DirectionMatrix",
    "DiscoverySettings",
    "EncoderSettings",
    "GeneratorSettings",
    "Method",
    "RealImages",
    "Recipe",
    "Reconstructor",
    "Trained",
    "build",
    "convert_deformator",
    "discover",
    "discovery_words",
    "encoder_words",
    "find_directions",
    "fresh_rca",
    "make_pack",
    "method",
    "plan",
    "read_generator_recipe",
    "read_real_images",
    "read_recipe",
    "recipe_for_generator",
    "train_encoder",
    "train_generator",
    "train_pack_encoder",
]
