import pytest
import torch
from small_generators import Paint
from torch import nn

from ganaug.errors import GeneratorError
from ganaug.generators import Generator
from ganaug.training.methods.ganspace import ganspace


def test_layers_that_cannot_be_read_are_named():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.never, self.pair, self.constant = nn.Tanh(), Pair(), Constant()

        def forward(self, latents):
            a, b = self.pair(latents)
            return Paint()((a + b).repeat(1, 8) + self.constant(latents))

    class Pair(nn.Module):
        def forward(self, latents):
            return latents, latents.sin()

    class Constant(nn.Module):
        def forward(self, latents):
            return torch.ones(1, 64)

    generator = Generator.from_module(Net(), latent_dim=8, image_size=8, channels=1)
    for layer, message in {
        "blocks": r"no module 'blocks'. It has module, module.never, module.pair",
        "module.never": "has a module 'module.never' but does not call it",
        "module.pair": "'module.pair' returned a tuple for 200 latents, expected a tensor of 200 rows",
        "module.constant": r"'module.constant' returned shape \(1, 64\) for 200 latents",
    }.items():
        with pytest.raises(GeneratorError, match=message):
            ganspace(generator, 2, layer=layer, samples=200)
    assert ganspace(generator, 2, samples=200).shape == (2, 8)
    assert not any(module._forward_hooks for module in generator.modules())
