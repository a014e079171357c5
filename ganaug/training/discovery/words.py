"""What a run's RCA means, in words, and what to try where nothing was learned."""

from __future__ import annotations

from ganaug.packs import DirectionPack

TIMES, SHARE = 3.0, 0.1
"""RCA is near chance below three times chance, or, where that is much, below a tenth of the way from it to 1."""


def is_near_chance(rca: float, num_directions: int) -> bool:
    """Whether an RCA is hardly more than guessing one of K directions, 1/K: less than three times that, and less than a
    tenth of the way from there to 1. So for K = 16, 24 and 120: below 0.156, 0.125 and 0.025.

    On the 10,000 pairs that RCA is measured on, chance itself scatters by less than 0.005; what lies between is
    significant, and of no use: most directions can't be told apart.
    """
    chance = 1 / num_directions
    return rca < min(TIMES * chance, chance + SHARE * (1 - chance))


def discovery_words(pack: DirectionPack) -> list[str]:
    """What to know of a pack that :func:`ganaug.training.discover` made and whose RCA is near chance: that nothing was
    learned, and what to try. Nothing of other packs."""
    rca, count = pack.scores.get("rca"), pack.num_directions
    if not isinstance(rca, float) or count < 2 or not is_near_chance(rca, count):
        return []
    steps = pack.method.get("steps")
    longer = f"longer (steps={4 * steps})" if isinstance(steps, int) else "longer (steps=...)"
    fewer = f", fewer directions (num_directions={count // 2})" if count > 3 else ""
    return [
        "That is hardly more than guessing: the reconstructor can't tell the directions apart, so next to nothing was "
        f"learned, and what they show is left to chance. Try {longer}{fewer}, or method=sefa, which takes seconds and "
        "trains nothing. If none of it helps, look at the generator's own images first."
    ]
