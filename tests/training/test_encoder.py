"""Training of inversion encoders, on networks small enough to be recovered in seconds."""

import pytest
import torch
from torch import nn

from ganaug.errors import EncoderTrainingError, GeneratorError, PackError, SettingsError
from ganaug.evaluation import reconstruction_error
from ganaug.generators import Generator
from ganaug.images import signed_to_uint8
from ganaug.packs import DirectionPack
from ganaug.training import EncoderSettings, train_encoder, train_pack_encoder

TINY = {"steps": 150, "batch_size": 32, "width": 8, "hidden": 64, "precision": "float32", "show_progress": False}


class Waves(nn.Module):
    """Smooth 16-pixel images, linear in two latents before a tanh; the class is a stripe."""

    def __init__(self):
        super().__init__()
        grid = torch.linspace(-1, 1, 16)
        self.register_buffer("patterns", torch.stack([grid[:, None].expand(16, 16), grid.expand(16, 16)]))

    def forward(self, latents, labels=None):
        images = torch.einsum("nk,khw->nhw", latents, self.patterns)
        if labels is not None:
            rows = torch.arange(16)[None, :, None].expand(len(latents), 16, 16)
            images = images + 3.0 * ((rows // 4) == labels[:, None, None]) - 1.0
        return (images * 0.7).tanh()[:, None]


def waves(num_classes=0):
    return Generator.from_module(Waves(), latent_dim=2, image_size=16, channels=1, num_classes=num_classes)


@pytest.mark.parametrize("num_classes", [0, 4])
def test_it_recovers_latents_and_classes(num_classes):
    generator = waves(num_classes)
    encoder = train_encoder(generator, **TINY)
    rng = torch.Generator().manual_seed(9)
    latents, labels = generator.sample_latents(200, rng=rng), generator.sample_labels(200, rng=rng)
    found, read = encoder(generator(latents, labels))
    assert (found - latents).square().mean() < 0.15, "a guess of 0 has 1.0"
    assert read is None if labels is None else (read == labels).float().mean() > 0.95
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())
    pack = DirectionPack(torch.eye(2), generator=generator, encoder=encoder)
    assert reconstruction_error(pack, samples=100) < 0.06
    assert reconstruction_error(pack, signed_to_uint8(generator(latents, labels)), samples=100) < 0.06
    with pytest.raises(PackError, match="has no encoder"):
        reconstruction_error(DirectionPack(torch.eye(2), generator=generator))


def test_real_images_without_labels_make_it_better_on_them():
    generator = waves()
    real = signed_to_uint8(generator(torch.randn(400, 2, generator=torch.Generator().manual_seed(5))))
    real[..., :7, :7] = 255  # something that the generator cannot draw

    def error(encoder):
        images = real[200:].float() / 127.5 - 1
        return (generator(encoder(images)[0]) - images).abs().mean()

    without = train_encoder(generator, **TINY)
    tuned = train_encoder(generator, images=real[:200], **TINY)
    assert error(tuned) < 0.9 * error(without)


def test_the_seed_decides_and_the_generator_stays_as_it_was():
    generator, few = waves(), {**TINY, "steps": 3}
    before = generator.weights_sha256()
    first, again, other = (train_encoder(generator, seed=seed, **few) for seed in (0, 0, 1))
    assert first.weights_sha256() == again.weights_sha256() != other.weights_sha256()
    assert generator.weights_sha256() == before and not generator.training


@pytest.mark.parametrize("steps", [1, 2, 20, 41])
def test_any_number_of_steps_and_any_share_of_real_images(steps):
    real = torch.zeros(3, 1, 16, 16, dtype=torch.uint8)
    encoder = train_encoder(waves(4), images=real, **{**TINY, "steps": steps, "batch_size": 4}, real_share=1.0)
    assert all(torch.isfinite(parameter).all() for parameter in encoder.parameters())


def test_bad_settings_and_images_are_named():
    generator = waves()
    for settings, message in (
        ({"step": 3}, "unknown setting step. Known: steps"),
        ({"real_share": 1.5}, "real_share should be at most 1, got 1.5"),
        ({"batch_size": 2}, "batch_size should be at least 4, got 2"),
    ):
        with pytest.raises(SettingsError, match=message):
            train_encoder(generator, **{**TINY, **settings})
    byte = torch.uint8
    for images in (torch.zeros(4, 3, 16, 16, dtype=byte), torch.zeros(4, 1, 16, 16), torch.zeros(0, 1, 16, 16).byte()):
        with pytest.raises(EncoderTrainingError, match=r"uint8 of shape \(N, 1, 16, 16\), got"):
            train_encoder(generator, images=images, **TINY)
    odd = Generator.from_module(nn.Sequential(nn.Linear(2, 144), nn.Tanh(), nn.Unflatten(1, (1, 12, 12))),
                                latent_dim=2, image_size=12, channels=1)  # fmt: skip
    with pytest.raises(GeneratorError, match=r"8, 16, 32, 64, \.\.\. pixels, got image_size=12"):
        train_encoder(odd, **TINY)


def test_a_loss_that_is_not_finite_stops_it():
    with pytest.raises(EncoderTrainingError, match=r"a loss was not finite at step .*Lower learning_rate"):
        train_encoder(waves(), **{**TINY, "learning_rate": 1e18, "steps": 60})


def test_a_pack_gets_an_encoder_with_how_it_was_made_and_how_well_it_does(tmp_path):
    pack = DirectionPack(torch.eye(2), generator=waves(4), scores={"rca": 0.5})
    few = {**TINY, "steps": 5, "hidden": 8}
    assert train_pack_encoder(pack, None, device="cpu", command="ganaug train-encoder x", **few) is pack
    del few["show_progress"]
    settings = EncoderSettings(**few).to_dict()
    assert pack.encoder_method == {**settings, "command": "ganaug train-encoder x"}
    assert pack.encoder.weights_sha256() == train_encoder(waves(4), **TINY | {"steps": 5, "hidden": 8}).weights_sha256()
    assert pack.scores == {
        "rca": 0.5,
        "reconstruction_error": round(reconstruction_error(pack), 4),
        "reconstruction_error_command": "ganaug train-encoder x",
        "mean_image_error": pack.scores["mean_image_error"],
        "mean_image_error_command": "ganaug train-encoder x",
    }
    real = torch.zeros(3, 1, 16, 16, dtype=torch.uint8)
    with_real = train_pack_encoder(DirectionPack(torch.eye(2), generator=waves(4)), real, show_progress=False, **few)
    assert with_real.encoder.weights_sha256() != pack.encoder.weights_sha256()
    with pytest.raises(SettingsError, match="unknown setting step"):
        train_pack_encoder(pack, None, step=3)
