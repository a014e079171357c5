"""One step against the paper's equation 1, worked out by hand."""

import math

import pytest
import torch
from torch import nn

from ganaug.generators import SNGAN
from ganaug.training import DirectionMatrix, DiscoverySettings
from ganaug.training.discovery.step import FIGURES, Batch, Learner, Predictions, draw_batch, figures, take_step


def by_name(predicted, batch, **settings):
    values = figures(predicted, batch, DiscoverySettings(num_directions=2, **settings))
    return dict(zip(FIGURES, values.tolist(), strict=True))


BATCH = Batch(torch.zeros(2, 4), torch.tensor([1, 0]), torch.tensor([0, 1]), torch.tensor([2.0, -3.0]))
LOGITS = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
"""The first direction is told with probability 3/4, the second is a guess that falls on the first one."""


def test_the_loss_is_equation_1():
    predicted = Predictions(LOGITS, torch.tensor([1.0, -6.0]))
    direction = -(math.log(3 / 4) + math.log(1 / 2)) / 2
    assert by_name(predicted, BATCH) == pytest.approx(
        {"loss": direction + 0.25 * 2, "direction_loss": direction, "magnitude_loss": 2.0, "rca": 0.5, "label": 0.0}
    )
    squared = by_name(predicted, BATCH, magnitude_loss="squared", magnitude_weight=1.0)
    assert squared["magnitude_loss"] == pytest.approx((1 + 9) / 2)
    assert squared["loss"] == pytest.approx(direction + 5.0)


def test_a_reader_adds_its_own_loss_and_the_weighted_one_of_shifted_images():
    right, wrong = torch.tensor([[0.0, math.log(3.0)], [math.log(3.0), 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    predicted = Predictions(LOGITS, BATCH.magnitudes, right, wrong)
    without = by_name(Predictions(LOGITS, BATCH.magnitudes), BATCH)
    both = by_name(predicted, BATCH, label_weight=2.0)
    read, shifted = -math.log(3 / 4), (math.log(2) + math.log(1 + math.e)) / 2
    assert both["loss"] == pytest.approx(without["loss"] + read + 2.0 * shifted)
    assert both["label"] == 0.0, "ties go to the first label, and neither is its image's"


def test_a_batch_draws_as_the_settings_say_and_can_be_parted():
    generator = SNGAN(latent_dim=8, channels=1, num_classes=3, widths=(8, 8, 8, 8)).freeze()
    settings = DiscoverySettings(num_directions=5, batch_size=400, max_magnitude=3.0, min_magnitude=1.0)
    batch = draw_batch(generator, settings, torch.Generator().manual_seed(0))
    assert batch.latents.shape == (400, 8) and set(batch.labels.tolist()) == {0, 1, 2}
    assert set(batch.indices.tolist()) == set(range(5))
    assert batch.magnitudes.abs().min() == 1.0 and 2.9 < batch.magnitudes.abs().max() <= 3.0
    again = draw_batch(generator, settings, torch.Generator().manual_seed(0))
    assert all(torch.equal(one, other) for one, other in zip(batch, again, strict=True))
    part = batch.part(slice(10, 20))
    assert all(torch.equal(some, whole[10:20]) for some, whole in zip(part, batch, strict=True))
    assert Batch(batch.latents, None, batch.indices, batch.magnitudes).part(slice(3)).labels is None


class Sees(nn.Module):
    """A reconstructor that keeps what it is shown."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(self, images, shifted):
        self.images, self.shifted = images, shifted
        change = (shifted - images).flatten(1)[:, :4]
        return self.head(torch.cat([change, change], 1)), change.sum(1)


def learner(reader=None):
    matrix = DirectionMatrix("linear", 3, 4, rng=torch.Generator().manual_seed(0))
    return Learner(matrix, Sees(), reader)


SEEN = Batch(torch.randn(6, 4), torch.arange(6) % 2, torch.arange(6) % 3, torch.linspace(-3, 3, 6))


def synthesize(latents, labels):
    return latents.view(-1, 1, 2, 2)


def test_the_pair_is_the_image_and_the_one_shifted_along_the_row():
    both = learner()
    both(synthesize, SEEN)
    images, shifted = both.reconstructor.images.flatten(1), both.reconstructor.shifted.flatten(1)
    assert torch.equal(images, SEEN.latents)
    torch.testing.assert_close(shifted, SEEN.latents + SEEN.magnitudes[:, None] * both.matrix.rows[SEEN.indices])
    assert not images.requires_grad and shifted.requires_grad, "the unshifted image has no graph"


def test_a_reader_of_shifted_images_teaches_the_directions_and_not_the_reader():
    reader = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 2))
    both = learner(reader)
    predicted = both(synthesize, SEEN)
    seen = reader[1].num_batches_tracked.item()
    assert seen == 1, "its statistics are of unshifted images"
    predicted.shifted_labels.sum().backward()
    assert all(parameter.grad is None for parameter in reader.parameters())
    assert both.matrix.weight.grad is not None
    both(synthesize, SEEN).labels.sum().backward()
    assert all(parameter.grad is not None for parameter in reader.parameters())


def test_parts_of_a_batch_make_the_step_of_the_whole():
    settings = DiscoverySettings(num_directions=3, precision="float32")
    results = []
    for parts in ([SEEN], [SEEN.part(slice(0, 3)), SEEN.part(slice(3, 6))]):
        torch.manual_seed(0)
        network = learner()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        measured = take_step(network, synthesize, optimizer, parts, settings)
        assert len(measured) == len(parts)
        results.append((sum(measured), network.matrix.weight.detach()))
    torch.testing.assert_close(results[0], results[1])
    start = learner().matrix.weight
    assert (results[0][1] - start).abs().max() > 1e-3, "a step was taken"
