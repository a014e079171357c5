from itertools import pairwise

import pytest
import torch
from torch import nn

from ganaug.checkpoints import convert_checkpoint
from ganaug.checkpoints.layout import layouts
from ganaug.checkpoints.prog_gans_pytorch_inference import build
from ganaug.errors import GeneratorError

WIDTHS = (12, 8, 8, 6)


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


def test_a_checkpoint_draws_the_images_of_its_layers_and_its_sizes_are_read_off():
    state, z = checkpoint(), torch.randn(4, 8)
    assert [layout.title for layout in layouts() if layout.reads(state)] == [
        "ProGAN (ptrblck/prog_gans_pytorch_inference)"
    ]
    generator = build(state, image_size=32)
    images = as_written(state, z)
    assert images.std() > 0.1
    torch.testing.assert_close(generator(z), images, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(generator.fused()(z), images, atol=1e-5, rtol=1e-5)
    assert generator.config == {
        "architecture": "progan", "latent_dim": 8, "channels": 3, "image_size": 32, "widths": list(WIDTHS)
    }  # fmt: skip


def test_another_resolution_than_the_checkpoints_is_refused():
    with pytest.raises(GeneratorError, match=r"draws 32 pixels, and image_size=16 .* the last one only"):
        build(checkpoint(), image_size=16)


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
        build(state, origin="celeb.pth")


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
