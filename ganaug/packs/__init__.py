"""Direction packs: the record, its files, the Hub and the model card."""

from ganaug.packs.pack import DirectionPack, bundled_packs

__all__ = ["DirectionPack", "bundled_packs"]
