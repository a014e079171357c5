"""The judges on images whose truth is known: bright discs and squares on noise."""

import pytest
import torch

from ganaug.errors import EvaluationError
from ganaug.evaluation import (
    InvertedImages,
    direction_variation_naturalness,
    find_object,
    invert_images,
    label_hits,
    measure_change,
    predict,
    reconstructor_accuracy,
    safe_ranges,
    train_classifier,
    train_segmenter,
)
from ganaug.evaluation.labels import ReadLabels, wilson_lower_bound
from ganaug.generators import Generator
from ganaug.images import signed_to_uint8, uint8_to_signed


def scenes(labels: torch.Tensor, ground: torch.Tensor, size: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey images in [-1, 1] of a white disc (label 0) or square (label 1), and its mask."""
    grid = torch.linspace(-1, 1, 16)
    y, x = grid[:, None].abs(), grid[None].abs()
    disc, square = (y**2 + x**2).sqrt(), torch.maximum(y, x)
    distance = torch.where(labels[:, None, None] == 0, disc, square * 1.3)
    mask = (distance < size[:, None, None])[:, None]
    return torch.where(mask, 1.0, ground[:, None, None, None].expand_as(mask)), mask


class Scenes(torch.nn.Module):
    """Latent 0 moves the background's grey, latent 1 the object's size, latent 2 nothing at all."""

    def forward(self, latents, labels):
        noise = 0.02 * latents[:, 3:4, None, None].tanh()
        return (scenes(labels, -0.5 + 0.1 * latents[:, 0].clamp(-4, 4), 0.6 + 0.08 * latents[:, 1])[0] + noise).clamp(
            -1, 1
        )


@pytest.fixture(scope="module")
def generator():
    return Generator.from_module(Scenes(), latent_dim=4, image_size=16, channels=1, num_classes=2)


@pytest.fixture(scope="module")
def real():
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (600,), generator=rng)
    ground = -0.5 + 0.3 * torch.randn(600, generator=rng).clamp(-2, 2)
    images, masks = scenes(labels, ground, 0.45 + 0.3 * torch.rand(600, generator=rng))
    return signed_to_uint8(images), labels, masks.to(torch.uint8) * 255


@pytest.fixture(scope="module")
def classifier(real):
    return train_classifier(real[0], real[1], steps=150, batch_size=64, show_progress=False)


@pytest.fixture(scope="module")
def segmenter(real):
    return train_segmenter(real[0], real[2], steps=120, batch_size=32, show_progress=False)


def axis(index):
    return torch.eye(4)[index]


@pytest.mark.slow
def test_classifier_reads_labels_and_segmenter_finds_objects(real, classifier, segmenter):
    images, labels, masks = real
    assert (predict(classifier, images) == labels).float().mean() > 0.97
    found = find_object(segmenter, images)
    iou = (found & (masks > 0)).sum() / (found | (masks > 0)).sum()
    assert iou > 0.9
    assert torch.equal(find_object(segmenter, uint8_to_signed(images)), found), "uint8 and [-1, 1] are read alike"


def test_three_figures_tell_a_background_direction_from_the_rest(generator, classifier, segmenter):
    background, size, nothing = (
        measure_change(generator, axis(k), (-3, 3), classifier=classifier, segmenter=segmenter, samples=200)
        for k in range(3)
    )
    assert background.label > 0.95 and background.mask_iou > 0.9
    assert 0.04 < background.outside < 0.12 and background.inside < 0.02
    assert size.mask_iou < background.mask_iou - 0.1 and size.outside < background.outside / 2
    assert nothing.mask_iou == 1.0 and nothing.outside == 0.0 == nothing.inside


def test_label_hits_count_what_stays_readable(generator, classifier):
    hits = label_hits(generator, axis(1), classifier, magnitudes=[0.0, -12.0], samples=100)
    assert hits[0] >= 95 and hits[1] <= 75, "an object of no size has no label"


def test_safe_ranges_end_where_the_label_does(generator, classifier):
    ranges = safe_ranges(
        generator, torch.eye(4)[:2], classifier, rate=0.9, max_magnitude=12, samples=100, show_progress=False
    )
    assert ranges[0][1] == 12.0
    assert ranges[1][0] > -12.0


def test_what_a_judge_can_not_read_anyway_is_not_held_against_a_shift(generator, classifier):
    class Weak(torch.nn.Module):
        """Reads a sixth of the images as the other class, the same ones whatever the background."""

        def forward(self, images):
            logits = classifier(images)
            return torch.where((torch.arange(len(images)) % 6 == 0)[:, None], -logits, logits)

    hits = label_hits(generator, axis(2), Weak(), magnitudes=[0.0], samples=100)
    assert 75 < hits[0] < 87
    [(low, high), (less, _)] = safe_ranges(generator, torch.eye(4)[[2, 1]], Weak(), samples=100, max_magnitude=12)
    assert (low, high) == (-12.0, 12.0) and less > -12, "nothing changes along the first"
    blind = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 2))
    torch.nn.init.zeros_(blind[1].weight)
    with pytest.raises(EvaluationError, match=r"are read as their label, too few .* take more samples"):
        safe_ranges(generator, torch.eye(4)[:1], blind, samples=10)


def test_a_range_ends_at_the_crossing_within_the_tolerance_and_early_stops_change_nothing(generator, classifier):
    labels = ReadLabels(generator, classifier, samples=200, seed=1)
    low, _ = labels.safe_range(axis(1), rate=0.9, max_magnitude=12, tolerance=0.1)
    needed = labels.needed(0.9)
    assert -12 < low < 0
    assert labels.right(axis(1), low).sum() >= needed > labels.right(axis(1), low - 0.1).sum()


def test_labels_of_inverted_real_images_are_their_own(classifier):
    class Unlabelled(Scenes):
        """Latent 2 says which object it is, so no label goes in."""

        def forward(self, latents):
            return super().forward(latents, (latents[:, 2] > 0).long())

    generator = Generator.from_module(Unlabelled(), latent_dim=4, image_size=16, channels=1)
    labels = torch.arange(100) % 2
    latents = torch.randn(100, 4, generator=torch.Generator().manual_seed(0)) / 2
    latents[:, 2] = labels * 2 - 1
    inverted = InvertedImages(generator(latents), labels, latents, generator(latents))
    background, other = (
        label_hits(generator, axis(k), classifier, magnitudes=[0.0, 2.0], samples=100, real=inverted) for k in (0, 2)
    )
    assert background[0] >= 97 and background[1] >= 97
    assert other[0] == background[0] and other[1] < 60, "every disc became a square"
    ranges = safe_ranges(
        generator, torch.eye(4)[[0, 2]], classifier, rate=0.9, max_magnitude=4, samples=100, real=inverted
    )
    assert ranges[0] == (-4.0, 4.0)
    low, high = ranges[1]
    assert -1 <= low < 0 < high <= 1, "from 1 on going up makes discs squares, going down squares discs"


def test_inverted_images_are_reconstructed_from_the_latents_that_the_encoder_finds(inverting_pack):
    images, labels = torch.randint(256, (7, 3, 32, 32), dtype=torch.uint8), torch.arange(7)
    inverted = invert_images(inverting_pack, images, labels, batch_size=3, precision="float32")
    latents, _ = inverting_pack.encoder(uint8_to_signed(images), labels)
    torch.testing.assert_close(inverted.latents, latents)
    torch.testing.assert_close(inverted.reconstructed, inverting_pack.generator(latents, labels))
    assert torch.equal(inverted.images, uint8_to_signed(images)) and torch.equal(inverted.labels, labels)


def test_wilson_bound_is_below_the_rate_and_closes_in_on_it():
    assert wilson_lower_bound(95, 100) < wilson_lower_bound(950, 1000) < wilson_lower_bound(9500, 10000) < 0.95
    assert wilson_lower_bound(0, 50) == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_natural_changes_score_above_changes_that_real_images_do_not_have(generator, real):
    natural, unnatural = (
        direction_variation_naturalness(generator, axis(k), real[0], max_magnitude=3, samples=200, steps=60)
        for k in (0, 2)
    )
    assert natural > 0.75 and natural > unnatural + 0.15


def test_rca_is_the_share_of_named_directions(generator):
    class Truth(torch.nn.Module):
        """Names direction 0 always; right whenever 0 was drawn."""

        def forward(self, images, shifted):
            return torch.eye(4)[torch.zeros(len(images), dtype=torch.int64)], torch.zeros(len(images))

    rca = reconstructor_accuracy(generator, torch.eye(4), Truth(), samples=2000)
    assert 0.2 < rca < 0.3
    assert rca == reconstructor_accuracy(generator, torch.eye(4), Truth(), samples=2000)
