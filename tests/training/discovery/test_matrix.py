import pytest
import torch

from ganaug.training import DirectionMatrix


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("kind", ["unit", "orthonormal", "random", "coordinate"])
def test_rows_have_unit_length_and_stay_so_while_learning(kind):
    matrix = DirectionMatrix(kind, 6, 8, rng=rng())
    learned = [p for p in matrix.parameters() if p.requires_grad]
    target = torch.randn(6, 8, generator=rng())
    if learned:
        optimizer = torch.optim.SGD(learned, lr=0.5)
        before = matrix.rows.detach().clone()
        for _ in range(5):
            optimizer.zero_grad()
            (matrix.rows - target).square().sum().backward()
            optimizer.step()
        assert not torch.allclose(matrix.rows, before, atol=1e-3)
    torch.testing.assert_close(matrix.rows.norm(dim=1), torch.ones(6))


@pytest.mark.parametrize("kind", ["orthonormal", "random", "coordinate"])
def test_rows_are_perpendicular(kind):
    rows = DirectionMatrix(kind, 5, 8, rng=rng()).rows
    torch.testing.assert_close(rows @ rows.T, torch.eye(5), atol=1e-5, rtol=0)


def test_baselines_and_given_directions_do_not_learn():
    given = torch.nn.functional.normalize(torch.randn(5, 8, generator=rng()), dim=1)
    for kind in ("random", "coordinate", "given"):
        matrix = DirectionMatrix(kind, 5, 8, initial=given if kind == "given" else None, rng=rng())
        assert not any(parameter.requires_grad for parameter in matrix.parameters())
    torch.testing.assert_close(matrix.rows, given)


def test_linear_rows_are_free_to_change_length():
    matrix = DirectionMatrix("linear", 3, 8, rng=rng())
    torch.optim.SGD(matrix.parameters(), lr=1.0).param_groups[0]["params"][0].data.mul_(3)
    torch.testing.assert_close(matrix.rows.norm(dim=1), torch.full((3,), 3.0))


def test_shift_is_the_magnitude_times_the_row():
    matrix = DirectionMatrix("unit", 4, 8, rng=rng())
    shifts = matrix(torch.tensor([2, 0]), torch.tensor([-3.0, 0.5]))
    torch.testing.assert_close(shifts, torch.stack([-3.0 * matrix.rows[2], 0.5 * matrix.rows[0]]))


def test_more_unit_directions_than_dimensions_are_fine_but_not_orthonormal_ones():
    assert DirectionMatrix("unit", 20, 8, rng=rng()).rows.shape == (20, 8)
    assert DirectionMatrix("random", 20, 8, rng=rng()).rows.shape == (20, 8)
    for kind in ("orthonormal", "coordinate"):
        with pytest.raises(ValueError, match=r"20 .* directions don't fit in 8 latent dimensions"):
            DirectionMatrix(kind, 20, 8)


@pytest.mark.parametrize("kind", ["unit", "orthonormal", "linear", "random", "coordinate"])
def test_directions_within_some_coordinates_are_those_of_a_latent_that_has_no_others(kind):
    within, alone = DirectionMatrix(kind, 4, 9, within=slice(3, 8), rng=rng()), DirectionMatrix(kind, 4, 5, rng=rng())
    assert torch.equal(within.rows, torch.nn.functional.pad(alone.rows, (3, 1)))
    again = DirectionMatrix(kind, 4, 9, within=slice(3, 8), initial=within.rows.detach())
    torch.testing.assert_close(again.rows, within.rows)


def test_limits_and_initial_directions_are_those_of_the_coordinates_within():
    half = {"within": slice(4, None), "rng": rng()}
    assert DirectionMatrix("random", 6, 8, **half).rows[:, :4].count_nonzero() == 0
    for kind in ("orthonormal", "coordinate"):
        with pytest.raises(ValueError, match=r"5 .* don't fit in 4 latent dimensions: lower num_directions to 4"):
            DirectionMatrix(kind, 5, 8, **half)
    initial = torch.eye(8)[3:6]
    with pytest.raises(ValueError, match="1 of 3 initial directions change coordinates outside 4 to 7"):
        DirectionMatrix("unit", 3, 8, initial=initial, **half)
    assert torch.equal(DirectionMatrix("unit", 2, 8, initial=initial[1:], **half).rows, initial[1:])


@pytest.mark.parametrize(
    ("kind", "initial", "message"),
    [
        ("diagonal", None, "direction_matrix should be one of unit"),
        ("given", None, "needs initial directions"),
        ("unit", torch.zeros(3, 9), r"shape \(4, 8\), got \(3, 9\)"),
    ],
)
def test_mistakes_are_named(kind, initial, message):
    with pytest.raises(ValueError, match=message):
        DirectionMatrix(kind, 4, 8, initial=initial)
