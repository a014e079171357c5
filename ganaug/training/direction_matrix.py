"""Direction matrices: the paper's deformators (Voynov & Babenko 2020, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import orthogonal

LEARNED = ("unit", "orthonormal", "linear")
FIXED = ("random", "coordinate", "given")


class DirectionMatrix(nn.Module):
    """K directions in latent space, one per row.

    Args:
        kind: how the rows are constrained. ``"unit"``: unit length; ``"orthonormal"``: unit length and mutually
            perpendicular; ``"linear"``: free. The baselines don't learn: ``"random"`` (fixed, orthonormal while
            ``num_directions <= latent_dim``, of unit length beyond), ``"coordinate"`` (the latent's axes) and
            ``"given"`` (``initial``, kept as it is).
        initial: ``(num_directions, latent_dim)`` to start from instead of a random draw.

    Shape:
        - indices: ``(N,)`` int64; magnitudes: ``(N,)`` float
        - output: shifts ``(N, latent_dim)``

    Raises:
        ValueError: an unknown kind, or more directions than the latent has dimensions where that can't be.
    """

    def __init__(
        self,
        kind: str,
        num_directions: int,
        latent_dim: int,
        *,
        initial: Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if kind not in LEARNED + FIXED:
            raise ValueError(f"direction_matrix should be one of {', '.join(LEARNED + FIXED)}; got {kind!r}.")
        if kind in ("orthonormal", "coordinate") and num_directions > latent_dim:
            raise ValueError(
                f"{num_directions} {kind} directions don't fit in {latent_dim} latent dimensions: "
                f"lower num_directions to {latent_dim} or use direction_matrix=unit."
            )
        if initial is not None and initial.shape != (num_directions, latent_dim):
            raise ValueError(
                f"initial directions should have shape ({num_directions}, {latent_dim}), got {tuple(initial.shape)}."
            )
        if kind == "given" and initial is None:
            raise ValueError('direction_matrix="given" needs initial directions.')
        self.kind = kind
        self.num_directions = num_directions
        if initial is None:
            draw = torch.randn(max(num_directions, latent_dim), latent_dim, generator=rng)
            if kind == "coordinate":
                draw = torch.eye(latent_dim)
            elif num_directions <= latent_dim:
                draw = torch.linalg.qr(draw.T)[0].T
            initial = F.normalize(draw[:num_directions], dim=1)
        self.weight = nn.Parameter(initial.clone().float(), requires_grad=kind in LEARNED)
        if kind == "orthonormal":
            orthogonal(self, "weight", orthogonal_map="matrix_exp")

    @property
    def rows(self) -> Tensor:
        """``(num_directions, latent_dim)``, constrained as ``kind`` says."""
        return F.normalize(self.weight, dim=1) if self.kind == "unit" else self.weight

    def forward(self, indices: Tensor, magnitudes: Tensor) -> Tensor:
        return self.rows[indices] * magnitudes[:, None]
