"""A generator of linear layers, as in the first GANs (Goodfellow et al., "Generative Adversarial Nets", NIPS 2014)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from ganaug.errors import GeneratorError
from ganaug.generators.generator import Generator
from ganaug.generators.layers import without_batch_norms

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "leaky_relu": partial(nn.LeakyReLU, 0.2)}


class MLP(Generator):
    """Linear layers, each with an optional batch norm and an activation, and tanh at the end.

    Args:
        latent_dim: length of one latent.
        hidden: features of each hidden layer.
        image_size: height and width of the images, in pixels.
        channels: 1 (grey) or 3 (colour).
        activation: "relu", or "leaky_relu" of slope 0.2.
        batch_norm: whether a batch norm stands between a hidden layer and its activation; one value for all of them,
            or one for each.
        batch_norm_eps: what batch norms add to the variance.

    See :class:`Generator` for shapes. Unconditional.
    """

    architecture = "mlp"

    def __init__(
        self,
        *,
        latent_dim: int = 100,
        hidden: Sequence[int] = (128, 256, 512, 1024),
        image_size: int = 28,
        channels: int = 1,
        activation: str = "leaky_relu",
        batch_norm: bool | Sequence[bool] = False,
        batch_norm_eps: float = 1e-5,
    ) -> None:
        super().__init__(latent_dim=latent_dim, image_size=image_size, channels=channels)
        if not hidden or any(not isinstance(width, int) or width < 1 for width in hidden):
            raise GeneratorError(f"hidden should be one or more positive integers, got {hidden!r}.")
        if activation not in ACTIVATIONS:
            raise GeneratorError(f"activation should be one of {', '.join(ACTIVATIONS)}; got {activation!r}.")
        norms = [batch_norm] * len(hidden) if isinstance(batch_norm, bool) else list(batch_norm)
        if len(norms) != len(hidden) or not all(isinstance(norm, bool) for norm in norms):
            raise GeneratorError(
                f"batch_norm should be true or false, or that for each of the {len(hidden)} hidden layers, got "
                f"{batch_norm!r}."
            )
        if not isinstance(batch_norm_eps, (int, float)) or not 0 < batch_norm_eps < math.inf:
            raise GeneratorError(f"batch_norm_eps should be a positive number, got {batch_norm_eps!r}.")
        layers: list[nn.Module] = []
        for (before, width), norm in zip(pairwise((latent_dim, *hidden)), norms, strict=True):
            layers.append(nn.Linear(before, width))
            layers += [nn.BatchNorm1d(width, eps=batch_norm_eps)] if norm else []
            layers.append(ACTIVATIONS[activation]())
        layers += [nn.Linear(hidden[-1], channels * image_size**2), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def synthesize(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        images: Tensor = self.layers(latents).unflatten(1, (self.channels, self.image_size, self.image_size))
        return images

    def _fuse(self) -> None:
        self.layers = without_batch_norms(self.layers)
