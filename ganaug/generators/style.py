"""What StyleGAN2 and StyleGAN3 share: the mapping network, latents in w and for a range of layers, modulation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganaug.devices import sent
from ganaug.errors import GeneratorError
from ganaug.generators.checks import check_integers
from ganaug.generators.generator import Generator
from ganaug.generators.layers import pixel_norm

MAPPING_LEARNING_RATE = 0.01  # of the mapping network relative to the rest: its stored weights are so much larger

STRONGEST = 1e6
"""What features may be multiplied by, or bounded by; beyond it they leave what float32 can hold."""


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


class StyleGenerator(Generator):
    """A generator whose layers each take a w, which a mapping network makes of z.

    Args:
        z_dim: length of one z, drawn from N(0, I) and normalised.
        w_dim: length of one w.
        mapping_layers: depth of the mapping network.
        num_layers: how many w an image takes.
        truncation, latent_space, layers: see :class:`StyleGAN2`.
        image_size, channels, num_classes: see :class:`Generator`.
    """

    w_avg: Tensor

    def __init__(
        self,
        *,
        z_dim: int,
        w_dim: int,
        mapping_layers: int,
        num_layers: int,
        truncation: float,
        latent_space: str,
        layers: Sequence[int] | None,
        image_size: int,
        channels: int,
        num_classes: int,
    ) -> None:
        check_integers(("z_dim", z_dim, 1), ("w_dim", w_dim, 1), ("mapping_layers", mapping_layers, 1))
        if latent_space not in ("z", "w"):
            raise GeneratorError(f'latent_space should be "z" or "w", got {latent_space!r}.')
        if latent_space == "w" and num_classes:
            raise GeneratorError('a class-conditional generator has its class in w: use latent_space="z".')
        if not isinstance(truncation, (int, float)) or not 0 <= truncation <= STRONGEST:
            raise GeneratorError(f"truncation should be a number from 0 to {STRONGEST:g}, got {truncation!r}.")
        super().__init__(
            latent_dim=z_dim if latent_space == "z" else w_dim * (1 if layers is None else 2),
            image_size=image_size,
            channels=channels,
            num_classes=num_classes,
        )
        self.z_dim, self.w_dim, self.num_layers = z_dim, w_dim, num_layers
        self.truncation, self.latent_space = truncation, latent_space
        self.layers = None if layers is None else layer_range(layers, num_layers, latent_space)
        if layers is not None:
            self.directions_within = slice(w_dim, None)
        self.embedding = nn.Embedding(num_classes, w_dim) if num_classes else None
        first = z_dim + w_dim * (num_classes > 0)
        self.mapping = nn.ModuleList(
            linear(w_dim if k else first, w_dim, gain=math.sqrt(2)) for k in range(mapping_layers)
        )
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """w ``(N, w_dim)``, truncated, of z ``(N, z_dim)`` and labels ``(N,)``."""
        x = pixel_norm(z)
        if self.embedding is not None:
            x = torch.cat([x, pixel_norm(self.embedding(labels))], dim=1)
        for layer in self.mapping:
            x = F.leaky_relu(layer(x), 0.2)
        return x if self.truncation == 1 else torch.lerp(self.w_avg.to(x.dtype), x, self.truncation)

    def layer_latents(self, latents: Tensor, labels: Tensor | None) -> list[Tensor]:
        """w ``(N, w_dim)`` of each layer; with a range of layers, that of those outside or that of those inside."""
        w = latents if self.latent_space == "w" else self.map(latents, labels)
        if self.layers is None:
            return [w] * self.num_layers
        outside, inside = w.chunk(2, dim=1)
        return [inside if k in self.layers else outside for k in range(self.num_layers)]

    @torch.no_grad()
    def sample_latents(self, count: int, *, rng: torch.Generator | None = None) -> Tensor:
        """Draw ``(count, latent_dim)`` float32 latents: z from N(0, I), or the w of such z, on the generator's device.

        With ``layers`` w comes twice, for the layers outside the range and for those inside.

        With ``rng`` (a ``torch.Generator``) z is drawn on that generator's device and then moved.
        """
        device = rng.device if rng is not None else self.device
        z = sent(torch.randn(count, self.z_dim, generator=rng, device=device, dtype=torch.float32), self.device)
        if self.latent_space == "z":
            return z
        w = self.map(z)
        return w if self.layers is None else w.repeat(1, 2)


def check_clamp(name: str, clamp: Any) -> None:
    """Raise :class:`GeneratorError` unless the bound on a layer's output is a positive number, or None."""
    if clamp is not None and (not isinstance(clamp, (int, float)) or not 0 < clamp <= STRONGEST):
        raise GeneratorError(f"{name} should be a positive number of at most {STRONGEST:g}, or None, got {clamp!r}.")


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
