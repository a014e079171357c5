"""DCGANs of the PyTorch tutorial (pytorch.org, "DCGAN Tutorial"), of any size."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ganaug.checkpoints.layout import (
    BATCH_NORM_TENSORS,
    Layout,
    batch_norm_names,
    counters,
    register,
    renamed,
    without_counters,
)
from ganaug.generators import DCGAN, load_weights


def build(state: Mapping[str, Tensor], *, origin: str = "the checkpoint") -> DCGAN:
    """Build the frozen generator of a state dict in the layout of the PyTorch DCGAN tutorial, of any size.

    Args:
        state: the tensors, ``main.0.weight`` and so on.
        origin: where ``state`` comes from, for the error.

    Raises:
        GeneratorError: missing, extra or mis-shaped tensors.
    """
    state = without_counters(state)
    convs = [name for name, tensor in state.items() if re.fullmatch(r"main\.\d+\.weight", name) and tensor.ndim == 4]
    last = f"main.{3 * max(1, len(convs) - 1)}.weight"
    names = {f"main.{3 * k}.weight": (f"main.{3 * k}.weight", 4) for k in range(max(2, len(convs)))}
    for k in range(len(names) - 1):
        names |= batch_norm_names(f"main.{3 * k + 1}", f"main.{3 * k + 1}")
    found = renamed(state, names, layout="DCGAN (PyTorch tutorial)", origin=origin)
    with torch.device("meta"):
        generator = DCGAN(
            latent_dim=found["main.0.weight"].shape[0],
            channels=found[last].shape[1],
            width=found[last].shape[0],
            image_size=4 << (len(convs) - 1),
        )
    return load_weights(generator, {**counters(generator), **found}, origin=origin)


register(
    Layout(
        title="DCGAN (PyTorch tutorial)",
        architecture=DCGAN.architecture,
        build=build,
        has=("main.0.weight", "main.1.running_mean", "main.3.weight"),
        pattern=rf"main\.\d+\.(weight:4|{BATCH_NORM_TENSORS})",
        rank=10,
    )
)
