"""What the two networks see of an image."""

import pytest
import torch

from ganaug.draws import seeded
from ganaug.training.generator.diffaugment import diffaugment


def test_each_image_is_changed_by_itself_and_by_the_seed_alone():
    images = torch.rand(6, 3, 32, 32) * 2 - 1
    seen = diffaugment(images, seeded(0))
    assert seen.shape == images.shape and torch.equal(seen, diffaugment(images, seeded(0)))
    assert not torch.equal(seen, diffaugment(images, seeded(1)))
    other = images.clone()
    other[2] = 0.3
    changed = (diffaugment(other, seeded(0)) != seen).flatten(1).any(1)
    assert changed.tolist() == [False, False, True, False, False, False]


@pytest.mark.parametrize("channels", [1, 3])
def test_half_a_side_is_cut_out_and_the_rest_moved_by_an_eighth_at_most(channels):
    images = torch.ones(400, channels, 32, 32)
    gone = diffaugment(images, seeded(0))[:, 0] == 0
    share = gone.float().mean((1, 2))
    assert share.max() <= 0.25 + 2 * 4 / 32 + 1e-6 and share.min() < 0.15
    assert (gone.float().mean(0) > 0.02).all(), "every place is cut out now and then"


def test_an_image_is_moved_up_down_left_and_right():
    dot = torch.zeros(500, 1, 32, 32)
    dot[:, :, 16, 16] = 1e6  # brightness and contrast do not move the highest value
    seen = diffaugment(dot, seeded(0)).flatten(1)
    there = seen.amax(1) > 1e5
    places = seen.argmax(1)[there]
    rows, columns = places // 32, places % 32
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (12, 20, 12, 20)


def test_gradients_come_through_to_what_is_left():
    images = torch.rand(4, 3, 16, 16, requires_grad=True)
    diffaugment(images, seeded(0)).square().sum().backward()
    assert images.grad.isfinite().all() and (images.grad != 0).flatten(1).any(1).all()


def test_grey_images_stay_grey():
    grey = torch.rand(5, 1, 32, 32).expand(-1, 3, -1, -1)
    seen = diffaugment(grey, seeded(3))
    torch.testing.assert_close(seen[:, 0], seen[:, 1])
