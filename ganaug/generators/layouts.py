"""The names that other people's checkpoints give to the tensors of our architectures."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ganaug.generators.base import GeneratorError, listed


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
