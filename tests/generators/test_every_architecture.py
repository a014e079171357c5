"""What holds for all architectures: checks, files and copies, discovery on it, LatentShift on what it found."""

import pytest
import torch

from ganaug.generators import ARCHITECTURES, Encoder, Generator
from ganaug.training import discover
from ganaug.transforms import LatentShift, RandomLatentShift

SMALLEST = {
    "sngan": {"latent_dim": 8, "channels": 1, "widths": (8, 8, 8, 8)},
    "dcgan": {"latent_dim": 8, "channels": 1, "width": 4, "image_size": 32},
    "progan": {"latent_dim": 8, "channels": 1, "image_size": 32, "widths": (8, 8, 8, 8)},
    "biggan": {"latent_dim": 16, "image_size": 32, "num_classes": 3, "ch": 4, "shared_dim": 4, "attention": (16,)},
    "biggan-deep": {
        "latent_dim": 8,
        "num_classes": 3,
        "class_embed_dim": 4,
        "ch": 8,
        "layers": [[True, 4, 2], [True, 2, 1], [True, 1, 1]],
        "attention_layer_position": 2,
        "n_stats": 3,
    },
    "stylegan2": {
        "z_dim": 8,
        "w_dim": 8,
        "channels": 1,
        "image_size": 32,
        "widths": (8, 8, 8, 8),
        "mapping_layers": 2,
    },
    "stylegan3": {
        "z_dim": 8,
        "w_dim": 8,
        "channels": 1,
        "image_size": 32,
        "channel_base": 64,
        "channel_max": 4,
        "num_layers": 4,
    },
    "mlp": {"latent_dim": 8, "hidden": (16,), "image_size": 32, "batch_norm": True},
}


def smallest(name):
    """Random weights, and batch-norm statistics of its own images where it learns them."""
    torch.manual_seed(0)
    generator = ARCHITECTURES[name](**SMALLEST[name])
    latents, labels = inputs(generator, 16)
    generator.train()(latents, labels)
    return generator.freeze()


def inputs(generator, count):
    rng = torch.Generator().manual_seed(1)
    return generator.sample_latents(count, rng=rng), generator.sample_labels(count, rng=rng)


def relative_error(images, expected):
    return ((images - expected).abs().max() / expected.abs().max()).item()


def test_every_architecture_is_tested_here():
    shipped = {name for name, kind in ARCHITECTURES.items() if kind.__module__.startswith("ganaug.")}
    assert SMALLEST.keys() == shipped - {"module"}, "a new architecture needs its smallest arguments in SMALLEST"


@pytest.mark.parametrize("name", SMALLEST)
def test_it_checks_itself_and_its_files_and_fused_copies_draw_its_images(name, tmp_path):
    generator = smallest(name).check()
    latents, labels = inputs(generator, 3)
    expected = generator(latents, labels)
    assert expected.std() > 0
    assert relative_error(generator.fused()(latents, labels), expected) < 1e-5
    generator.save_pretrained(tmp_path)
    loaded = Generator.from_pretrained(tmp_path)
    assert type(loaded) is ARCHITECTURES[name] and loaded.weights_sha256() == generator.weights_sha256()
    assert relative_error(loaded(latents, labels), expected) < 1e-5
    assert relative_error(loaded.fused()(latents, labels), expected) < 1e-5


@pytest.mark.parametrize("name", SMALLEST)
def test_recomputing_and_fused_copies_give_the_same_gradients(name):
    generator, gradients = smallest(name), []
    latents, labels = inputs(generator, 2)
    networks = [generator, generator.fused()]
    if generator.recomputes is not None:
        networks.append(smallest(name))
        networks[-1].recomputes = True
    for network in networks:
        leaf = latents.clone().requires_grad_()
        network(leaf, labels).square().sum().backward()
        gradients.append(leaf.grad)
    assert gradients[0].abs().max() > 0
    for others in gradients[1:]:
        assert relative_error(others, gradients[0]) < 1e-4


@pytest.mark.parametrize("name", SMALLEST)
def test_images_are_shifted_along_a_direction_that_discovery_found(name):
    generator = smallest(name)
    pack = discover(
        generator, steps=2, num_directions=3, batch_size=2, rca_samples=8, device="cpu", show_progress=False
    )
    assert pack.directions.shape == (3, generator.latent_dim) and "rca" in pack.scores
    size, labels = generator.image_size, inputs(generator, 4)[1]
    images = torch.randint(64, 192, (4, generator.channels, size, size), dtype=torch.uint8)
    if labels is None:
        pack.encoder = Encoder(
            latent_dim=generator.latent_dim, image_size=size, channels=generator.channels, width=4, hidden=8
        ).freeze()
        shifted = LatentShift(0, pack=pack, p=1, magnitude=6.0, source="invert")(images)
    else:
        shifted, same = LatentShift(0, pack=pack, p=1, magnitude=6.0, source="sample")(images, labels)
        assert torch.equal(same, labels)
    assert shifted.shape == images.shape and shifted.dtype == torch.uint8
    assert (shifted != images).flatten(1).any(1).all()
    if labels is None:
        twin = RandomLatentShift(0, pack=pack, p=1.0, magnitude=6.0)(images / 255)
        torch.testing.assert_close(twin, shifted / 255, atol=1 / 255, rtol=0)
