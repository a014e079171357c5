"""The inversion encoder: from an image back to a latent of a generator."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganaug.devices import own_defaults
from ganaug.errors import GeneratorError
from ganaug.generators.network import FrozenNetwork, bounded, load_network, read_weights


class Encoder(FrozenNetwork):
    """Strided convolutions that say which latent an image comes from, and which class, if there are classes.

    The latent depends on the label, as the same image has another latent under another label; without a label the
    encoder takes the class that it reads itself.

    Args:
        latent_dim, image_size, channels, num_classes: those of the generator; ``image_size`` is 4 times a power of 2.
        width: feature maps at full resolution; they double with each halving, up to four times as many.
        hidden: width of the two linear layers.

    Shape:
        - images: ``(N, channels, image_size, image_size)`` float in [-1, 1]
        - labels: ``(N,)`` int64, or None
        - output: latents ``(N, latent_dim)`` float32 and labels ``(N,)`` int64 (None for an unconditional generator)
    """

    def __init__(
        self,
        *,
        latent_dim: int,
        image_size: int,
        channels: int,
        num_classes: int = 0,
        width: int = 48,
        hidden: int = 256,
    ) -> None:
        super().__init__()
        for name, value in (("latent_dim", latent_dim), ("width", width), ("hidden", hidden)):
            if not isinstance(value, int) or value < 1:
                raise GeneratorError(f"an encoder's {name} should be a positive integer, got {value!r}.")
        halvings = image_size.bit_length() - 3 if isinstance(image_size, int) else 0
        if halvings < 1 or image_size != 4 * 2**halvings:
            raise GeneratorError(
                f"an encoder needs images of 8, 16, 32, 64, ... pixels, got image_size={image_size!r}."
            )
        self.latent_dim, self.image_size, self.channels = latent_dim, image_size, channels
        self.num_classes, self.width, self.hidden = num_classes, width, hidden
        widths = [min(width * 2**k, 4 * width) for k in range(halvings + 1)]
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
        for in_width, out_width in pairwise(widths):
            layers += [nn.BatchNorm2d(in_width), nn.LeakyReLU(0.2)]
            layers.append(nn.Conv2d(in_width, out_width, 4, stride=2, padding=1, bias=False))
        layers += [nn.BatchNorm2d(widths[-1]), nn.LeakyReLU(0.2), nn.Flatten()]
        layers += [nn.Linear(16 * widths[-1], hidden, bias=False), nn.BatchNorm1d(hidden)]
        self.features = nn.Sequential(*layers)
        if num_classes:
            self.class_head = nn.Linear(hidden, num_classes)
            self.class_embedding = nn.Embedding(num_classes, hidden)
        self.latent_head = nn.Sequential(
            nn.LeakyReLU(0.2), nn.Linear(hidden, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, latent_dim)
        )

    @property
    def config(self) -> dict[str, Any]:
        names = ("latent_dim", "image_size", "channels", "num_classes", "width", "hidden")
        return {name: getattr(self, name) for name in names}

    def forward(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Latents of images, and the labels they were taken to have."""
        latents, labels, _ = self.encode(images, labels)
        return latents, labels

    def encode(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """As :meth:`forward`, and the class logits ``(N, num_classes)`` with them.

        Raises:
            GeneratorError: images of another shape than the encoder's.
        """
        expected = (len(images), self.channels, self.image_size, self.image_size)
        if images.shape != expected:
            raise GeneratorError(f"the encoder takes images of shape {expected}, got {tuple(images.shape)}.")
        features = self.features(images)
        logits = None
        if self.num_classes:
            logits = self.class_head(F.leaky_relu(features, 0.2)).float()
            labels = logits.argmax(1) if labels is None else labels.long()
            features = features + self.class_embedding(labels)
        else:
            labels = None
        return self.latent_head(features).float(), labels, logits


@own_defaults
def build_encoder(config: Mapping[str, Any], *, weights: Path, sha256: str) -> Encoder:
    """Build a frozen encoder from its config and a safetensors file.

    Raises:
        GeneratorError: arguments that no encoder takes, a missing or damaged file, weights of another shape or hash.
    """
    state = read_weights(weights)
    try:
        with bounded(state, config=config, origin="it"), torch.device("meta"):
            encoder = Encoder(**config)
    except (TypeError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
        where = weights.with_name("config.json")
        raise GeneratorError(f"{where}: the encoder's config does not fit: {error}") from error
    return load_network(encoder, state, origin=weights, sha256=sha256)
