"""GANSpace (Härkönen et al., NeurIPS 2020)."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from ganaug.errors import GeneratorError
from ganaug.generators import Generator
from ganaug.settings import Settings
from ganaug.training.discovery.matrix import widened
from ganaug.training.methods.features import IMAGES, affine_layers, check_num_directions, fix_signs, layer_output

SPARE_COMPONENTS = 32  # kept beyond those asked for, so that merging batches loses little of them


LARGEST_FEATURES = 8192


LEAST_EXPLAINED = 0.1


@torch.no_grad()
def ganspace(
    generator: Generator,
    num_directions: int,
    *,
    samples: int = 20_000,
    batch_size: int = 500,
    seed: int = 0,
    layer: str | None = None,
    show_progress: bool = False,
) -> Tensor:
    """Principal components of w, or of an early layer's activations, carried over to the latent space.

    Härkönen et al., "GANSpace: Discovering Interpretable GAN Controls", NeurIPS 2020. Where latents are w, as
    StyleGAN's may be, the components of w are the directions. Elsewhere, as for BigGAN, the least-squares regression of
    z on the components' coordinates turns each into a latent direction. Components of which z explains less than a
    tenth come last: the difference between two classes, say, has no direction in z. On a layer that is linear in z this
    is SeFa without its scaling of rows, hence the default layer. All components come from incremental PCA.

    Args:
        generator: frozen by this call; runs on the device where it is.
        num_directions: K, at most the number of coordinates in ``generator.directions_within``, the only ones that
            directions change.
        samples: how many activations the components are taken from, labels drawn for each.
        batch_size: activations held at once, besides K + 32 components.
        seed: of the latents and labels.
        layer: name of a module (``generator.named_modules()``); by default w itself, or the first one that runs whose
            output is not an affine function of z. Feature maps of more than 8192 values are averaged down to 4 x 4.

    Returns:
        ``(K, latent_dim)`` float32 unit rows on the CPU, largest component first; the largest coordinate of each is
        positive.

    Raises:
        GeneratorError: more directions than such coordinates, features or samples; no such layer, the generator
            does not run it, or it does not follow the latent.
    """
    check_num_directions(generator, num_directions)
    if batch_size < 1 or samples <= num_directions:
        raise GeneratorError(
            f"ganspace needs more samples than directions and a positive batch_size; got samples={samples}, "
            f"num_directions={num_directions}, batch_size={batch_size}."
        )
    generator.freeze().check()
    in_w, within = generator.latent_space == "w", generator.directions_within
    if layer is None and not in_w:
        layer = next((name for name, affine in affine_layers(generator).items() if not affine), IMAGES)
    rng = torch.Generator().manual_seed(seed)
    pca = IncrementalPCA(num_directions + SPARE_COMPONENTS)
    products = latent_products = latent_sum = torch.zeros((), dtype=torch.float64)
    with (
        nullcontext() if layer is None else layer_output(generator, layer) as features,
        tqdm(total=samples, desc="ganspace", disable=not show_progress) as bar,
    ):
        while pca.count < samples:
            count = min(batch_size, samples - pca.count)
            latents = generator.sample_latents(count, rng=rng)
            labels = generator.sample_labels(count, rng=rng)
            output = latents[:, within] if features is None else features(latents, labels)
            if output.ndim == 4 and output[0].numel() > LARGEST_FEATURES:
                output = F.adaptive_avg_pool2d(output, (min(output.shape[2], 4), min(output.shape[3], 4)))
            batch, latents = output.flatten(1).cpu().double(), latents[:, within].cpu().double()
            pca.update(batch)
            products = products + batch.T @ latents
            latent_sum = latent_sum + latents.sum(0)
            if in_w:
                latent_products = latent_products + latents.T @ latents
            bar.update(count)
    what = "w" if layer is None else f"the activations of layer {layer!r}"
    lengths = pca.scaled.norm(dim=1)
    if (rank := int((lengths > 1e-6 * lengths[0]).sum())) < num_directions:
        raise GeneratorError(
            f"{num_directions} directions were asked for, but {what} vary in {rank} dimensions only: "
            "lower num_directions or name another layer."
        )
    # The coordinates are uncorrelated, so that each regression coefficient is a covariance, up to its length.
    latent_mean = latent_sum / samples
    covariance = products / samples - pca.mean[:, None] * latent_mean
    directions = pca.components[:rank] @ covariance
    squares = directions.square()
    if in_w:  # whose coordinates, unlike those of z, are neither uncorrelated nor of unit variance
        prior = latent_products / samples - latent_mean[:, None] * latent_mean
        squares = directions @ torch.linalg.pinv(prior, hermitian=True) * directions
    explained = squares.sum(1) / (lengths[:rank].square() / samples)
    if not (explained >= LEAST_EXPLAINED).any():
        raise GeneratorError(
            f"{generator.latent_space} explains next to nothing of the activations of layer {layer!r}. "
            "Name another layer."
        )
    order = torch.argsort(explained < LEAST_EXPLAINED, stable=True)
    return fix_signs(widened(directions[order[:num_directions]], within, generator.latent_dim))


class IncrementalPCA:
    """Leading principal components of data seen in batches (Ross et al., IJCV 2008).

    Args:
        num_components: how many are kept from batch to batch.
    """

    def __init__(self, num_components: int) -> None:
        self.num_components = num_components
        self.count = 0
        self.mean = torch.zeros(())
        self.scaled = torch.zeros(())
        """Components times singular values, ``(num_components, features)``, largest first."""

    @property
    def components(self) -> Tensor:
        """``(K, features)`` unit rows; K is smaller than ``num_components`` if the data have fewer dimensions."""
        return F.normalize(self.scaled, dim=1)

    def update(self, batch: Tensor) -> None:
        """Merge ``(N, features)`` float64."""
        count, mean = len(batch), batch.mean(0)
        rows = batch - mean
        if self.count:
            shift = (self.count * count / (self.count + count)) ** 0.5 * (self.mean - mean)
            rows = torch.cat([self.scaled, rows, shift[None]])
            mean = (self.count * self.mean + count * mean) / (self.count + count)
        # The singular vectors by way of the small matrix of inner products, many times faster than an SVD of the rows.
        left = torch.linalg.eigh(rows @ rows.T).eigenvectors.flip(1)
        self.scaled = left[:, : min(self.num_components, rows.shape[1])].T @ rows
        self.mean = mean
        self.count += count


@dataclass(frozen=True, kw_only=True)
class GanspaceSettings(Settings):
    """Settings of :func:`ganspace`."""

    num_directions: int = 64
    samples: int = 20_000
    batch_size: int = 500
    seed: int = 0

    least: ClassVar = {"seed": 0}
