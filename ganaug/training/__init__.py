"""Discovery of directions, and the training of inversion encoders."""

from ganaug.training.checkpoint import DiscoveryError
from ganaug.training.direction_matrix import DirectionMatrix
from ganaug.training.discovery import Interrupted, discover
from ganaug.training.inversion import EncoderTrainingError, train_encoder
from ganaug.training.reconstructor import Reconstructor
from ganaug.training.settings import DiscoverySettings, EncoderSettings, SettingsError

__all__ = [
    "DirectionMatrix",
    "DiscoveryError",
    "DiscoverySettings",
    "EncoderSettings",
    "EncoderTrainingError",
    "Interrupted",
    "Reconstructor",
    "SettingsError",
    "discover",
    "train_encoder",
]
