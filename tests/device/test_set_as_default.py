"""Somebody set the device as torch's default: ganaug's tables and draws are where they always were."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "transforms"))
from test_defaults import check_same, everything, made

from ganaug import data
from ganaug.generators import SNGAN


@pytest.fixture
def as_default(device):
    def run(function, *arguments):
        torch.set_default_device(device)
        torch.set_default_dtype(torch.float64)
        try:
            return function(*arguments)
        finally:
            torch.set_default_device(None)
            torch.set_default_dtype(torch.float32)

    return run


def test_packs_and_transforms_are_as_ever(as_default, inverting_pack, tmp_path):
    inverting_pack.save_pretrained(tmp_path / "pack")
    images, labels = torch.rand(4, 3, 32, 32), torch.arange(4)
    expected = everything(tmp_path / "pack", images, labels)
    check_same(as_default(everything, tmp_path / "pack", images, labels), expected)


@pytest.mark.slow
def test_what_is_made_is_as_ever(as_default, inverting_pack, tmp_path):
    from PIL import Image

    generator = SNGAN(latent_dim=6, channels=1, num_classes=3, widths=(4, 4, 4, 4)).freeze()
    for name in ("usual", "theirs"):
        for k in range(3):
            place = tmp_path / name / "photos" / f"class{k}"
            place.mkdir(parents=True)
            Image.new("RGB", (40, 30), (60 * k, 90, 200)).save(place / "0.png")
    expected = made(tmp_path / "usual", inverting_pack, generator)
    check_same(as_default(made, tmp_path / "theirs", inverting_pack, generator), expected)


@pytest.mark.parametrize("read", [data.mnist, data.fashion_mnist, data.digits_on_photographs])
def test_data_sets_are_read_to_the_cpu(as_default, data_root, read):
    def tensors(root):
        return [part for part in read(root) if isinstance(part, torch.Tensor)]

    check_same(as_default(tensors, data_root), tensors(data_root))
