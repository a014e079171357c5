"""MLPs that are a plain ``nn.Sequential``, as those of eriklindernoren/PyTorch-GAN are."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

from ganaug.checkpoints.layout import (
    BATCH_NORM_TENSORS,
    Layout,
    State,
    batch_norm_names,
    counters,
    register,
    renamed,
    without_counters,
)
from ganaug.errors import GeneratorError
from ganaug.generators import MLP, load_weights

PYTORCH_GAN_EPS = 0.8  # eriklindernoren/PyTorch-GAN passes 0.8, meant as the momentum, in the place of eps


TENSOR = re.compile(r"(\w+\.|)(\d+)\.(weight|bias|running_mean|running_var|num_batches_tracked)")


def build(
    state: Mapping[str, Tensor],
    *,
    activation: str = "leaky_relu",
    batch_norm_eps: float | None = None,
    origin: str = "the checkpoint",
) -> MLP:
    """Build the frozen generator of a plain ``nn.Sequential``'s state dict, under at most one prefix.

    The layers are linear, batch norms that follow them at once, and what has no tensors: activations, dropout and
    a tanh at the end. Which activation and which ``eps`` no state dict says.

    Args:
        state: the tensors, ``0.weight`` or ``model.0.weight`` and so on.
        activation: see :class:`MLP`.
        batch_norm_eps: see :class:`MLP`. By default 1e-5, PyTorch's own; but 0.8 in the layout of
            eriklindernoren/PyTorch-GAN: prefix ``model.``, and a batch norm in all hidden layers but the first.
        origin: where ``state`` comes from, for the error.

    Raises:
        GeneratorError: missing, extra or mis-shaped tensors; a batch norm elsewhere, or two linear layers without
            an activation between; a last layer whose outputs are no square image of 1 or 3 channels, or fewer than
            a latent has numbers.
    """
    state = without_counters(state)
    prefix, linear, batch_norm = _structure(state, origin)
    found = renamed(state, _names(prefix, linear, batch_norm), layout="an MLP (nn.Sequential)", origin=origin)
    for (index, following), norm in zip(pairwise(linear), batch_norm, strict=True):
        if following < index + 2 + norm:
            raise GeneratorError(
                f"{origin} has no activation between its linear layers {prefix}{index} and {prefix}{following}, "
                "and an MLP has one. Use Generator.from_module with the original code."
            )
    hidden = [len(state[f"{prefix}{index}.weight"]) for index in linear[:-1]]
    latent_dim = state[f"{prefix}{linear[0]}.weight"].shape[1]
    outputs = len(state[f"{prefix}{linear[-1]}.weight"])
    channels, image_size = _image_shape(latent_dim, outputs, origin)
    if batch_norm_eps is None:
        published = prefix == "model." and batch_norm == [False] + [True] * (len(hidden) - 1)
        batch_norm_eps = PYTORCH_GAN_EPS if published and any(batch_norm) else 1e-5
    with torch.device("meta"):
        generator = MLP(
            latent_dim=latent_dim,
            hidden=hidden,
            image_size=image_size,
            channels=channels,
            activation=activation,
            batch_norm=batch_norm,
            batch_norm_eps=batch_norm_eps,
        )
    return load_weights(generator, {**counters(generator), **found}, origin=origin)


def _structure(state: State, origin: str) -> tuple[str, list[int], list[bool]]:
    """How names begin, the numbers of the linear layers, and whether a batch norm follows each but the last at once."""
    matches = {name: match for name in state if (match := TENSOR.fullmatch(name))}
    prefix = next((match[1] for match in matches.values()), "")
    linear = sorted(int(match[2]) for name, match in matches.items() if state[name].ndim == 2)
    norms = {int(match[2]) for match in matches.values() if match[3] == "running_mean"}
    if len(linear) < 2:
        raise GeneratorError(f"{origin} is no MLP: it has {len(linear)} linear layers, and two are the least.")
    return prefix, linear, [index + 1 in norms for index in linear[:-1]]


def _names(prefix: str, linear: list[int], batch_norm: list[bool]) -> dict[str, tuple[str, int]]:
    """Of each foreign tensor our name, and its dimensions."""
    names: dict[str, tuple[str, int]] = {}
    ours = 0
    for index, norm in zip(linear, [*batch_norm, False], strict=True):
        stem = f"{prefix}{index}"
        names |= {f"{stem}.weight": (f"layers.{ours}.weight", 2), f"{stem}.bias": (f"layers.{ours}.bias", 1)}
        if norm:
            ours += 1
            names |= batch_norm_names(f"{prefix}{index + 1}", f"layers.{ours}")
        ours += 2
    return names


def _image_shape(latent_dim: int, outputs: int, origin: str) -> tuple[int, int]:
    """Channels and size of the images that so many values are."""
    channels = 3 if outputs % 3 == 0 and math.isqrt(outputs // 3) ** 2 * 3 == outputs else 1
    image_size = math.isqrt(outputs // channels)
    if channels * image_size**2 != outputs or outputs <= latent_dim:
        raise GeneratorError(
            f"{origin} makes {outputs} values of {latent_dim}, which is no square image of 1 or 3 channels with "
            "more values than its latent. Is it a generator's?"
        )
    return channels, image_size


def _recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the names of a ``nn.Sequential`` of two or more linear layers, under one prefix."""
    matches = [TENSOR.fullmatch(name) for name in state]
    prefixes = {match and match[1] for match in matches}
    dimensions = [tensor.ndim for tensor in state.values()]
    return len(prefixes) == 1 and None not in prefixes and max(dimensions) == 2 and dimensions.count(2) > 1


register(
    Layout(
        title="MLP (nn.Sequential)",
        architecture=MLP.architecture,
        build=build,
        has=(),
        pattern=rf"(\w+\.)?\d+\.(weight:2|{BATCH_NORM_TENSORS})",
        recognises=_recognises,
        rank=1000,  # it reads any nn.Sequential of linear layers, and comes after all that know theirs better
    )
)
