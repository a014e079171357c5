"""The names that other people's checkpoints give to the tensors of our architectures."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ganaug.errors import GeneratorError, listed


def renamed(
    state: Mapping[str, Tensor], names: Mapping[str, tuple[str, int]], *, layout: str, origin: str
) -> dict[str, Tensor]:
    """A foreign state dict under our names, every tensor of it accounted for.

    Args:
        state: the foreign tensors.
        names: for each foreign name ours, and how many dimensions its tensor has.
        layout: what the layout is called.
        origin: where ``state`` comes from, for the error.

    Raises:
        GeneratorError: names the missing and the unexpected tensors, and those of other dimensions.
    """
    complaints = [f"missing {name}" for name in names.keys() - state.keys()]
    complaints += [f"unexpected {name}" for name in state.keys() - names.keys()]
    complaints += [
        f"{name} is {tuple(state[name].shape)}, expected {ndim} dimension{'s' * (ndim != 1)}"
        for name, (_, ndim) in names.items()
        if name in state and state[name].ndim != ndim
    ]
    if complaints:
        raise GeneratorError(
            f"{origin} does not fit the layout of {layout}: {listed(complaints)}. Is it whole, and a generator's?"
        )
    return {ours: state[theirs] for theirs, (ours, _) in names.items()}


COUNTER = "num_batches_tracked"


"""Of batch norms. It counts training steps, says nothing of the images, and old checkpoints have none."""


def without_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A foreign state dict without its batch norms' counters."""
    return {name: tensor for name, tensor in state.items() if not name.endswith(COUNTER)}


def counters(network: nn.Module) -> dict[str, Tensor]:
    """The counters of our batch norms, all zero."""
    return {name: torch.zeros((), dtype=torch.long) for name in network.state_dict() if name.endswith(COUNTER)}


def batch_norm_names(theirs: str, ours: str) -> dict[str, tuple[str, int]]:
    """The tensors of one batch norm, without its counter, for :func:`renamed`."""
    kinds = ("weight", "bias", "running_mean", "running_var")
    return {f"{theirs}.{kind}": (f"{ours}.{kind}", 1) for kind in kinds}
