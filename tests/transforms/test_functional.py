"""Shifting as pure functions."""

import pytest
import torch

from ganaug.transforms.functional import change, inverted, offsets, sampled

LATENTS = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
OFFSETS = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 3, 3, 9])


def test_offsets_are_directions_by_magnitudes_and_add_up():
    directions = torch.eye(3, 8)
    one = offsets(directions, torch.tensor([2, 0]), torch.tensor([1.5, -2.0]))
    assert one.tolist() == [[0, 0, 1.5, *[0] * 5], [-2, *[0] * 7]]
    two = offsets(directions, torch.tensor([[2, 0], [0, 1]]), torch.tensor([[1.5, 1.0], [-2.0, 3.0]]))
    assert two.tolist() == [[1, 0, 1.5, *[0] * 5], [-2, 3, *[0] * 6]]
    assert offsets(directions, torch.empty(0, 2, dtype=torch.int64), torch.empty(0, 2)).shape == (0, 8)


@pytest.mark.parametrize("size", [(32, 32), (20, 28)])
def test_shapes_and_ranges(conditional_generator, size):
    images = torch.rand(4, 3, *size, generator=torch.Generator().manual_seed(2))
    arguments = (conditional_generator, LATENTS, OFFSETS, LABELS)
    drawn, changed = sampled(*arguments, size=size), change(*arguments, size=size)
    assert drawn.shape == changed.shape == images.shape and 0 <= drawn.min() <= drawn.max() <= 1
    assert changed.min() < 0 < changed.max()
    added = inverted(conditional_generator, images, LATENTS, OFFSETS, LABELS, blend="add")
    torch.testing.assert_close(added, (images + changed).clamp(0, 1))
    assert torch.equal(inverted(conditional_generator, images, LATENTS, OFFSETS, LABELS, blend="replace"), drawn)


def test_the_change_is_the_difference_of_what_is_sampled(conditional_generator):
    nothing = torch.zeros_like(OFFSETS)
    before, after = (sampled(conditional_generator, LATENTS, o, LABELS, size=(32, 32)) for o in (nothing, OFFSETS))
    changed = change(conditional_generator, LATENTS, OFFSETS, LABELS, size=(32, 32))
    torch.testing.assert_close(changed, after - before)
    assert not change(conditional_generator, LATENTS, nothing, LABELS, size=(32, 32)).any()


def test_gradients_reach_the_images_and_not_the_latents(conditional_generator):
    images = torch.full((4, 3, 32, 32), 0.5, requires_grad=True)
    latents = LATENTS.clone().requires_grad_()
    inverted(conditional_generator, images, latents, OFFSETS * 0.1, LABELS).sum().backward()
    assert images.grad.mean() > 0.9 and latents.grad is None
