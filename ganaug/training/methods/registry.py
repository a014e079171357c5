"""The reconstructor's rivals under one roof, each giving the same kind of pack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ganaug.errors import SettingsError
from ganaug.generators import Generator
from ganaug.packs import DirectionPack
from ganaug.settings import Settings
from ganaug.training.discovery.discover import discover
from ganaug.training.discovery.matrix import DirectionMatrix
from ganaug.training.discovery.settings import DiscoverySettings
from ganaug.training.methods.contrastive import ContrastiveSettings, contrastive
from ganaug.training.methods.ganspace import GanspaceSettings, ganspace
from ganaug.training.methods.sefa import SefaSettings, sefa

REACH = 6.0


"""Packs of methods that don't learn how far to go say -REACH to REACH, the reconstructor's default."""


@dataclass(frozen=True, kw_only=True)
class BaselineSettings(Settings):
    """Settings of the baselines ``random`` and ``coordinate`` (which draws nothing)."""

    num_directions: int = 64
    seed: int = 0

    least: ClassVar = {"seed": 0}


METHODS: dict[str, type[Settings]] = {
    "reconstructor": DiscoverySettings,
    "sefa": SefaSettings,
    "ganspace": GanspaceSettings,
    "contrastive": ContrastiveSettings,
    "random": BaselineSettings,
    "coordinate": BaselineSettings,
}


def method_settings(method: str, values: dict[str, Any]) -> Settings:
    """The checked settings of a method.

    Raises:
        SettingsError: an unknown method, an unknown key, a wrong type or a value out of range.
    """
    if method not in METHODS:
        raise SettingsError(f"method should be one of {', '.join(METHODS)}; got {method!r}.")
    return METHODS[method].from_mapping(values)


def find_directions(
    generator: Generator,
    method: str,
    *,
    device: str | torch.device | None = None,
    show_progress: bool = True,
    **settings: Any,
) -> DirectionPack:
    """Find K directions with one of :data:`METHODS`.

    Args:
        method: ``reconstructor`` (:func:`discover`), ``sefa``, ``ganspace``, ``contrastive``, or the baselines
            ``random`` (orthonormal) and ``coordinate`` (the latent's axes).
        settings: of the method.

    Returns:
        A pack of unit directions. Only the reconstructor's has ``scores["rca"]``; :func:`judge` measures the others'.

    Raises:
        SettingsError: an unknown method or setting.
        GeneratorError: the generator does not suit the method.
    """
    chosen = method_settings(method, settings)
    if method == "reconstructor":
        return discover(generator, device=device, show_progress=show_progress, **settings)
    directions = _directions(generator.freeze().check(), method, chosen.to_dict(), device, show_progress)
    return DirectionPack(
        directions,
        generator=generator,
        ranges=[(-REACH, REACH)] * len(directions),
        method={"name": method, **chosen.to_dict()},
    )


def _directions(
    generator: Generator,
    method: str,
    settings: dict[str, Any],
    device: str | torch.device | None,
    show_progress: bool,
) -> Tensor:
    if method == "sefa":
        return sefa(generator, **settings)
    if method == "ganspace":
        if device is not None:
            generator.to(device)
        return ganspace(generator, **settings, show_progress=show_progress)
    if method == "contrastive":
        return contrastive(generator, **settings, device=device, show_progress=show_progress)
    rng = torch.Generator().manual_seed(settings["seed"])
    try:
        matrix = DirectionMatrix(
            method, settings["num_directions"], generator.latent_dim, within=generator.directions_within, rng=rng
        )
    except ValueError as error:
        raise SettingsError(str(error)) from error
    return matrix.rows.detach()


def judge(
    pack: DirectionPack,
    *,
    steps: int = 2000,
    batch_size: int = 32,
    max_magnitude: float = REACH,
    reconstructor_width: int = 1,
    samples: int = 10_000,
    seed: int = 0,
    device: str | torch.device | None = None,
    show_progress: bool = True,
) -> float:
    """RCA by a fresh reconstructor, trained on the pack's directions as they are, so that all methods are judged alike.

    Args:
        steps, batch_size, max_magnitude, reconstructor_width, seed: see :class:`DiscoverySettings`.
        samples: fresh pairs on which it is measured.
    """
    judged = discover(
        pack.generator,
        initial=pack.directions,
        num_directions=pack.num_directions,
        direction_matrix="given",
        steps=steps,
        batch_size=batch_size,
        max_magnitude=max_magnitude,
        reconstructor_width=reconstructor_width,
        reconstructor_lr=1e-3,
        rca_samples=samples,
        seed=seed,
        device=device,
        show_progress=show_progress,
    )
    rca: float = judged.scores["rca"]
    return rca
