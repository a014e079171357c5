import json
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from ganaug.checkpoints import convert_checkpoint
from ganaug.errors import GeneratorError


def published_sngan(widths, channels, latent_dim=6):
    """Random tensors under the names of GANLatentDiscovery's SN-GAN, and its images of z."""
    torch.manual_seed(0)
    tensors = {}

    def conv(name, before, width, kernel):
        tensors[f"{name}.weight"] = torch.randn(width, before, kernel, kernel) / (before * kernel**2) ** 0.5
        tensors[f"{name}.bias"] = torch.randn(width) / 4

    def norm(name, width):
        for kind, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            tensors[f"{name}.{kind}"] = value + torch.rand(width) / 2
        tensors[f"{name}.num_batches_tracked"] = torch.tensor(100)

    tensors["model.0.weight"] = torch.randn(16 * widths[0], latent_dim) / latent_dim**0.5
    tensors["model.0.bias"] = torch.randn(16 * widths[0]) / 4
    for k, (before, width) in enumerate(pairwise(widths), start=2):
        for number, twin, inputs in ((1, 3, before), (2, 6, width)):
            conv(f"model.{k}.conv{number}", inputs, width, 3)
            for kind in ("weight", "bias"):
                tensors[f"model.{k}.model.{twin}.{kind}"] = tensors[f"model.{k}.conv{number}.{kind}"]
        norm(f"model.{k}.model.0", before)
        norm(f"model.{k}.model.4", width)
        if before != width:
            conv(f"model.{k}.bypass.1", before, width, 3)
    norm(f"model.{len(widths) + 1}", widths[-1])
    conv(f"model.{len(widths) + 3}", widths[-1], channels, 3)

    def draw(z):
        def convolved(name, x):
            return F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=1)

        def normed(name, x):
            kinds = ("running_mean", "running_var", "weight", "bias")
            return F.relu(F.batch_norm(x, *(tensors[f"{name}.{kind}"] for kind in kinds)))

        x = F.linear(z, tensors["model.0.weight"], tensors["model.0.bias"]).reshape(len(z), widths[0], 4, 4)
        for k, (before, width) in enumerate(pairwise(widths), start=2):
            h = convolved(f"model.{k}.conv1", F.interpolate(normed(f"model.{k}.model.0", x), scale_factor=2))
            h = convolved(f"model.{k}.conv2", normed(f"model.{k}.model.4", h))
            x = F.interpolate(x, scale_factor=2)
            x = h + (x if before == width else convolved(f"model.{k}.bypass.1", x))
        return convolved(f"model.{len(widths) + 3}", normed(f"model.{len(widths) + 1}", x)).tanh()

    return tensors, draw


@pytest.fixture
def sngan_folder(tmp_path):
    """Writes an SN-GAN as GANLatentDiscovery keeps it; returns the folder and what draws its images."""

    def write(widths, channels, **options):
        tensors, draw = published_sngan(widths, channels)
        folder = tmp_path / "SN_Anime"
        folder.mkdir()
        torch.save(tensors, folder / "generator.pt")
        size = 2 << len(widths)
        said = {"model": f"sn_resnet{size}", "latent_dim": 6, "image_channels": channels, **options}
        (folder / "args.json").write_text(json.dumps(said))
        return folder, draw

    return write


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("widths", [(8, 8, 8, 8), (12, 8, 8, 4, 4), (8, 8, 6, 4, 4, 2)], ids=["32", "64", "128"])
def test_the_papers_own_sngan_is_converted_from_its_folder_or_file(sngan_folder, widths, channels):
    folder, draw = sngan_folder(widths, channels)
    z = torch.randn(3, 6)
    for path in (folder, folder / "generator.pt"):
        generator = convert_checkpoint(path)
        assert (generator.image_size, generator.channels, generator.latent_dim) == (2 << len(widths), channels, 6)
        for network in (generator, generator.fused()):
            torch.testing.assert_close(network(z), draw(z), rtol=1e-5, atol=1e-5)


def test_an_sngan_beside_another_ones_arguments_is_refused(sngan_folder):
    folder, _ = sngan_folder((8, 8, 8, 8), 1, latent_dim=128, model="sn_resnet64")
    with pytest.raises(GeneratorError, match="model 'sn_resnet64', not 'sn_resnet32'; latent_dim 128, not 6"):
        convert_checkpoint(folder)
