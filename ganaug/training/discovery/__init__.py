"""The paper's method: directions and a reconstructor that learn together."""

from ganaug.training.discovery.discover import discover
from ganaug.training.discovery.fresh_rca import fresh_rca
from ganaug.training.discovery.matrix import DirectionMatrix
from ganaug.training.discovery.plan import plan
from ganaug.training.discovery.reconstructor import Reconstructor
from ganaug.training.discovery.run import Run
from ganaug.training.discovery.settings import DiscoverySettings
from ganaug.training.discovery.words import discovery_words, is_near_chance

__all__ = [
    "DirectionMatrix",
    "DiscoverySettings",
    "Reconstructor",
    "Run",
    "discover",
    "discovery_words",
    "fresh_rca",
    "is_near_chance",
    "plan",
]
