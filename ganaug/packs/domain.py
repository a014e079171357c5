"""What a pack's own images look like to its encoder, so that images of another kind are told from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import combinations

import torch
from torch import Tensor, nn
from typing_extensions import Self

from ganaug.errors import PackError
from ganaug.generators import Encoder, Generator

ENOUGH = 64
"""Images after which the decision falls."""

EPSILON = 1e-3
FIGURES = 3


def taken_together(figures: Tensor) -> Tensor:
    """The sums and differences ``(..., 6)`` of three figures ``(..., 3)``, two by two."""
    pairs = [figures[..., pair] for pair in combinations(range(FIGURES), 2)]
    return torch.stack([each for pair in pairs for each in (pair.sum(-1), -pair.diff(dim=-1)[..., 0])], -1)


@dataclass(frozen=True)
class Domain:
    """Statistics of the images that a pack is for.

    Each image is described by the mean and the log of the standard deviation of every feature map of the encoder, D in
    all. Of these a Gaussian is kept whose covariance is K principal components and one variance for all other axes
    (Tipping & Bishop, "Probabilistic Principal Component Analysis", 1999). Of some images three figures count: the mean
    log of their Mahalanobis distances under that Gaussian (as Lee et al., NeurIPS 2018, tell images of another kind),
    the mean log of the absolute error of their reconstructions, and the log of the distance of their mean description.
    Each may be as high for the pack's own images, of one class or moved, as for others; all at once they are not. So
    their sums and differences, two by two, are bounded too, in half-widths of their own bounds (the octagons of Miné,
    "The octagon abstract domain", 2006). Domains of before have bounds of the three figures alone.

    Attributes:
        mean, scale: ``(D,)``, of the description.
        components, variances: ``(D, K)`` and ``(K,)``, of the standardised description.
        rest: ``(1,)``, the variance along all other axes.
        bounds: ``(9, 2)`` or ``(3, 2)``, the lowest and the highest of each figure over 64 images of the pack's own,
            then those of the sum and of the difference of the first and second, first and third, second and third.
    """

    mean: Tensor
    scale: Tensor
    components: Tensor
    variances: Tensor
    rest: Tensor
    bounds: Tensor

    def figures(self, descriptions: Tensor, errors: Tensor) -> Tensor:
        """The three figures ``(3,)`` of N images, of their descriptions ``(N, D)`` and errors ``(N,)``."""
        distances = self._distances(descriptions).log().mean()
        shift = self._distances(descriptions.mean(0, keepdim=True)).log()[0]
        return torch.stack([distances, (errors.cpu() + EPSILON).log().mean(), shift])

    def _distances(self, descriptions: Tensor) -> Tensor:
        """Squared Mahalanobis distances ``(N,)``."""
        standard = (descriptions.cpu() - self.mean) / self.scale
        along = standard @ self.components
        across = (standard.square().sum(1) - along.square().sum(1)).clamp(min=0)
        squared: Tensor = (along.square() / self.variances).sum(1) + across / self.rest
        distances: Tensor = squared.clamp(min=EPSILON)
        return distances

    def excess(self, descriptions: Tensor, errors: Tensor) -> Tensor:
        """How far N images lie from the middle of each of the bounds, ``(9,)`` or ``(3,)``, in half-widths.

        Fewer than 64 images scatter more, so the bounds are wider for them, and what depends on the third figure is 0.
        """
        low, high = self.bounds.unbind(1)
        middle, half = (low + high) / 2, (high - low) / 2
        figures = (self.figures(descriptions, errors) - middle[:FIGURES]) / half[:FIGURES]
        together = taken_together(figures)[: len(half) - FIGURES]
        excess = torch.cat([figures, (together - middle[FIGURES:]) / half[FIGURES:]])
        if len(errors) < ENOUGH:
            excess *= (len(errors) / ENOUGH) ** 0.5
            excess[[2, *range(FIGURES + 2, len(excess))]] = 0
        return excess

    def tensors(self) -> dict[str, Tensor]:
        """By name, as a file holds them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The way back from :meth:`tensors`.

        Raises:
            PackError: others than these tensors, of other shapes or types, or no finite numbers.
        """
        names = [field.name for field in fields(cls)]
        if sorted(tensors) != sorted(names):
            raise PackError(f"a domain has the tensors {', '.join(names)}, found {', '.join(sorted(tensors))}.")
        size, kept = (*tensors["components"].shape, 0, 0)[:2]
        bounds = FIGURES if tensors["bounds"].numel() == 2 * FIGURES else FIGURES + 2 * FIGURES
        shapes = ((size,), (size,), (size, kept), (kept,), (1,), (bounds, 2))
        for name, shape in zip(names, shapes, strict=True):
            tensor = tensors[name]
            if tuple(tensor.shape) != shape or tensor.dtype != torch.float32 or not tensor.isfinite().all():
                raise PackError(f"a domain's {name} should be finite float32 of shape {shape}.")
        positive = (tensors["scale"], tensors["variances"], tensors["rest"], tensors["bounds"].diff(dim=1))
        if not all((tensor > 0).all() for tensor in positive):
            raise PackError("a domain's scale, variances, rest and widths of bounds should be positive.")
        return cls(**tensors)


@torch.no_grad()
def described(generator: Generator, encoder: Encoder, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How the encoder sees images ``(N, C, H, W)`` in [-1, 1]: descriptions ``(N, D)``; how well they are
    reconstructed, ``(N,)`` mean absolute error as a share of full scale; and the class that it reads, ``(N,)``, 0 of an
    unconditional generator."""
    maps, moments = images, []
    for layer in encoder.features:
        maps = layer(maps)
        if isinstance(layer, nn.BatchNorm2d):
            moments += [maps.mean((2, 3)), (maps.std((2, 3)) + EPSILON).log()]
    latents, labels = encoder(images)
    error = (generator(latents, labels) - images).abs().mean((1, 2, 3)) / 2
    read = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels
    return torch.cat(moments, 1).float(), error.float(), read
