"""How alike the directions of a pack are."""

from __future__ import annotations

from typing import NamedTuple

from ganaug.devices import own_defaults
from ganaug.errors import PackError
from ganaug.packs import DirectionPack


class Cosines(NamedTuple):
    """How alike the directions of a pack are: |cosine| of two, its mean, the largest, and which two have that."""

    mean: float
    largest: float
    pair: tuple[int, int]

    def __str__(self) -> str:
        first, second = self.pair
        return f"|cosine| of two directions: mean {self.mean:.3f}, largest {self.largest:.3f} ({first} and {second})"


@own_defaults
def cosines(pack: DirectionPack) -> Cosines:
    """How alike the directions of a pack of two or more are."""
    if len(pack) < 2:
        raise PackError(f"pack {pack.name!r} has one direction, and cosines are of two.")
    found = (pack.directions @ pack.directions.T).abs().fill_diagonal_(0)
    count = len(found)
    first, second = divmod(int(found.argmax()), count)
    return Cosines(found.sum().item() / (count * (count - 1)), found.max().item(), (first, second))
