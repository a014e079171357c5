"""Directions out of the published code's deformators (Voynov & Babenko 2020, section 3.2)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ganaug.checkpoints.pickles import check_held, read_checkpoint
from ganaug.devices import own_defaults
from ganaug.errors import PackError, listed
from ganaug.files import read_json

ARGS_FILE = "args.json"  # of a run of that code; deformators lie in its folder "models"


@own_defaults
def directions_from_deformator(path: str | Path) -> tuple[Tensor, Tensor]:
    """Read the directions of a ``deformator_*.pt`` (or ``checkpoint.pt``) of anvoynov/GANLatentDiscovery.

    A magnitude of 1 along axis k there is a shift by ``lengths[k] * directions[k]``. Types: linear, whose columns have
    any length; projective, whose shifts are as long as the magnitude; ortho, an orthonormal matrix kept as half its
    logarithm. Linear and projective have the same tensors: the ``args.json`` of the run, in the folder above, tells
    them apart, and without one the type is taken to be linear. A bias, the same shift for every direction and
    magnitude, is left out with a warning that says how long it is.

    Returns:
        Directions ``(K, latent_dim)`` float32, unit rows, and lengths ``(K,)`` float32 in latent units.

    Raises:
        PackError: tensors of another shape; columns that are zero, NaN or infinite; a type without directions (fc, a
            network; id and random, which save nothing).
        GeneratorError: the file is missing or damaged, or holds more than tensors and plain containers.
        FileError: the run's ``args.json`` is damaged.
    """
    path = Path(path)
    state = read_checkpoint(path)
    if isinstance(state, Mapping) and isinstance(state.get("deformator"), Mapping):
        state = state["deformator"]
    is_named = isinstance(state, Mapping) and all(isinstance(name, str) for name in state)
    if not is_named or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise PackError(f"{path} should hold the tensors of a deformator, found {type(state).__name__}.")
    check_held(state, path)
    columns = _columns(path, state)
    lengths = columns.norm(dim=0)
    if bad := [k for k, length in enumerate(lengths.tolist()) if not 0 < length < float("inf")]:
        raise PackError(
            f"{path}: columns {', '.join(map(str, bad[:6]))} ({len(bad)} of {len(lengths)}) are zero, NaN or infinite, "
            "and give no direction. Take a deformator that was trained to the end."
        )
    directions = F.normalize(columns, dim=0).T.float().contiguous()
    return directions, torch.ones(len(lengths)) if _is_projective(path) else lengths.float()


def _columns(path: Path, state: Mapping[str, Tensor]) -> Tensor:
    """``(latent_dim, K)`` float64: the shifts that the axes become at magnitude 1."""
    if "fc1.weight" in state:
        raise PackError(
            f"{path} is a deformator of type fc, a network: the way of a shift depends on its magnitude, so that it "
            "has no directions. Train one of type linear, proj or ortho, or run ganaug train on the generator."
        )
    if not state:
        raise PackError(
            f"{path} holds no tensors. Deformators of type id and random save nothing: for the axes or random "
            "directions run ganaug train with method=coordinate or method=random."
        )
    kind = "log_mat_half" if "log_mat_half" in state else "linear.weight"
    if kind not in state or not state.keys() <= {kind, "linear.bias"}:
        raise PackError(
            f"{path} holds {listed(list(state))}; a deformator has log_mat_half (ortho), or linear.weight and perhaps "
            "linear.bias (linear, proj). A generator is converted without --generator."
        )
    matrix = state[kind].double()
    if matrix.ndim != 2 or 0 in matrix.shape or (kind == "log_mat_half" and matrix.shape[0] != matrix.shape[1]):
        wanted = "(latent_dim, latent_dim)" if kind == "log_mat_half" else "(latent_dim, K)"
        raise PackError(f"{path}: {kind} should have shape {wanted}, got {tuple(matrix.shape)}.")
    if "linear.bias" in state and (bias := state["linear.bias"].double().norm().item()):
        warnings.warn(
            f"{path.name} also shifts by a bias of length {bias:.3g}, the same for every direction and magnitude. "
            "Directions can't hold that, and it is left out.",
            stacklevel=3,
        )
    return torch.matrix_exp(matrix - matrix.T) if kind == "log_mat_half" else matrix


def _is_projective(path: Path) -> bool:
    files = (folder / ARGS_FILE for folder in path.resolve().parents[:2])
    return any(file.exists() and read_json(file).get("deformator") == "proj" for file in files)
