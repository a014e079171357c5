import pytest
import torch
from PIL import Image

from ganaug.data import DATASETS, digits_on_photographs, mnist, read_labelled
from ganaug.errors import DataError


def test_composites_are_the_photograph_outside_the_digit_and_its_inverse_inside(data_root):
    data = digits_on_photographs(data_root)
    assert data.images.shape == (20, 3, 32, 32) and data.masks.shape == (20, 1, 32, 32)
    border = torch.ones(32, 32, dtype=torch.bool)
    border[2:-2, 2:-2] = False
    assert (data.masks[:, 0, border] == 0).all()
    # |p - m| and m give p up to its sign: with m = 0 the patch itself, so smooth borders exist in every image.
    assert data.images[:, :, border].float().std() > 5


def test_the_seed_fixes_the_patches(data_root):
    first, again, other = (digits_on_photographs(data_root, seed=seed).images for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first, digits_on_photographs(data_root, train=False).images)


def test_mnist_is_padded_to_32_pixels(data_root):
    data = mnist(data_root)
    assert data.images.shape == (20, 1, 32, 32) and data.labels.tolist() == [*range(10), *range(10)]
    assert data.masks is None


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_missing_data_is_named(tmp_path, name):
    with pytest.raises(DataError, match="no "):
        DATASETS[name](tmp_path)


@pytest.mark.parametrize("parts", [(), ("train", "test"), ("training", "val")])
def test_a_folder_of_class_subfolders_is_a_data_set(tmp_path, parts):
    for part in parts or ("",):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / part / name).mkdir(parents=True)
            for k in range(10):
                grey = 100 * label + k + 50 * (part == parts[-1:])
                Image.new("L", (20, 30), grey).save(tmp_path / part / name / f"{k}.png")
    first, second = (read_labelled(tmp_path, train=train, size=8, channels=3) for train in (True, False))
    assert first.images.shape == ((20 if parts else 16), 3, 8, 8) and len(second.images) == (20 if parts else 4)
    for found in (first, second):
        assert torch.equal(found.labels, (found.images[:, 0, 4, 4] >= 100).long())
    if not parts:
        both = torch.cat([first.images, second.images])[:, 0, 0, 0]
        assert both.unique().numel() == 20, "no image is in both"
    again = read_labelled(tmp_path, size=8, match=lambda names: [7, 3])
    assert again.labels.unique().tolist() == [3, 7]


def test_name_and_folder_name_a_data_set(data_root):
    for train in (True, False):
        read, expected = (
            read_labelled(f"digits:{data_root}", train=train),
            digits_on_photographs(data_root, train=train),
        )
        assert torch.equal(read.images, expected.images) and torch.equal(read.labels, expected.labels)


@pytest.mark.parametrize("images", ["", "digits", ":", "digits:", ":folder", "cifar:folder", "/a/folder"])
def test_what_is_no_name_and_folder_is_refused(images):
    with pytest.raises(DataError, match=r"mnist, fashion-mnist, digits"):
        read_labelled(images)
