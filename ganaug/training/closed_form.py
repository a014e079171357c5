"""Directions without training: SeFa (Shen & Zhou, CVPR 2021) and GANSpace (Härkönen et al., NeurIPS 2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle
from tqdm.auto import tqdm

from ganaug.generators import Generator, GeneratorError
from ganaug.training.direction_matrix import widened

SPARE_COMPONENTS = 32  # kept beyond those asked for, so that merging batches loses little of them
LARGEST_FEATURES = 8192
LEAST_EXPLAINED = 0.1
PROJECTIONS = (nn.Linear, nn.ConvTranspose2d, nn.Conv2d)
IMAGES = ""  # the generator's own name among its modules


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

    def look(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        if not args or len(args[0]) != 2 or torch.equal(args[0][0], args[0][1]):
            return
        assert isinstance(module, PROJECTIONS)
        read = args[0].reshape(2, -1)
        size = read.shape[1]
        places = [slice(start, start + size) for start in range(generator.latent_dim - size + 1)]
        part = next((place for place in places if torch.equal(read, latents[:, place])), None)
        if first and part is None:
            return
        weight = module.weight.detach().float().cpu()
        if isinstance(module, nn.ConvTranspose2d):
            weight = weight.transpose(0, 1)
        weight = weight.movedim(1, -1).flatten(0, -2).clone()
        if not first:
            first.append(weight)
        if part is not None and size == weight.shape[1]:
            placed.append(widened(weight, part, generator.latent_dim))
            unread[part] = False

    with _hooks(
        module.register_forward_pre_hook(look)
        for module in generator.freeze().check().modules()
        if isinstance(module, PROJECTIONS)
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


# -- what the methods read from inside a generator ------------------------------------------------------------------


class _Reached(Exception):
    """Carries a module's output out of the generator, so that later modules don't run."""

    def __init__(self, output: object) -> None:
        self.output = output


@contextmanager
def layer_output(generator: Generator, layer: str) -> Iterator[Callable[[Tensor, Tensor | None], Tensor]]:
    """A function from latents and labels to the output of one module; the generator runs no further than that.

    Raises:
        GeneratorError: the generator has no such module, does not run it, or it returns no tensor of one row for each
            latent.
    """
    modules = dict(generator.named_modules())
    if layer not in modules:
        raise GeneratorError(f"the generator has no module {layer!r}. It has {', '.join(filter(None, modules))}.")

    def stop(module: nn.Module, args: object, output: object) -> None:
        raise _Reached(output)

    def features(latents: Tensor, labels: Tensor | None) -> Tensor:
        try:
            generator(latents, labels)
        except _Reached as reached:
            output = reached.output
        else:
            raise GeneratorError(f"the generator has a module {layer!r} but does not call it. Name another layer.")
        if not isinstance(output, Tensor) or output.shape[:1] != latents.shape[:1]:
            got = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
            raise GeneratorError(
                f"module {layer!r} returned {got} for {len(latents)} latents, expected a tensor of {len(latents)} "
                "rows. Name another layer."
            )
        return output

    with _hooks([modules[layer].register_forward_hook(stop)]):
        yield features


@torch.no_grad()
def affine_layers(generator: Generator, *, pairs: int = 8) -> dict[str, bool]:
    """Names of the modules that a generator runs, in order of completion, and whether each is affine in the latent.

    Measured as f(a) + f(b) - f(0) = f(a + b) on random pairs, with one label. Coordinates of the latent that directions
    may not change are zero, so that whatever does not depend on the others counts as affine. Modules that return no
    tensor of one row for each latent are left out.
    """
    affine: dict[str, bool] = {}
    rng = torch.Generator().manual_seed(0)
    a, b = generator.sample_latents(2 * pairs, rng=rng).chunk(2)
    latents = torch.cat([a, b, a + b, torch.zeros_like(a[:1])])[:, generator.directions_within]
    latents = widened(latents, generator.directions_within, generator.latent_dim)
    labels = generator.sample_labels(1, rng=rng)

    def measure(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, args: object, output: object) -> None:
            # At once, for what follows may change the output in place.
            if name in affine or not isinstance(output, Tensor) or output.shape[:1] != latents.shape[:1]:
                return
            f = output.double() - output[-1].double()
            error = (f[:pairs] + f[pairs : 2 * pairs] - f[2 * pairs : -1]).abs().max()
            rounding = 1e-5 * output.abs().max()
            affine[name] = bool(error <= 1e-2 * f.abs().max() + rounding)

        return hook

    with _hooks(module.register_forward_hook(measure(name)) for name, module in generator.named_modules() if name):
        generator(latents, labels if labels is None else labels.expand(len(latents)))
    return affine


def check_num_directions(generator: Generator, num_directions: int) -> None:
    """Raise :class:`GeneratorError` unless that many directions can be perpendicular in the latent space."""
    limit = len(range(generator.latent_dim)[generator.directions_within])
    if not 1 <= num_directions <= limit:
        what = "the generator's latent_dim" if limit == generator.latent_dim else "the coordinates that they may change"
        raise GeneratorError(f"num_directions should be from 1 to {limit}, {what}; got {num_directions}.")


def fix_signs(directions: Tensor) -> Tensor:
    """Scale rows to unit length and turn them so that their largest coordinate is positive: float32, on the CPU."""
    rows = F.normalize(directions.detach().double().cpu(), dim=1)
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    return (rows * largest.sign()).float()


@contextmanager
def _hooks(handles: Iterator[RemovableHandle] | list[RemovableHandle]) -> Iterator[None]:
    placed = list(handles)
    try:
        yield
    finally:
        for handle in placed:
            handle.remove()
