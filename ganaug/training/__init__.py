"""Training of generators, discovery of directions, training of inversion encoders."""

from ganaug.training.discovery import DirectionMatrix, DiscoverySettings, Reconstructor, discover, fresh_rca, plan
from ganaug.training.encoder import EncoderSettings, train_encoder, train_pack_encoder
from ganaug.training.generator import GeneratorSettings, read_generator_recipe, train_generator
from ganaug.training.methods import METHODS, Method, find_directions, method
from ganaug.training.published import convert_deformator
from ganaug.training.recipe import Recipe, make_pack, read_recipe, recipe_for_generator

__all__ = [
    "METHODS",
    "DirectionMatrix",
    "DiscoverySettings",
    "EncoderSettings",
    "GeneratorSettings",
    "Method",
    "Recipe",
    "Reconstructor",
    "convert_deformator",
    "discover",
    "find_directions",
    "fresh_rca",
    "make_pack",
    "method",
    "plan",
    "read_generator_recipe",
    "read_recipe",
    "recipe_for_generator",
    "train_encoder",
    "train_generator",
    "train_pack_encoder",
]
