"""Discovery of directions."""

from ganaug.training.direction_matrix import DirectionMatrix
from ganaug.training.discovery import DiscoveryError, Interrupted, discover
from ganaug.training.reconstructor import Reconstructor
from ganaug.training.settings import DiscoverySettings, SettingsError

__all__ = [
    "DirectionMatrix",
    "DiscoveryError",
    "DiscoverySettings",
    "Interrupted",
    "Reconstructor",
    "SettingsError",
    "discover",
]
