"""Methods of finding directions by name; each registers itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from ganaug.devices import own_defaults
from ganaug.errors import SettingsError
from ganaug.generators import Generator
from ganaug.generators.module import check_is_generator
from ganaug.packs import DirectionPack
from ganaug.settings import Settings

Function = Callable[[Generator, Any, "str | torch.device | None", bool], "Tensor | DirectionPack"]
F = TypeVar("F", bound=Function)


@dataclass(frozen=True)
class Method:
    """A way of finding directions.

    Attributes:
        settings: the class of its settings, ``num_directions`` among them.
        function: from a frozen, checked generator, settings, device and whether to show progress to ``(K, latent_dim)``
            directions on the CPU, of unit length, or to a whole pack.
        paper: whose idea it is, for the cards of its packs; "" for nobody's.
    """

    settings: type[Settings]
    function: Function
    paper: str = ""


METHODS: dict[str, Method] = {}


def method(name: str, settings: type[Settings], *, paper: str = "") -> Callable[[F], F]:
    """Register a function as the method of that name, see :class:`Method`.

    Raises:
        SettingsError: another function has the name.
    """

    def register(function: F) -> F:
        taken = METHODS.get(name)
        if taken is not None and _place(taken.function) != _place(function):
            raise SettingsError(
                f"{_place(function)} registers as method {name!r}, which {_place(taken.function)} has: choose another."
            )
        METHODS[name] = Method(settings, function, paper)
        return function

    return register


def _place(function: Function) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', repr(function))}"


def method_settings(name: str, values: dict[str, Any]) -> Settings:
    """The checked settings of a method.

    Raises:
        SettingsError: an unknown method, an unknown key, a wrong type or a value out of range.
    """
    if name not in METHODS:
        raise SettingsError(f"method should be one of {', '.join(METHODS)}; got {name!r}.")
    return METHODS[name].settings.from_mapping(values)


@own_defaults
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
        generator: frozen by this call.
        method: ``reconstructor`` (:func:`ganaug.training.discover`), ``sefa``, ``ganspace``, ``contrastive``, or the
            baselines ``random`` (orthonormal) and ``coordinate`` (the latent's axes).
        device: where it runs; each method's own choice by default.
        settings: of the method.

    Returns:
        A pack of unit directions, to be looked at from -6 to 6 where the method does not say how far. Only the
        reconstructor's has ``scores["rca"]``; :func:`ganaug.training.fresh_rca` measures the others'.

    Raises:
        SettingsError: an unknown method or setting.
        GeneratorError: the generator does not suit the method.
    """
    check_is_generator(generator)
    chosen = method_settings(method, settings)
    found = METHODS[method].function(generator.freeze().check(), chosen, device, show_progress)
    if isinstance(found, DirectionPack):
        return found
    wanted = (getattr(chosen, "num_directions", None), generator.latent_dim)
    if not isinstance(found, Tensor) or tuple(found.shape) != wanted:
        got = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise SettingsError(
            f"method {method!r} should find directions of shape {wanted}, and returned {got}. Ask it for fewer "
            "(num_directions), or mend it."
        )
    paper = {"paper": METHODS[method].paper} if METHODS[method].paper else {}
    return DirectionPack(found, generator=generator, method={"name": method, **chosen.to_dict(), **paper})
