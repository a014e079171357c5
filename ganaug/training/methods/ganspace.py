"""GANSpace (Härkönen et al., NeurIPS 2020)."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from ganaug.devices import own_defaults
from ganaug.errors import GeneratorError
from ganaug.generators import Generator
from ganaug.settings import Settings, setting
from ganaug.training.discovery.matrix import widened
from ganaug.training.methods.features import IMAGES, affine_layers, check_num_directions, fix_signs, layer_output
from ganaug.training.methods.registry import method

SPARE_COMPONENTS = 32  # kept beyond those asked for, so that merging batches loses little of them
LARGEST_FEATURES = 8192  # values of a feature map from which on it is averaged down to 4 x 4
LEAST_EXPLAINED = 0.1  # share of a component that latents must explain for it not to come last


@dataclass(frozen=True, kw_only=True)
class GanspaceSettings(Settings):
    """Settings of :func:`ganspace`: see the fields."""

    num_directions: int = setting(64, "K, at most the coordinates that directions may change")
    samples: int = setting(20_000, "activations that the components are taken from")
    batch_size: int = setting(500, "activations held at once")
    seed: int = setting(0, "of the latents and labels", least=0)


@method("ganspace", GanspaceSettings)
def find(
    generator: Generator, settings: GanspaceSettings, device: str | torch.device | None, show_progress: bool
) -> Tensor:
    if device is not None:
        generator.to(device)
    return ganspace(generator, **settings.to_dict(), show_progress=show_progress)


@own_defaults
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
    seen = Moments(num_directions + SPARE_COMPONENTS)
    rng = torch.Generator().manual_seed(seed)
    with (
        nullcontext() if layer is None else layer_output(generator, layer) as features,
        tqdm(total=samples, desc="ganspace", disable=not show_progress) as bar,
    ):
        while seen.count < samples:
            count = min(batch_size, samples - seen.count)
            latents = generator.sample_latents(count, rng=rng)
            labels = generator.sample_labels(count, rng=rng)
            output = latents[:, within] if features is None else features(latents, labels)
            if output.ndim == 4 and output[0].numel() > LARGEST_FEATURES:
                output = F.adaptive_avg_pool2d(output, (min(output.shape[2], 4), min(output.shape[3], 4)))
            seen.update(output.flatten(1).cpu().double(), latents[:, within].cpu().double())
            bar.update(count)
    if seen.rank < num_directions:
        what = "w" if layer is None else f"the activations of layer {layer!r}"
        raise GeneratorError(
            f"{num_directions} directions were asked for, but {what} vary in {seen.rank} dimensions only: "
            "lower num_directions or name another layer."
        )
    directions, explained = seen.regression(standard_normal=not in_w)
    if not (explained >= LEAST_EXPLAINED).any():
        raise GeneratorError(
            f"{generator.latent_space} explains next to nothing of the activations of layer {layer!r}. "
            "Name another layer."
        )
    order = torch.argsort(explained < LEAST_EXPLAINED, stable=True)
    return fix_signs(widened(directions[order[:num_directions]], within, generator.latent_dim))


class Moments:
    """Principal components of activations, and how they go with the latents that they come from."""

    def __init__(self, num_components: int) -> None:
        self.pca = IncrementalPCA(num_components)
        self.products = self.latent_products = self.latent_sum = torch.zeros((), dtype=torch.float64)

    @property
    def count(self) -> int:
        return self.pca.count

    @property
    def rank(self) -> int:
        """In how many dimensions the activations vary."""
        lengths = self.pca.scaled.norm(dim=1)
        return int((lengths > 1e-6 * lengths[0]).sum())

    def update(self, activations: Tensor, latents: Tensor) -> None:
        """Add ``(N, features)`` activations and their ``(N, D)`` latents, float64."""
        self.pca.update(activations)
        self.products = self.products + activations.T @ latents
        self.latent_products = self.latent_products + latents.T @ latents
        self.latent_sum = self.latent_sum + latents.sum(0)

    def regression(self, *, standard_normal: bool) -> tuple[Tensor, Tensor]:
        """The latent directions of the components, and the share of each component that latents explain.

        Args:
            standard_normal: whether the latents' coordinates are uncorrelated and of unit variance.

        Returns:
            ``(rank, D)`` of any length and ``(rank,)``.
        """
        # The components' coordinates are uncorrelated, so that each regression coefficient is a covariance, up to its
        # length.
        mean = self.latent_sum / self.count
        covariance = self.products / self.count - self.pca.mean[:, None] * mean
        directions = self.pca.components[: self.rank] @ covariance
        squares = directions.square()
        if not standard_normal:
            prior = self.latent_products / self.count - mean[:, None] * mean
            squares = directions @ torch.linalg.pinv(prior, hermitian=True) * directions
        return directions, squares.sum(1) / (self.pca.scaled.norm(dim=1)[: self.rank].square() / self.count)


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
