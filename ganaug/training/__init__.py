"""Discovery of directions, and the training of inversion encoders."""

from ganaug.training.discovery.discover import discover
from ganaug.training.discovery.matrix import DirectionMatrix
from ganaug.training.discovery.reconstructor import Reconstructor
from ganaug.training.discovery.settings import DiscoverySettings
from ganaug.training.encoder import EncoderSettings, train_encoder
from ganaug.training.methods.registry import find_directions

__all__ = [
    "DirectionMatrix",
    "DiscoverySettings",
    "EncoderSettings",
    "Reconstructor",
    "discover",
    "find_directions",
    "train_encoder",
]
