"""Every architecture, encoders and saved files, on a device."""

import copy
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "generators"))
from test_every_architecture import SMALLEST, inputs, smallest

from ganaug.generators import Encoder, Generator


@pytest.mark.parametrize("name", SMALLEST)
def test_every_architecture_draws_there_what_it_draws_here(device, name):
    generator = smallest(name)
    latents, labels = inputs(generator, 4)
    there = copy.deepcopy(generator).to(device)
    with torch.no_grad():
        expected = generator(latents, labels)
        found = there(latents.to(device), None if labels is None else labels.to(device))
    assert found.device == device
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", SMALLEST)
def test_every_architecture_finds_gradients_of_latents_and_is_saved_there(device, name, tmp_path):
    generator = smallest(name)
    latents, labels = inputs(generator, 2)
    gradients = []
    for network, z in ((generator, latents), (copy.deepcopy(generator).to(device), latents.to(device))):
        z = z.detach().requires_grad_()
        network(z, None if labels is None else labels.to(z.device)).square().sum().backward()
        gradients.append(z.grad.cpu())
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)
    copy.deepcopy(generator).to(device).save_pretrained(tmp_path)
    assert Generator.from_pretrained(tmp_path).weights_sha256() == generator.weights_sha256()


@pytest.mark.parametrize("labelled", [True, False])
def test_an_encoder_finds_there_what_it_finds_here(device, images, labels, labelled):
    torch.manual_seed(0)
    encoder = Encoder(latent_dim=8, image_size=32, channels=3, num_classes=10, width=8, hidden=16).freeze()
    seen = images / 127.5 - 1
    with torch.no_grad():
        expected = encoder(seen, labels if labelled else None)
        found = copy.deepcopy(encoder).to(device)(seen.to(device), labels.to(device) if labelled else None)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.cpu(), other)
