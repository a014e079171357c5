"""Direction packs: the file format, looking them up, names and ranges."""

from ganaug.directions.deformator import directions_from_deformator
from ganaug.directions.inversion import invert, refine
from ganaug.directions.pack import DirectionPack, PackError, bundled_packs
from ganaug.directions.shifts import draw_shifts, seeded

__all__ = [
    "DirectionPack",
    "PackError",
    "bundled_packs",
    "directions_from_deformator",
    "draw_shifts",
    "invert",
    "refine",
    "seeded",
]
