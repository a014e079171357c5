"""Conversions between uint8, [0, 1] and [-1, 1], and between one image, a batch and a PIL image."""

import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from ganaug.images import (
    as_batch,
    from_unit,
    like,
    resized,
    signed_to_uint8,
    signed_to_unit,
    to_unit,
    uint8_to_signed,
    unit_to_signed,
)

LEVELS = torch.arange(256, dtype=torch.uint8)


def test_uint8_and_float_images_convert_back_and_forth():
    assert torch.equal(signed_to_uint8(uint8_to_signed(LEVELS)), LEVELS)
    assert uint8_to_signed(LEVELS).min() == -1 and uint8_to_signed(LEVELS).max() == 1
    assert signed_to_uint8(torch.tensor([-1.2, 1.2])).tolist() == [0, 255]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32])
def test_images_of_users_convert_to_unit_and_back(dtype):
    images = LEVELS if dtype == torch.uint8 else (LEVELS / 255).to(dtype)
    unit = to_unit(images)
    assert unit.dtype == torch.float32 and unit.min() == 0 and unit.max() == 1
    assert from_unit(unit, dtype).dtype == dtype and torch.equal(from_unit(unit, dtype), images)


def test_signed_and_unit_are_the_same_images_and_what_overshoots_is_clamped():
    signed = torch.linspace(-1, 1, 9)
    assert torch.equal(signed_to_unit(signed), torch.linspace(0, 1, 9))
    assert torch.equal(unit_to_signed(signed_to_unit(signed)), signed)
    assert signed_to_unit(torch.tensor([-3.0, 1.5], dtype=torch.float16)).tolist() == [0, 1]
    assert torch.equal(signed_to_uint8(unit_to_signed(to_unit(LEVELS))), LEVELS)


def test_resizing_is_antialiased_and_leaves_images_of_the_size_alone():
    stripes = torch.zeros(1, 1, 64, 64)
    stripes[..., ::2] = 1
    small = resized(stripes, (16, 24))
    assert small.shape == (1, 1, 16, 24) and (small[..., 2:-2] - 0.5).abs().max() < 0.1
    assert resized(stripes, (64, 64)) is stripes


@pytest.mark.parametrize(
    "image",
    [
        torch.rand(3, 8, 6),
        torch.rand(2, 3, 8, 6),
        tv_tensors.Image(torch.rand(3, 8, 6)),
        tv_tensors.Image(torch.rand(2, 1, 8, 6)),
        Image.new("RGB", (6, 8), (1, 2, 3)),
        Image.new("L", (6, 8), 7),
    ],
    ids=["image", "batch", "tv_tensor", "batch as tv_tensor", "RGB", "L"],
)
def test_a_batch_and_back(image):
    batch = as_batch(image)
    assert type(batch) is torch.Tensor and batch.ndim == 4 and batch.shape[2:] == (8, 6)
    again = like(batch, image)
    assert type(again) is type(image)
    if isinstance(image, Image.Image):
        assert again.mode == image.mode and again.tobytes() == image.tobytes()
    else:
        assert torch.equal(again, image)
