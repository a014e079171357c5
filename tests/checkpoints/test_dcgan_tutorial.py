from itertools import pairwise

import pytest
import torch
from torch import nn

from ganaug.checkpoints import convert_checkpoint
from ganaug.generators import DCGAN


def state(network, prefix="main."):
    return {prefix + name: tensor for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("wrapped", ["bare", "netG_state_dict", "module.", "no counters"])
def test_a_dcgan_checkpoint_draws_the_images_of_its_own_code(tutorial, tmp_path, wrapped):
    content = state(tutorial, "module.main." if wrapped == "module." else "main.")
    if wrapped == "no counters":
        content = {name: tensor for name, tensor in content.items() if "num_batches" not in name}
    if wrapped == "netG_state_dict":
        content = {"netG_state_dict": content, "netD_state_dict": {"x": torch.ones(1)}, "epoch": 7}
    torch.save(content, tmp_path / "weights.tar")
    generator = convert_checkpoint(tmp_path / "weights.tar")
    latents = torch.randn(4, 6)
    torch.testing.assert_close(generator(latents), tutorial(latents[:, :, None, None]), rtol=1e-6, atol=1e-6)
    assert (generator.image_size, generator.latent_dim, generator.channels) == (16, 6, 3)


def dcgan_of_the_tutorial(size, channels):
    """The tutorial's layers continued to any size, with batch-norm statistics of its own."""
    torch.manual_seed(0)
    widths = [2 << k for k in reversed(range(size.bit_length() - 3))]
    layers = [nn.ConvTranspose2d(5, widths[0], 4, 1, 0, bias=False)]
    for before, width in pairwise([*widths, channels]):
        layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.ConvTranspose2d(before, width, 4, 2, 1, bias=False)]
    network = nn.Sequential(*layers, nn.Tanh())
    network(torch.randn(16, 5, 1, 1))
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 32, 64, 128])
def test_a_dcgan_of_any_size_is_converted(tmp_path, size, channels):
    network = dcgan_of_the_tutorial(size, channels)
    torch.save(state(network), tmp_path / "g.pth")
    generator = convert_checkpoint(tmp_path / "g.pth")
    z = torch.randn(2, 5)
    assert isinstance(generator, DCGAN) and (generator.image_size, generator.channels) == (size, channels)
    torch.testing.assert_close(generator(z), network(z[:, :, None, None]), rtol=1e-5, atol=1e-6)
