import pytest
import torch

from ganaug.draws import draw_shifts


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_draws_are_uniform_over_directions_and_never_too_small(distribution):
    rng = torch.Generator().manual_seed(0)
    indices, magnitudes = draw_shifts(8000, 4, max_magnitude=6, min_magnitude=0.5, distribution=distribution, rng=rng)
    counts = indices.bincount(minlength=4) / 8000
    assert (counts - 0.25).abs().max() < 0.02
    assert magnitudes.abs().min() == 0.5 and abs(magnitudes.mean()) < 0.2
    if distribution == "uniform":
        assert magnitudes.abs().max() <= 6
        assert (magnitudes.abs() == 0.5).float().mean() == pytest.approx(0.5 / 6, abs=0.015)
    else:
        assert magnitudes.std() == pytest.approx(6, abs=0.2)
    again = draw_shifts(8000, 4, distribution=distribution, rng=torch.Generator().manual_seed(0))
    assert torch.equal(again[0], indices) and torch.equal(again[1], magnitudes)


def test_an_unknown_distribution_is_named():
    with pytest.raises(ValueError, match="got 'cauchy'"):
        draw_shifts(3, 2, distribution="cauchy")
