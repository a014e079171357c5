from itertools import pairwise

import pytest
import torch
from torch import nn

from ganaug.checkpoints import convert_checkpoint
from ganaug.errors import GeneratorError
from ganaug.generators import ProGAN
from ganaug.generators.layers import pixel_norm
from ganaug.generators.progan import looks_like_progan

WIDTHS = (12, 8, 8, 6)


def progan(**options):
    torch.manual_seed(0)
    return ProGAN(**{"latent_dim": 8, "image_size": 32, "widths": WIDTHS, **options}).freeze()


def checkpoint(widths=WIDTHS, latent_dim=8):
    """Random weights in the layout of the published CelebA-HQ checkpoint."""
    torch.manual_seed(1)
    shapes = [(widths[0], latent_dim, 4), (widths[0], widths[0], 3)]
    for before, width in pairwise(widths):
        shapes += [(width, before, 3), (width, width, 3)]
    layers = {f"features.{k}": shape for k, shape in enumerate(shapes)} | {"output": (3, widths[-1], 1)}
    state = {}
    for name, (out, inputs, kernel) in layers.items():
        state[f"{name}.conv.weight"] = torch.randn(out, inputs, kernel, kernel)
        state[f"{name}.wscale.scale"] = torch.full((1,), (inputs * kernel**2) ** -0.5)
        state[f"{name}.wscale.b"] = torch.randn(out) / 4
    return state


def as_written(state, z):
    """The layers of that layout, one after the other, scales and all."""
    x = z[:, :, None, None]
    layers = [name.removesuffix(".conv.weight") for name in state if name.endswith(".conv.weight")]
    for k, name in enumerate(layers):
        x = x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()
        if name != "output" and k and k % 2 == 0:
            x = nn.functional.interpolate(x, scale_factor=2)
        weight = state[f"{name}.conv.weight"]
        x = nn.functional.conv2d(x, weight, padding={4: 3, 3: 1, 1: 0}[weight.shape[-1]])
        x = x * state[f"{name}.wscale.scale"] + state[f"{name}.wscale.b"][:, None, None]
        x = x if name == "output" else nn.functional.leaky_relu(x, 0.2)
    return x.clamp(-1, 1)


@pytest.mark.parametrize(("widths", "size"), [(WIDTHS, 32), ((8,), 4), ((8, 6, 4), 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_progan_draws_images_of_its_size(widths, size, channels):
    generator = progan(widths=widths, image_size=size, channels=channels)
    images = generator(10 * generator.sample_latents(3))
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() <= 1 and images.std() > 0


def test_progan_of_the_paper_has_the_papers_size():
    with torch.device("meta"):
        generator = ProGAN()
    lower_to_rgb = sum(3 * width + 3 for width in (512, 512, 512, 512, 256, 128, 64, 32))  # counted there too
    assert sum(p.numel() for p in generator.parameters()) == 23_079_115 - lower_to_rgb
    assert generator.stages[-1].conv2.out_channels == 16 and len(generator.stages) == 8


def test_only_the_direction_of_a_latent_counts():
    generator, z = progan(), torch.randn(2, 8)
    torch.testing.assert_close(generator(3 * z), generator(z))
    torch.testing.assert_close(pixel_norm(z).square().mean(1), torch.ones(2))


def test_a_checkpoint_draws_the_images_of_its_layers_and_its_sizes_are_read_off():
    state, z = checkpoint(), torch.randn(4, 8)
    assert looks_like_progan(state) and not looks_like_progan({"main.0.weight": z})
    generator = ProGAN.from_checkpoint(state, image_size=32)
    images = as_written(state, z)
    assert images.std() > 0.1
    torch.testing.assert_close(generator(z), images, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(generator.fused()(z), images, atol=1e-5, rtol=1e-5)
    assert generator.config == {
        "architecture": "progan", "latent_dim": 8, "channels": 3, "image_size": 32, "widths": list(WIDTHS)
    }  # fmt: skip


def test_another_resolution_than_the_checkpoints_is_refused():
    with pytest.raises(GeneratorError, match=r"draws 32 pixels, and image_size=16 .* the last one only"):
        ProGAN.from_checkpoint(checkpoint(), image_size=16)


def _without(name):
    return lambda state: state.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("features.3.conv.weight"), r"missing features\.3\.conv\.weight"),
        (_without("output.wscale.b"), r"missing output\.wscale\.b"),
        (lambda state: state.update({"features.9.conv.weight": torch.ones(1, 1, 3, 3)}), r"missing features\.8"),
        (lambda state: state.update(extra=torch.ones(1)), "unexpected extra"),
        (lambda state: state.update({"output.wscale.scale": torch.ones(2)}), r"output\.wscale\.scale is \(2,\)"),
        (lambda state: state.update({"features.2.wscale.b": torch.ones(3, 3)}), r"features\.2\.wscale\.b is \(3, 3\)"),
        (
            lambda state: state.update({"features.2.conv.weight": torch.ones(5, 8, 3, 3)}),
            r"stages\.0\.conv1\.weight is torch.float32 \(5, 8, 3, 3\), expected",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message):
    state = checkpoint()
    change(state)
    with pytest.raises(GeneratorError, match=r"celeb\.pth.*" + message):
        ProGAN.from_checkpoint(state, origin="celeb.pth")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 48}, "power of two of at least 4, got 48"),
        ({"image_size": 2}, "power of two of at least 4, got 2"),
        ({"widths": (8, 8)}, r"4 positive integers for 32 pixels.*got \(8, 8\)"),
        ({"widths": (8, 8, 0, 8)}, "4 positive integers"),
        ({"channels": 2}, "channels should be 1"),
    ],
)
def test_impossible_sizes_are_named(options, message):
    with pytest.raises(GeneratorError, match=message):
        progan(**options)


def test_convert_knows_the_layout(tmp_path):
    state, z = checkpoint(), torch.randn(2, 8)
    torch.save(state, tmp_path / "progan.pth")
    generator = convert_checkpoint(tmp_path / "progan.pth")
    assert generator.architecture == "progan"
    torch.testing.assert_close(generator(z), as_written(state, z), atol=1e-5, rtol=1e-4)
    del state["output.wscale.b"]
    torch.save(state, tmp_path / "short.pth")
    with pytest.raises(GeneratorError, match=r"short.pth.*output.wscale.b"):
        convert_checkpoint(tmp_path / "short.pth")
