import pytest
import torch
from torch import nn

from ganaug.evaluation import pseudo_masks
from ganaug.evaluation.masks import object_masks
from ganaug.generators import Generator
from ganaug.packs import DirectionPack


class Square(nn.Module):
    """A square, whose place is the latent's first coordinate and shade the second, on a background of the third."""

    def forward(self, latents):
        images = latents[:, 2].tanh()[:, None, None, None].expand(-1, 3, 16, 16).clone()
        for image, place, shade in zip(images, latents[:, 0].sigmoid(), latents[:, 1].tanh(), strict=True):
            corner = int(place * 8)
            image[:, corner : corner + 6, corner : corner + 6] = shade
        return images


@pytest.fixture
def squares():
    generator = Generator.from_module(Square(), latent_dim=3, image_size=16, channels=3)
    return DirectionPack(
        torch.eye(3), generator=generator, names={"place": 0, "shade": 1, "background": 2}, ranges=[(-3, 3)] * 3
    )


def test_what_a_background_direction_leaves_alone_is_the_object(squares):
    images, masks, labels = pseudo_masks(squares, "background", 12, batch_size=8, precision="float32")
    assert images.shape == (12, 3, 16, 16) and images.dtype == torch.uint8 and labels is None
    assert masks.shape == (12, 1, 16, 16) and set(masks.unique().tolist()) == {0, 255}
    assert (masks.flatten(1) == 255).sum(1).tolist() == [36] * 12
    for image, mask in zip(images, masks, strict=True):
        inside, outside = image[:, mask[0] == 255], image[:, mask[0] == 0]
        assert inside.unique().numel() == 1 and outside.unique().numel() == 1


def test_the_same_seed_draws_the_same_and_another_one_others(squares):
    first, again = (pseudo_masks(squares, "background", 4, seed=1, precision="float32") for _ in range(2))
    assert torch.equal(first.images, again.images) and torch.equal(first.masks, again.masks)
    other = pseudo_masks(squares, "background", 4, seed=2, precision="float32")
    assert not torch.equal(first.images, other.images)


def test_labels_of_a_class_conditional_generator_come_along(pack):
    drawn = pseudo_masks(pack, "background", 6, area=(0.0, 1.0), batch_size=4)
    assert drawn.labels.shape == (6,) and drawn.labels.max() < 10


def test_masks_of_another_area_are_dropped(squares):
    with pytest.raises(ValueError, match=r"4 images were wanted, and of 8 drawn 0 had a mask .* 50% and 90%"):
        pseudo_masks(squares, "background", 4, area=(0.5, 0.9), batch_size=4, max_draws=2, precision="float32")


def test_what_turns_the_other_way_belongs_to_the_object():
    first, second = torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8)
    second[:, :, 2:4, 2:4] = -1
    second[1] *= -1
    expected = second * torch.tensor([1, -1]).view(2, 1, 1, 1) < 0
    assert torch.equal(object_masks(torch.stack([first, second]), threshold=0.0), expected)


def test_an_image_whose_background_stays_has_no_object():
    assert not object_masks(torch.zeros(3, 2, 3, 8, 8)).any()


def test_shifts_along_several_directions_find_what_one_leaves_in_the_background():
    class Stripes(nn.Module):
        """A dark square on two stripes, one for each of two latents."""

        def forward(self, latents):
            images = latents[:, [0, 0, 1, 1, 0, 1, 0, 1]].tanh()[:, None, None].repeat(1, 3, 8, 1)
            images[:, 1:] = images[:, 1:] + 0.2 * latents.sum(1).tanh()[:, None, None, None]
            images[:, :, 2:4, 2:4] = -1
            return images / 1.2

    generator = Generator.from_module(Stripes(), latent_dim=2, image_size=8, channels=3)
    pack = DirectionPack(torch.eye(2), generator=generator, ranges=[(-3, 3)] * 2)
    expected = torch.zeros(4, 1, 8, 8, dtype=torch.bool)
    expected[:, :, 2:4, 2:4] = True
    options = {"batch_size": 4, "precision": "float32", "area": (0.0, 1.0)}
    alone = pseudo_masks(pack, 0, 4, **options).masks == 255
    assert (alone & ~expected).any()
    assert torch.equal(pseudo_masks(pack, [0, 1], 4, shifts=40, **options).masks == 255, expected)


@pytest.mark.parametrize(("directions", "shifts"), [([], 2), (["background"], 1)])
def test_no_direction_or_a_single_shift_is_refused(squares, directions, shifts):
    with pytest.raises(ValueError, match=f"two shifts are needed, not {len(directions)} and {shifts}"):
        pseudo_masks(squares, directions, 4, shifts=shifts)
