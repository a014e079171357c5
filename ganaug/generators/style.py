"""What StyleGAN2 and StyleGAN3 share: mapping, modulation, ranges of layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganaug.errors import GeneratorError

MAPPING_LEARNING_RATE = 0.01  # of the mapping network relative to the rest: its stored weights are so much larger


def linear(in_features: int, out_features: int, *, gain: float = 1.0, bias: float = 0.0) -> nn.Linear:
    layer = nn.Linear(in_features, out_features)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(in_features))
    nn.init.constant_(layer.bias, bias)
    return layer


class ModulatedConv2d(nn.Module):
    """A convolution whose input features a style scales. The weights' scaling and that of the input are the same."""

    def __init__(self, in_width: int, out_width: int, kernel_size: int, w_dim: int) -> None:
        super().__init__()
        self.affine = linear(w_dim, in_width, bias=1.0)
        self.weight = nn.Parameter(
            torch.randn(out_width, in_width, kernel_size, kernel_size) / math.sqrt(in_width * kernel_size**2)
        )
        self.bias = nn.Parameter(torch.zeros(out_width))


class ToRGB(ModulatedConv2d):
    """Modulation and 1 x 1 convolution, no demodulation."""

    def __init__(self, in_width: int, channels: int, w_dim: int, clamp: float | None) -> None:
        super().__init__(in_width, channels, 1, w_dim)
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        x = F.conv2d(x * self.affine(w)[:, :, None, None], self.weight, self.bias)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


def layer_range(layers: Sequence[int], count: int, latent_space: str) -> range:
    """``(first, stop)`` as the range of layers whose w directions change.

    Raises:
        GeneratorError: it is not a range of the ``count`` layers, or the latents are not w.
    """
    if latent_space != "w":
        raise GeneratorError(f'layers={layers!r} is for directions in w: add latent_space="w", or leave layers out.')
    whole = isinstance(layers, Sequence) and len(layers) == 2 and all(type(layer) is int for layer in layers)
    if not whole or not 0 <= layers[0] < layers[1] <= count:
        raise GeneratorError(
            f"layers should be two integers (first, stop) with 0 <= first < stop <= {count}, the number of layers; "
            f"got {layers!r}."
        )
    return range(*layers)


def spread(w: Tensor, layers: range | None, count: int) -> list[Tensor]:
    """The w of each of ``count`` layers; with a range of layers ``w`` is that of the others and then that of these."""
    outside, inside = (w, w) if layers is None else w.chunk(2, dim=1)
    return [inside if k in (layers or ()) else outside for k in range(count)]
