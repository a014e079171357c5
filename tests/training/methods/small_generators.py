"""Generators small enough for the closed forms to be worked out by hand."""

import torch
from torch import nn

from ganaug.generators import SNGAN, Generator, StyleGAN2


def tiny(num_classes: int = 0) -> SNGAN:
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=8, channels=1, num_classes=num_classes, widths=(16, 16, 16, 16))
    for module in generator.modules():
        if isinstance(module, nn.Embedding):
            module.weight.data += torch.randn_like(module.weight) / 2
    return generator.freeze()


class Paint(nn.Module):
    """Grey 8-pixel images from 64 features."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.flatten(1).tanh().unflatten(1, (1, 8, 8))


def in_w(layers=None) -> StyleGAN2:
    torch.manual_seed(0)
    sizes = {"z_dim": 8, "w_dim": 8, "image_size": 16, "widths": (12, 8, 6), "mapping_layers": 1}
    return StyleGAN2(**sizes, latent_space="w", layers=layers).freeze()


def paint(*layers: nn.Module, latent_dim: int = 8, num_classes: int = 0) -> Generator:
    return Generator.from_module(
        nn.Sequential(*layers, Paint()), latent_dim=latent_dim, image_size=8, channels=1, num_classes=num_classes
    )
