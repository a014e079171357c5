"""What the methods read from inside a generator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from ganaug.devices import own_defaults
from ganaug.errors import GeneratorError
from ganaug.generators import Generator
from ganaug.training.discovery.matrix import widened

IMAGES = ""  # the generator's own name among its modules


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

    with placed_hooks([modules[layer].register_forward_hook(stop)]):
        yield features


@own_defaults
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

    with placed_hooks(
        module.register_forward_hook(measure(name)) for name, module in generator.named_modules() if name
    ):
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
def placed_hooks(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """Place hooks, and remove them at the end."""
    placed = list(handles)
    try:
        yield
    finally:
        for handle in placed:
            handle.remove()
