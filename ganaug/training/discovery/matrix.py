"""Direction matrices: the paper's deformators (Voynov & Babenko 2020, section 3.2)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import orthogonal

from ganaug.errors import SettingsError

MatrixKind = Literal["unit", "orthonormal", "linear", "random", "coordinate", "given"]
LEARNED = ("unit", "orthonormal", "linear")


class DirectionMatrix(nn.Module):
    """K directions in latent space, one per row.

    Args:
        kind: how the rows are constrained. ``"unit"``: unit length; ``"orthonormal"``: unit length and mutually
            perpendicular; ``"linear"``: free. The baselines don't learn: ``"random"`` (fixed, orthonormal while there
            are no more directions than coordinates, of unit length beyond), ``"coordinate"`` (the latent's axes) and
            ``"given"`` (``initial``, kept as it is).
        initial: ``(num_directions, latent_dim)`` to start from instead of a random draw.
        within: the coordinates that directions may change (``Generator.directions_within``); rows are zero elsewhere.

    Shape:
        - indices: ``(N,)`` int64; magnitudes: ``(N,)`` float
        - output: shifts ``(N, latent_dim)``

    Raises:
        SettingsError: an unknown kind, more directions than such coordinates where that can't be, or ``initial``
            directions that change others.
    """

    def __init__(
        self,
        kind: str,
        num_directions: int,
        latent_dim: int,
        *,
        initial: Tensor | None = None,
        within: slice = slice(None),
        rng: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        size = len(range(latent_dim)[within])
        if kind not in get_args(MatrixKind):
            raise SettingsError(f"direction_matrix should be one of {', '.join(get_args(MatrixKind))}; got {kind!r}.")
        if kind in ("orthonormal", "coordinate") and num_directions > size:
            raise SettingsError(
                f"{num_directions} {kind} directions don't fit in {size} latent dimensions: "
                f"lower num_directions to {size} or use direction_matrix=unit."
            )
        if initial is not None and initial.shape != (num_directions, latent_dim):
            raise SettingsError(
                f"initial directions should have shape ({num_directions}, {latent_dim}), got {tuple(initial.shape)}."
            )
        if kind == "given" and initial is None:
            raise SettingsError('direction_matrix="given" needs initial directions.')
        self.kind = kind
        self.num_directions, self.latent_dim, self.within = num_directions, latent_dim, within
        if initial is None:
            draw = torch.randn(max(num_directions, size), size, generator=rng)
            if kind == "coordinate":
                draw = torch.eye(size)
            elif num_directions <= size:
                draw = torch.linalg.qr(draw.T)[0].T
            initial = F.normalize(draw[:num_directions], dim=1)
        else:
            inside = initial[:, within]
            if outside := int((initial.count_nonzero(1) > inside.count_nonzero(1)).sum()):
                start, stop, _ = within.indices(latent_dim)
                raise SettingsError(
                    f"{outside} of {num_directions} initial directions change coordinates outside {start} to "
                    f"{stop - 1}, the only ones that directions of this generator may change: set them to zero there."
                )
            initial = inside
        self.weight = nn.Parameter(initial.clone().float(), requires_grad=kind in LEARNED)
        if kind == "orthonormal":
            orthogonal(self, "weight", orthogonal_map="matrix_exp")

    @property
    def rows(self) -> Tensor:
        """``(num_directions, latent_dim)``, constrained as ``kind`` says."""
        inside = F.normalize(self.weight, dim=1) if self.kind == "unit" else self.weight
        return widened(inside, self.within, self.latent_dim)

    def forward(self, indices: Tensor, magnitudes: Tensor) -> Tensor:
        return self.rows[indices] * magnitudes[:, None]


def widened(rows: Tensor, within: slice, latent_dim: int) -> Tensor:
    """Rows over the coordinates ``within`` as ``(..., latent_dim)``, zero outside."""
    start, stop, _ = within.indices(latent_dim)
    return F.pad(rows, (start, latent_dim - stop))
