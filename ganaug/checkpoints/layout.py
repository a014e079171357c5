"""Layouts: the names that published codes give to the tensors of a generator. One file each, which registers itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganaug.errors import GeneratorError, UserError, listed
from ganaug.files import read_json
from ganaug.generators import Generator
from ganaug.generators.network import bounded

State = Mapping[str, Tensor]

BATCH_NORM_TENSORS = r"(weight|bias|running_mean|running_var):1|num_batches_tracked:0"
"""What ``name:dimensions`` of a batch norm's tensors matches."""

GIVEN = {"state", "config", "init_kwargs", "origin"}
"""Arguments of a layout's ``build`` that are read off the file; all others are options of the conversion."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The names that one published code gives to the tensors of a generator.

    Attributes:
        title: what the layout is called.
        architecture: the name of what it becomes, a key of :data:`ganaug.generators.ARCHITECTURES`.
        build: from a state dict to a frozen generator; called as ``build(state, **options)``. If it has an argument
            ``origin`` it is told where the tensors come from, with ``config`` what :attr:`config` holds, with
            ``init_kwargs`` what a pickle of NVIDIA's says that the network was built with. What other arguments it
            has are options of :func:`ganaug.checkpoints.convert_checkpoint`.
        has: some tensors that each such checkpoint has.
        pattern: what each tensor matches, written as ``name:dimensions``.
        recognises: whether a state dict is meant to be one; by default it is one that has all tensors of ``has``.
        config: the JSON file beside the checkpoint that goes into ``build`` as ``config``.
        beside: tensors that the checkpoint keeps beside the generator's state dict, and that belong to it.
        rank: layouts are tried and listed from the lowest to the highest; the default comes after the published ones,
            and before the one that reads any ``nn.Sequential``.
    """

    title: str
    architecture: str
    build: Callable[..., Generator]
    has: tuple[str, ...]
    pattern: str
    recognises: Callable[[State], bool] | None = None
    config: str | None = None
    beside: tuple[str, ...] = ()
    rank: int = 100

    def reads(self, state: State) -> bool:
        """Whether a state dict is meant to be of this layout."""
        return self.recognises(state) if self.recognises else state.keys() >= set(self.has)

    def belongs(self, name: str, tensor: Tensor) -> bool:
        """Whether the layout has a tensor of such a name and number of dimensions."""
        return re.fullmatch(self.pattern, f"{name}:{tensor.ndim}") is not None

    @property
    def arguments(self) -> set[str]:
        """Those of :attr:`build`."""
        return set(inspect.signature(self.build).parameters)

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise :class:`GeneratorError` if the layout does not take one of the options of a conversion."""
        known = self.arguments - GIVEN
        if unknown := sorted(options.keys() - known):
            raise GeneratorError(
                f"{self.architecture} has no option {', '.join(unknown)} for conversion; it has "
                f"{', '.join(sorted(known)) or 'none'}."
            )

    def generator(self, state: State, path: Path, options: Mapping[str, Any]) -> Generator:
        """Build the generator of a state dict that was read from ``path``.

        Raises:
            GeneratorError: it can't be done; the message says why.
        """
        arguments = dict(options)
        if "origin" in self.arguments:
            arguments["origin"] = str(path)
        if self.config and (beside := path.with_name(self.config)).exists():
            arguments["config"] = read_json(beside)
        try:
            with bounded(state, config=arguments.get("config", {}), origin=str(path)):
                return self.build(state, **arguments)
        except UserError:
            raise
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:  # tensors of any shape
            told = str(error).partition("\n")[0]
            raise GeneratorError(
                f"{path} can't be made a generator of architecture {self.architecture}: {told} "
                f"({type(error).__name__}). Is it whole, and a generator's?"
            ) from error


REGISTRY: dict[str, Layout] = {}
"""Every layout by its title; each file enters its own with :func:`register`."""


def register(layout: Layout) -> None:
    """Enter a layout in the registry.

    Raises:
        GeneratorError: another layout has its title.
    """
    known = REGISTRY.get(layout.title, layout)
    if (known.build.__module__, known.build.__qualname__) != (layout.build.__module__, layout.build.__qualname__):
        raise GeneratorError(
            f"{layout.build.__module__} and {known.build.__module__} both register a layout {layout.title!r}. Give "
            "the new one another title."
        )
    REGISTRY[layout.title] = layout


def layouts() -> list[Layout]:
    """All layouts, in the order in which they are tried."""
    return sorted(REGISTRY.values(), key=lambda layout: layout.rank)


def nearest(state: State) -> str:
    """The known layout that shares most names with a state dict, and what keeps them apart; "" if none shares any."""
    heads = {name.partition(".")[0] for name in state}
    head = f"{heads.pop()}." if len(heads) == 1 else ""
    best, text = (0.0, 0), ""
    for layout in layouts():
        known = f"{layout.has[0].partition('.')[0]}." if layout.has else ""
        for theirs, ours in (("", ""), (head, known), (head, "")) if head else (("", ""),):
            names = {ours + name.removeprefix(theirs): name for name in state}
            foreign = [theirs for name, theirs in names.items() if not layout.belongs(name, state[theirs])]
            missing = [name for name in layout.has if name not in names]
            score = (1 - len(foreign) / max(1, len(names)), len(layout.has) - len(missing))
            if score <= best or (theirs and missing):
                continue
            begin = f"these begin with {theirs!r}" + f" where it has {ours!r}" * bool(ours)
            differences = [
                *([begin] if theirs else []),
                *([f"it would also have {listed(missing)}"] if missing else []),
                *([f"these do not belong: {listed(foreign)}"] if foreign else []),
            ]
            best = score
            text = (
                f"Nearest: {layout.title}, but {', and '.join(differences) or 'with other shapes'}. Is it whole, and a "
                f"generator's? With arch {layout.architecture} all that does not fit is listed. "
            )
    return text


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


def another_layout(state: Mapping[str, Tensor], layout: str, expected: Mapping[str, int]) -> GeneratorError:
    found = "; ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in list(state.items())[:8]) or "no tensors"
    wanted = ", ".join(f"{name} of {ndim} dimensions" for name, ndim in expected.items())
    return GeneratorError(f"this is not the layout of {layout}: found {found}. Expected {wanted}, and so on.")
