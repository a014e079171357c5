"""The frozen generator as a run draws with it: fused, perhaps recomputing or compiled."""

from __future__ import annotations

import copy
import warnings

import torch

from ganaug.devices import autocast, in_channels_last
from ganaug.errors import SettingsError
from ganaug.generators import ARCHITECTURES, Generator
from ganaug.training.discovery.step import Synthesis


def fused(generator: Generator, *, recompute: bool = False) -> Generator:
    """A generator that draws the same faster, in channels_last.

    Args:
        recompute: keep no activations inside the generator's blocks and compute them again on the way back: less
            memory, more time.

    Raises:
        SettingsError: ``recompute`` for a network that can't.
    """
    network = in_channels_last(generator.fused())
    if recompute:
        if network.recomputes is None:
            able = sorted(name for name, kind in ARCHITECTURES.items() if kind.recomputes is not None)
            raise SettingsError(
                f"recompute=true is for architectures with blocks to compute twice ({', '.join(able)}), and this "
                f"generator is a {type(generator).__name__}. Leave it out, or take a smaller batch_size."
            )
        if network is generator:
            network = copy.deepcopy(generator)
        network.recomputes = True
    return network


def compiled(generator: Generator, count: int, precision: str) -> Synthesis:
    """The generator through ``torch.compile``, tried on a batch forwards and backwards; if that fails, the generator
    itself, with a warning."""
    quick: Synthesis = torch.compile(generator.synthesize)
    rng = torch.Generator().manual_seed(0)
    latents = generator.sample_latents(count, rng=rng).requires_grad_()
    try:
        with autocast(generator.device, precision):
            images = quick(latents, generator.sample_labels(count, rng=rng))
        images.float().sum().backward()
    except RuntimeError as error:  # the compiler's own errors derive from it
        reason = str(error).splitlines()[0]
        warnings.warn(f"torch.compile failed ({reason}); the run goes on without it.", stacklevel=2)
        return generator
    return quick
