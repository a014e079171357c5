"""SeFa (Shen & Zhou, CVPR 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganaug.devices import own_defaults
from ganaug.errors import GeneratorError
from ganaug.generators import Generator
from ganaug.settings import Settings, setting
from ganaug.training.discovery.matrix import widened
from ganaug.training.methods.features import check_num_directions, fix_signs, placed_hooks
from ganaug.training.methods.registry import method

Projection: TypeAlias = nn.Linear | nn.ConvTranspose2d | nn.Conv2d


@dataclass(frozen=True, kw_only=True)
class SefaSettings(Settings):
    """Settings of :func:`sefa`: see the field."""

    num_directions: int = setting(64, "K, at most the coordinates that directions may change")


@method("sefa", SefaSettings)
def find(
    generator: Generator, settings: SefaSettings, device: str | torch.device | None, show_progress: bool
) -> Tensor:
    return sefa(generator, settings.num_directions)


@own_defaults
def sefa(generator: Generator, num_directions: int) -> Tensor:
    """The latent directions that a generator's first projection amplifies most.

    Eigenvectors of W^T W for W the weight of :func:`first_projection`, largest eigenvalues first (Shen & Zhou,
    "Closed-Form Factorization of Latent Semantics in GANs", CVPR 2021). As in the published code, each output's
    weights (each row of W) are scaled to unit length first. StyleGAN2 in w has one projection for each layer, of which
    those in its range of ``layers`` count; unlike the published code's, toRGB layers are among them.

    Args:
        generator: frozen by this call.
        num_directions: K, at most the number of coordinates in ``generator.directions_within``.

    Returns:
        ``(K, latent_dim)`` float32 unit rows on the CPU, mutually perpendicular; the largest coordinate of each is
        positive.

    Raises:
        GeneratorError: see :func:`first_projection`; more directions than such coordinates.
    """
    check_num_directions(generator, num_directions)
    within = generator.directions_within
    weight = F.normalize(first_projection(generator)[:, within].double(), dim=1)
    vectors = torch.linalg.eigh(weight.T @ weight).eigenvectors  # columns, in ascending order
    return fix_signs(widened(vectors.T.flip(0)[:num_directions], within, generator.latent_dim))


@own_defaults
@torch.no_grad()
def first_projection(generator: Generator) -> Tensor:
    """The weights that a generator applies to its latents first.

    Those of all linear and convolutional layers that read the latents themselves or, where each reads a part of them,
    that part; if there are none, or what they read is not all that directions may change, those of the first layer
    whose input depends on the latents.

    Args:
        generator: frozen by this call.

    Returns:
        ``(out, latent_dim)`` float32 on the CPU, one row for each output feature (and kernel position), layer after
        layer in the order in which they run, with parametrisations such as spectral normalisation applied.

    Raises:
        GeneratorError: the first ``nn.Linear``, ``nn.ConvTranspose2d`` or ``nn.Conv2d`` whose input depends on the
            latent does not take ``latent_dim`` inputs, or there is none.
    """
    first: list[Tensor] = []
    placed: list[Tensor] = []
    unread = torch.ones(generator.latent_dim, dtype=torch.bool)
    rng = torch.Generator().manual_seed(0)
    labels = generator.sample_labels(1, rng=rng)
    # Not of sample_latents, whose coordinates may repeat: from these it can be told which of them a layer reads.
    latents = torch.randn(2, generator.latent_dim, generator=rng).to(generator.device)

    def look(module: Projection, args: tuple[Tensor, ...]) -> None:
        if not args or len(args[0]) != 2 or torch.equal(args[0][0], args[0][1]):
            return
        read = args[0].reshape(2, -1)
        size = read.shape[1]
        places = [slice(start, start + size) for start in range(generator.latent_dim - size + 1)]
        part = next((place for place in places if torch.equal(read, latents[:, place])), None)
        if first and part is None:
            return
        weight = _rows(module)
        if not first:
            first.append(weight)
        if part is not None and size == weight.shape[1]:
            placed.append(widened(weight, part, generator.latent_dim))
            unread[part] = False

    with placed_hooks(
        module.register_forward_pre_hook(look)
        for module in generator.freeze().check().modules()
        if isinstance(module, Projection)
    ):
        generator(latents, labels if labels is None else labels.expand(2))
    if not unread[generator.directions_within].any():
        return torch.cat(placed)
    if not first or first[0].shape[1] != generator.latent_dim:
        got = f"one of {first[0].shape[1]} inputs" if first else "none"
        raise GeneratorError(
            "SeFa needs a generator whose latents go through an nn.Linear, nn.ConvTranspose2d or nn.Conv2d of "
            f"{generator.latent_dim} inputs first; this one has {got}. Use ganspace or a learned method."
        )
    return first[0]


def _rows(projection: Projection) -> Tensor:
    """A copy of a layer's weight, one row for each output feature (and kernel position)."""
    weight = projection.weight.detach().float().cpu()
    if isinstance(projection, nn.ConvTranspose2d):
        weight = weight.transpose(0, 1)
    return weight.movedim(1, -1).flatten(0, -2).clone()
