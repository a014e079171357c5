import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ganaug.errors import DiscoveryError, GeneratorError, SettingsError
from ganaug.generators import DCGAN, SNGAN, Generator
from ganaug.training.methods.contrastive import contrastive, contrastive_loss, middle_layer

QUICK = {"steps": 3, "batch_size": 3, "precision": "float32", "show_progress": False}


def tiny(num_classes: int = 0) -> SNGAN:
    torch.manual_seed(0)
    return SNGAN(latent_dim=8, channels=1, num_classes=num_classes, widths=(16, 16, 16, 16)).freeze()


class Quadrants(nn.Module):
    """Each of four factors sets the shade of one quarter of the image."""

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return F.interpolate(latents.mul(2).sin().unflatten(1, (1, 2, 2)), scale_factor=4.0)


def rotated(network: nn.Module) -> tuple[Generator, torch.Tensor]:
    torch.manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(4, 4))[0]
    turn = nn.Linear(4, 4, bias=False)
    turn.weight.data = rotation
    network = nn.Sequential(turn, network)
    return Generator.from_module(network, latent_dim=4, image_size=8, channels=1), rotation


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_separates_the_factors_of_a_generator_that_has_them(precision):
    generator, rotation = rotated(Quadrants())
    settings = {"precision": precision, "learning_rate": 2e-2, "show_progress": False}
    before, after = (contrastive(generator, 4, steps=steps, **settings) @ rotation.T for steps in (1, 300))
    assert before.abs().amax(1).min() < 0.8
    assert (after.abs().amax(1) > 0.97).all()
    assert sorted(after.abs().argmax(1).tolist()) == [0, 1, 2, 3]


def test_the_loss_by_hand():
    """Two directions, two latents: similarities 1 and 0.6 in absolute value."""
    changes = torch.tensor([[[2.0, 0.0], [3.0, 0.0]], [[0.6, 0.8], [-1.2, -1.6]]])
    expected = math.log(2 * math.exp(0.6 / 0.5)) - 1 / 0.5
    assert contrastive_loss(changes, 0.5).item() == pytest.approx(expected, rel=1e-5)
    apart = torch.tensor([[[2.0, 0.0], [3.0, 0.0]], [[0.0, 0.8], [0.0, 1.6]]])
    opposite = torch.tensor([[[2.0, 0.0], [3.0, 0.0]], [[-2.0, 0.0], [-1.6, 0.0]]])
    assert contrastive_loss(apart, 0.5) < contrastive_loss(changes, 0.5) < contrastive_loss(opposite, 0.5)


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("count", [2, 12])
def test_gives_unit_directions_with_a_fixed_sign(num_classes, count):
    directions = contrastive(tiny(num_classes), count, **QUICK)
    assert directions.shape == (count, 8) and directions.dtype == torch.float32
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(count))
    assert (directions.gather(1, directions.abs().argmax(1, keepdim=True)) > 0).all()


def test_the_default_layer_is_half_way_and_nothing_runs_behind_it():
    assert middle_layer(tiny(3)) == "blocks.1"
    assert middle_layer(DCGAN(latent_dim=6, width=4, image_size=64).freeze()) == "main.6"
    assert middle_layer(rotated(Quadrants())[0]) == "module.1"
    generator = tiny()
    images = []
    generator.blocks[2].register_forward_hook(lambda *_: images.append(1))
    contrastive(generator, 4, **QUICK)
    assert len(images) == 2, "to check the generator and to look for the layer"
    contrastive(generator, 4, layer="to_image", **QUICK)
    assert len(images) == 2 + 1 + 2 * QUICK["steps"]


def test_another_layer_gives_other_directions():
    by_default, named, other = (
        contrastive(tiny(), 4, layer=layer, learning_rate=1e-2, **QUICK) for layer in (None, "blocks.1", "blocks.2")
    )
    assert torch.equal(by_default, named) and not torch.equal(named, other)


def test_a_step_draws_some_of_the_directions_and_one_label_for_each_latent():
    class Watch(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = []

        def forward(self, latents, labels):
            self.seen.append((latents.detach().clone(), labels.clone()))
            return (latents + labels[:, None]).repeat(1, 8).sin().unflatten(1, (1, 8, 8))

    watch = Watch()
    generator = Generator.from_module(watch, latent_dim=8, image_size=8, channels=1, num_classes=5)
    watch.seen.clear()
    start, end = (
        contrastive(generator, 10, directions_per_step=4, magnitude=2.0, learning_rate=rate, **{**QUICK, "steps": 20})
        for rate in (1e-30, 1e-2)
    )
    assert (start != end).any(1).all(), "every direction learns"
    steps = [call for call in watch.seen if len(call[0]) in (3, 12)]
    lengths = []
    for (latents, labels), (shifted, repeated) in zip(steps[::2], steps[1::2], strict=True):
        assert torch.equal(repeated, labels.repeat(4))
        shifts = (shifted - latents.repeat(4, 1)).unflatten(0, (4, 3))
        torch.testing.assert_close(shifts, shifts[:, :1].expand_as(shifts), rtol=1e-4, atol=1e-5)
        lengths.append(shifts.norm(dim=2).mean().item())
    assert len(lengths) == 40 and 2 / 12 - 1e-4 < min(lengths) < 0.5 and 1.5 < max(lengths) < 2 + 1e-4
    assert len(torch.cat([labels for _, labels in steps]).unique()) == 5


def test_draws_depend_on_the_seed_alone_and_the_generator_stays_as_it_is():
    generator = SNGAN(latent_dim=8, channels=1, num_classes=3, widths=(16, 16, 16, 16))
    before = generator.weights_sha256()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first = contrastive(generator, 4, **QUICK)
    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(first, contrastive(generator, 4, **QUICK))
    assert not torch.equal(first, contrastive(generator, 4, seed=1, **QUICK))
    assert generator.weights_sha256() == before
    assert not generator.training and not any(p.requires_grad for p in generator.parameters())
    assert not any(module._forward_hooks for module in generator.modules())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"learning_rate": 1e30},
            "by step 1 the loss is .* and the direction matrix has norm inf. Lower learning_rate",
        ),
        ({"temperature": 1e-40}, "by step 1 the loss is nan"),
    ],
)
def test_numbers_that_are_not_finite_stop_the_run(settings, message):
    with pytest.raises(DiscoveryError, match=message):
        contrastive(tiny(), 4, **{**QUICK, "steps": 4, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_directions": 1}, "num_directions should be at least 2, got 1"),
        ({"batch_size": 1}, "batch_size should be at least 2, got 1"),
        ({"directions_per_step": 1}, "directions_per_step should be at least 2, got 1"),
        ({"steps": 0}, "steps should be positive, got 0"),
        ({"temperature": 0.0}, "temperature should be positive, got 0.0"),
        ({"precision": "float64"}, "precision should be one of bfloat16, float32"),
        ({"stesp": 3}, "unknown setting stesp. Known: num_directions, steps"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(SettingsError, match=message):
        contrastive(tiny(), **{"num_directions": 4, "show_progress": False, **settings})


def test_a_generator_or_layer_that_is_not_what_it_says_is_refused():
    with pytest.raises(GeneratorError, match=r"no module 'blocks.7'. It has dense, blocks"):
        contrastive(tiny(), 4, layer="blocks.7", **QUICK)
    with pytest.raises(GeneratorError, match="does not depend on the latent"):
        contrastive(tiny(3), 4, layer="blocks.0.norm1.gain", **QUICK)
    broken = tiny()
    broken.dense.weight.data[0, 0] = float("nan")
    with pytest.raises(GeneratorError, match="NaN or Inf"):
        contrastive(broken, 4, **QUICK)
