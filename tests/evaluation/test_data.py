import struct

import numpy as np
import pytest
import torch
from PIL import Image

from ganaug.evaluation.data import DATASETS, digits_on_photographs, mnist, to_float, to_uint8


@pytest.fixture
def root(tmp_path):
    """Twenty digits and three photographs in the layout that the data sets have on disk."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split in ("train", "t10k"):
        digits = rng.integers(0, 256, (20, 28, 28), dtype=np.uint8)
        (raw / f"{split}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, 20, 28, 28) + digits.tobytes())
        labels = np.arange(20, dtype=np.uint8) % 10
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 20) + labels.tobytes())
    for split in ("train", "test"):
        (tmp_path / "bsds500" / split).mkdir(parents=True)
        for k in range(3):
            pixels = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "bsds500" / split / f"{k}.jpg")
    return tmp_path


def test_composites_are_the_photograph_outside_the_digit_and_its_inverse_inside(root):
    data = digits_on_photographs(root)
    assert data.images.shape == (20, 3, 32, 32) and data.masks.shape == (20, 1, 32, 32)
    border = torch.ones(32, 32, dtype=torch.bool)
    border[2:-2, 2:-2] = False
    assert (data.masks[:, 0, border] == 0).all()
    # |p - m| and m give p up to its sign: with m = 0 the patch itself, so smooth borders exist in every image.
    assert data.images[:, :, border].float().std() > 5


def test_the_seed_fixes_the_patches(root):
    first, again, other = (digits_on_photographs(root, seed=seed).images for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first, digits_on_photographs(root, train=False).images)


def test_mnist_is_padded_to_32_pixels(root):
    data = mnist(root)
    assert data.images.shape == (20, 1, 32, 32) and data.labels.tolist() == [*range(10), *range(10)]
    assert data.masks is None


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_missing_data_is_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="no "):
        DATASETS[name](tmp_path)


def test_uint8_and_float_images_convert_back_and_forth():
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(levels)), levels)
    assert to_float(levels).min() == -1 and to_float(levels).max() == 1
    assert to_uint8(torch.tensor([-1.2, 1.2])).tolist() == [0, 255]
