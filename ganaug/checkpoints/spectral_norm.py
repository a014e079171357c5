"""Spectral norm (Miyato et al., ICLR 2018), divided out of the weights once and for all."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ganaug.errors import GeneratorError


def singular_vector(state: Mapping[str, Tensor], name: str, weight: Tensor, length: int) -> Tensor:
    """A stored singular vector of ``weight``, flat."""
    vector = state.get(name)
    if vector is None or vector.numel() != length or vector.dtype != weight.dtype:
        found = "missing" if vector is None else f"{vector.dtype} {tuple(vector.shape)}"
        raise GeneratorError(
            f"{name} is {found}, expected {weight.dtype} of {length} values: spectral norm divides the weight beside "
            "it by the singular value that comes of it. Is the checkpoint whole?"
        )
    return vector.flatten()


def divided(name: str, weight: Tensor, sigma: Tensor) -> Tensor:
    """A weight divided by its largest singular value."""
    if not sigma.isfinite() or sigma == 0:
        raise GeneratorError(
            f"{name} can't be divided by its singular value, which comes out as {sigma}. Is the checkpoint whole?"
        )
    return weight / sigma
