"""Whether images have a right way round."""

import pytest
import torch

from ganaug.training.generator.flips import TOLD, handedness


@pytest.mark.slow
def test_what_leans_to_one_side_is_told_and_what_does_not_is_not():
    noise = torch.randint(0, 256, (300, 1, 16, 16), dtype=torch.uint8)
    leaning = noise.clone()
    leaning[:, :, :8, :8] //= 3
    assert handedness(noise[:200], noise[200:], steps=40) < TOLD
    assert handedness(leaning[:200], leaning[200:], steps=40) > 0.9
