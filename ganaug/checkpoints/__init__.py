"""Foreign checkpoints, read once: names of tensors in, one of our generators out."""

from ganaug.checkpoints.convert import convert_checkpoint
from ganaug.checkpoints.deformator import directions_from_deformator
from ganaug.checkpoints.distribution import generator_from_distribution
from ganaug.checkpoints.pickles import read_nvidia_pickle

__all__ = ["convert_checkpoint", "directions_from_deformator", "generator_from_distribution", "read_nvidia_pickle"]
