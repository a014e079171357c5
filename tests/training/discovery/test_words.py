import pytest
import torch

from ganaug.packs import DirectionPack
from ganaug.training import discovery_words
from ganaug.training.discovery import is_near_chance


@pytest.mark.parametrize(
    ("rca", "count", "near"),
    [
        (0.065, 24, True),
        (0.13, 24, False),
        (0.155, 16, True),
        (0.157, 16, False),
        (0.02, 120, True),
        (0.03, 120, False),
        (0.54, 2, True),
        (0.6, 2, False),
    ],
)
def test_what_is_near_chance(rca, count, near):
    assert is_near_chance(rca, count) == near


def test_what_to_try_is_told_of_runs_that_failed_alone():
    def pack(**scores):
        return DirectionPack(torch.eye(24), method={"name": "reconstructor", "steps": 500}, scores=scores)

    told = " ".join(discovery_words(pack(rca=0.065)))
    assert "Try longer (steps=2000), fewer directions (num_directions=12), or method=sefa" in told
    assert discovery_words(pack(rca=0.6)) == discovery_words(pack()) == []
