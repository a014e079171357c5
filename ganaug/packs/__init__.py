"""Direction packs: the record, its files, the Hub and the model card."""

from ganaug.packs.direction import Direction
from ganaug.packs.find import load_generator
from ganaug.packs.hub import bundled_packs
from ganaug.packs.pack import DirectionPack

__all__ = ["Direction", "DirectionPack", "bundled_packs", "load_generator"]
