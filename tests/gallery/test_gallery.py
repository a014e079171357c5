import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ganaug.errors import GalleryError
from ganaug.gallery import before_after_sheet, contact_sheet, direction_strip, preview, samples_sheet, write_page
from ganaug.gallery.rows import walk
from ganaug.gallery.sheet import tile
from ganaug.generators import DCGAN, SNGAN
from ganaug.packs import DirectionPack


@pytest.fixture(scope="module")
def pack():
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=8, channels=3, num_classes=10, widths=(8, 8, 8, 8)).freeze()
    directions = F.normalize(torch.randn(5, 8), dim=1)
    return DirectionPack(directions, generator=generator, names={"colour <b>": 3}, scores={"rca": 0.5}, name="tiny")


def test_a_walk_passes_through_the_unshifted_image(pack):
    latents, labels = torch.randn(2, 8), torch.tensor([1, 2])
    images = walk(pack.generator, pack.directions[0], latents, labels, torch.tensor([-3.0, 0.0, 3.0]))
    assert images.shape == (2, 3, 3, 32, 32)
    torch.testing.assert_close(images[:, 1], (pack.generator(latents, labels) + 1) / 2)
    assert not torch.allclose(images[:, 0], images[:, 2])


def test_tiles_lie_where_they_should():
    images = torch.zeros(2, 3, 1, 4, 4)
    images[1, 2] = 1
    sheet = np.asarray(tile(images, scale=2, gap=1))
    assert sheet.shape == (17, 26, 3)
    assert (sheet[9:, 18:] == 255).all() and (sheet[:8, :8] == 0).all()


def test_every_direction_is_on_the_contact_sheet_and_named_ones_come_first(pack):
    sheet = contact_sheet(pack, seeds=(0, 1), steps=3, columns=1)
    strip = direction_strip(pack, 3, seeds=(0, 1), steps=3)
    assert sheet.height >= 5 * strip.height
    first = np.asarray(sheet)[12 : 12 + strip.height, 12 : 12 + strip.width]
    assert np.array_equal(first, np.asarray(strip))


def test_seeds_give_the_same_rows_whatever_the_other_seeds(pack):
    one, two = (np.asarray(direction_strip(pack, 1, seeds=seeds, steps=3)) for seeds in ((4,), (4, 5)))
    assert np.array_equal(one, two[: one.shape[0]])


def test_before_and_after_differ_below_only(pack):
    weak, strong = (np.asarray(before_after_sheet(pack, 2, interval=(-m, m))) for m in (0.5, 6.0))
    differs = np.flatnonzero((weak[40:] != strong[40:]).any((1, 2)))
    assert len(differs) and differs.min() > 96 - 40


def test_the_page_shows_every_direction_and_escapes_names(pack, tmp_path):
    page = write_page(pack, tmp_path / "page", seeds=(0,))
    html = page.read_text()
    pictures = re.findall(r'src="(direction_\d+\.png)"', html)
    assert len(pictures) == 5 and pictures[0] == "direction_003.png"
    assert all((page.parent / picture).stat().st_size > 0 for picture in pictures)
    assert "colour &lt;b&gt;" in html and "<b>" not in html


def test_the_page_says_what_is_known_of_each_direction(pack, tmp_path):
    generator = pack.generator
    measured = DirectionPack(pack.directions[:3], generator=generator, safe_ranges=[(-1.5, 2), (0, 0), (-3, 3)])
    measured.add_scores(2, {"mask_iou": 0.25}, command="")
    items = write_page(measured, tmp_path / "page", seeds=(0,)).read_text().split("<li ")[1:]
    assert ["safe range -1.5 to +2.0" in item for item in items] == [True, False, False]
    assert ["changes the label" in item for item in items] == [False, True, False]
    assert ["safe range -3.0 to +3.0; mask iou 0.250" in item for item in items] == [False, False, True]


def test_a_preview_of_large_images_shows_them_small():
    torch.manual_seed(0)
    generator = DCGAN(latent_dim=4, width=1, image_size=256, channels=1).freeze()
    sheet = preview(DirectionPack(torch.eye(4)[:3], generator=generator))
    assert sheet.width < 3 * 7 * 132 + 50 and sheet.height < 2 * 132 + 50


def test_samples_lie_in_rows_that_bear_the_names_of_their_classes(pack):
    names = [f"class {letter}" for letter in "abcdefghij"]
    sheet, renamed = (
        np.asarray(samples_sheet(pack.generator, class_names=each, columns=3, seed=1))
        for each in (names, ["other c", *names[1:]])
    )
    drawn = pack.generator(
        pack.generator.sample_latents(30, rng=torch.Generator().manual_seed(1)), torch.arange(10).repeat_interleave(3)
    )
    first, row = np.asarray(tile((drawn[None, :3] + 1) / 2, scale=2)), slice(8, 8 + 64)
    assert np.array_equal(sheet[row, -8 - first.shape[1] : -8], first), "three of the first class come first"
    differs = np.flatnonzero((sheet != renamed).any((1, 2)))
    assert differs.min() >= 8 and differs.max() < 8 + 64, "its name stands beside its row, and nowhere else"


def test_samples_without_classes_or_of_many_and_what_can_not_be_drawn(pack):
    torch.manual_seed(0)
    grey = DCGAN(latent_dim=4, width=1, image_size=256, channels=1).freeze()
    sheet = samples_sheet(grey, columns=2)
    assert sheet.size == (2 * 130 - 2 + 16, 8 * 130 - 2 + 16), "made small, and no margin for names"
    assert samples_sheet(pack.generator, most_rows=2).height == 2 * 66 - 2 + 16
    with pytest.raises(GalleryError, match="should be 10 names, one for each class, got 1"):
        samples_sheet(pack.generator, class_names=["one"])
    with pytest.raises(GalleryError, match="at least 1"):
        samples_sheet(pack.generator, columns=0)
