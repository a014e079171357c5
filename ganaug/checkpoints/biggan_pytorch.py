"""BigGANs of ajbrock/BigGAN-PyTorch."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from ganaug.checkpoints.layout import Layout, another_layout, register
from ganaug.checkpoints.spectral_norm import divided, singular_vector
from ganaug.errors import GeneratorError
from ganaug.generators import BigGAN, load_weights
from ganaug.generators.biggan import BOTTOM_SIZE, WIDTHS

# The tensors that tell the layout and its sizes, with their number of dimensions.
DIMENSIONS = {
    "shared.weight": 2,
    "linear.weight": 2,
    "blocks.0.0.bn1.gain.weight": 2,
    "blocks.0.0.conv_sc.weight": 4,
    "output_layer.0.gain": 1,
}


def build(state: Mapping[str, Tensor], *, eps: float | None = None, truncation: float = 1.0) -> BigGAN:
    """Build the frozen generator of a ``G_ema.pth`` of BigGAN-PyTorch; all sizes are read off the tensors.

    Args:
        state: the state dict, with the singular vectors ``u0`` of spectral norm (none at all if it was trained
            without) and the batch norms' ``stored_mean`` and ``stored_var``.
        eps: see :class:`BigGAN`. By default 1e-4 for a checkpoint with ``u0`` but no ``sv0``, which is how
            BigGAN-PyTorch's converter writes the models of TF Hub, and 1e-5 for any other.
        truncation: see :class:`BigGAN`.

    Raises:
        GeneratorError: another layout, or tensors missing, extra or mis-shaped.
    """
    if not _recognises(state):
        raise another_layout(state, "BigGAN-PyTorch's G_ema.pth", DIMENSIONS)
    num_classes, shared_dim = state["shared.weight"].shape
    part = state["linear.weight"].shape[1]
    hierarchical = state["blocks.0.0.bn1.gain.weight"].shape[1] > shared_dim
    blocks = len({name.split(".")[1] for name in state if re.fullmatch(r"blocks\.\d+\.0\.conv1\.weight", name)})
    image_size = BOTTOM_SIZE << min(blocks, 16)
    if image_size not in WIDTHS:
        known = [size.bit_length() - 3 for size in WIDTHS]
        raise GeneratorError(f"the checkpoint has {blocks} BigGAN blocks; generators of {known} blocks are known.")
    if eps is None:
        eps = 1e-4 if "linear.u0" in state and "linear.sv0" not in state else 1e-5
    with torch.device("meta"):  # nothing is allocated before the tensors are seen to fit
        generator = BigGAN(
            latent_dim=part * (blocks + 1) if hierarchical else part,
            image_size=image_size,
            num_classes=num_classes,
            ch=state["output_layer.0.gain"].shape[0] // WIDTHS[image_size][-1],
            shared_dim=shared_dim,
            hierarchical=hierarchical,
            attention=[BOTTOM_SIZE << (i + 1) for i in range(blocks) if f"blocks.{i}.1.gamma" in state],
            eps=eps,
            truncation=truncation,
        )
    return load_weights(generator, _weights(state), origin="the checkpoint")


def _recognises(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the layout of github.com/ajbrock/BigGAN-PyTorch's ``BigGAN.py``."""
    return all(name in state and state[name].ndim == ndim for name, ndim in DIMENSIONS.items())


STATISTICS = {"stored_mean": "means", "stored_var": "variances"}


def _weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """BigGAN-PyTorch's tensors under our names, spectral norm folded in.

    In evaluation the weight is W / sigma with sigma = |W v| and v the unit vector along W^T u0: half a step of power
    iteration from the stored u0. Nothing reads sv0, a record of sigma, and u1 and sv1 are of the next singular value.
    """
    spectral = any(name.endswith(".u0") for name in state)
    weights = {}
    for name, tensor in state.items():
        stem, _, kind = name.rpartition(".")
        if stem != "shared" and f"{stem}.weight" in state and re.fullmatch(r"(u|sv)\d+", kind):
            continue
        if spectral and kind == "weight" and stem != "shared" and tensor.ndim > 1:
            matrix = tensor.flatten(1)
            v = F.normalize(matrix.mT @ singular_vector(state, f"{stem}.u0", tensor, len(tensor)), dim=0)
            tensor = divided(name, tensor, (matrix @ v).norm())
        if kind in STATISTICS:
            name, tensor = f"{stem}.{STATISTICS[kind]}", tensor[None]
        weights[name] = tensor.reshape(()) if kind == "gamma" and tensor.numel() == 1 else tensor
    return weights


register(
    Layout(
        title="BigGAN (ajbrock/BigGAN-PyTorch)",
        architecture=BigGAN.architecture,
        build=build,
        has=tuple(DIMENSIONS),
        pattern=r"(shared|linear|blocks\.\d+\.\d|output_layer\.\d)\..+",
        recognises=_recognises,
        rank=70,
    )
)
