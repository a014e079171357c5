"""Everything that measures, and what draws pages, with networks on a device."""

import copy

import numpy as np
import pytest
import torch

from ganaug import evaluation
from ganaug.gallery import contact_sheet, preview
from ganaug.packs import DirectionPack
from ganaug.training import fresh_rca


@pytest.fixture
def packs(inverting_pack, device):
    """The same pack, its networks on the CPU, and on the device; directions are on the CPU in both."""
    generator, encoder = (
        copy.deepcopy(network).to(device) for network in (inverting_pack.generator, inverting_pack.encoder)
    )
    names = dict(inverting_pack.names)
    there = DirectionPack(inverting_pack.directions, generator=generator, encoder=encoder, names=names, name="tiny")
    return inverting_pack, there


def same(found, expected):
    if isinstance(expected, torch.Tensor):
        torch.testing.assert_close(found.cpu().float(), expected.float(), rtol=1e-3, atol=1e-4)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            same(found[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1e-3)
    else:
        assert found == expected


def judge(device, outputs=10, channels=3):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * 32 * 32, outputs)).to(device)


class Reconstructor(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(6 * 32 * 32, 7)

    def forward(self, before, after):
        found = self.layer(torch.cat([before, after], 1).flatten(1))
        return found[:, :6], found[:, 6]


class Segmenter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Conv2d(3, 1, 1)

    def forward(self, images):
        return self.layer(images)


IMAGES = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 10
MASKS = torch.where(IMAGES[:, :1] > 127, 255, 0).to(torch.uint8)
MEASURES = {
    "reconstructor accuracy": lambda pack, device: evaluation.reconstructor_accuracy(
        pack.generator, pack.directions, Reconstructor().to(device), samples=40, precision="float32"
    ),
    "reconstruction error": lambda pack, device: evaluation.reconstruction_error(pack, samples=20),
    "reconstruction error of images": lambda pack, device: evaluation.reconstruction_error(pack, IMAGES),
    "change": lambda pack, device: tuple(
        evaluation.measure_change(
            pack.generator,
            pack.directions[0],
            (-1, 1),
            classifier=judge(device),
            segmenter=Segmenter().to(device),
            samples=20,
        )
    ),
    "label hits": lambda pack, device: evaluation.label_hits(
        pack.generator, pack.directions[0], judge(device), magnitudes=[-1.0, 1.0], samples=20, precision="float32"
    ),
    "label hits of real images": lambda pack, device: evaluation.label_hits(
        pack.generator,
        pack.directions[0],
        judge(device),
        magnitudes=[-1.0, 1.0],
        samples=20,
        precision="float32",
        real=evaluation.invert_images(pack, IMAGES, LABELS, precision="float32"),
    ),
    "safe ranges": lambda pack, device: evaluation.safe_ranges(
        pack.generator,
        pack.directions[:2],
        judge(device),
        rate=0.05,
        scan=2,
        tolerance=3.0,
        samples=40,
        show_progress=False,
    ),
    "naturalness": lambda pack, device: evaluation.direction_variation_naturalness(
        pack.generator, pack.directions[0], IMAGES, samples=20, steps=2
    ),
    "pseudo-masks": lambda pack, device: (
        evaluation.pseudo_masks(pack, ["background"], 4, area=(0, 1), magnitudes=(-1, 1), precision="float32")
        .masks.float()
        .mean((1, 2, 3))
    ),
    "a classifier": lambda pack, device: (
        evaluation.predict(
            evaluation.train_classifier(IMAGES, LABELS, steps=2, device=device, show_progress=False), IMAGES
        ).shape
    ),
    "a segmenter": lambda pack, device: (
        evaluation.find_object(
            evaluation.train_segmenter(IMAGES, MASKS, steps=2, device=device, show_progress=False), IMAGES
        ).shape
    ),
    "cosines": lambda pack, device: str(evaluation.cosines(pack)),
    "a contact sheet": lambda pack, device: np.asarray(contact_sheet(pack)).shape,
    "a preview": lambda pack, device: np.asarray(preview(pack)).shape,
}


@pytest.mark.parametrize("name", MEASURES)
def test_what_is_measured_there_is_what_is_measured_here(packs, device, name):
    here, there = packs
    same(MEASURES[name](there, device), MEASURES[name](here, "cpu"))


def test_a_fresh_reconstructor_is_trained_there(packs, device):
    found = fresh_rca(packs[1], steps=2, batch_size=4, samples=8, device=device, show_progress=False)
    assert 0 <= found <= 1
