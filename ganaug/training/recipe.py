"""Recipes: TOML files that hold all that ``ganaug train`` needs to make one pack again."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ganaug.checkpoints import generator_from_distribution
from ganaug.errors import SettingsError
from ganaug.generators import Generator
from ganaug.packs import load_generator
from ganaug.settings import Settings
from ganaug.training.encoder import EncoderSettings
from ganaug.training.methods.registry import METHODS, method_settings

if sys.version_info >= (3, 11):
    pass
else:
    pass
from ganaug.settings import parse_overrides, read_toml

SHARED = {"num_directions", "seed"}


"""Settings that mean the same for every method."""


TABLES = {"generator", "generator_training", "source", "pack", "discovery", "encoder"}


@dataclass(frozen=True)
class Recipe:
    """What to train on, and how.

    Attributes:
        name: the recipe's, and its pack's.
        generator: folder, bundled pack, or Hub id of the generator; empty if ``source`` names it.
        source: a generator in a Python distribution, see :func:`ganaug.generators.generator_from_distribution`.
        license: of the pack.
        method: how directions are found, one of :data:`ganaug.training.methods.METHODS`.
        settings: of the method.
        encoder: settings of the inversion encoder.
    """

    name: str
    generator: str
    source: dict[str, str]
    license: str
    method: str
    settings: Settings
    encoder: EncoderSettings = field(default_factory=EncoderSettings)

    def load_generator(self) -> Generator:
        """The frozen generator that the recipe names."""
        return generator_from_distribution(**self.source) if self.source else load_generator(self.generator)


def read_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe: tables ``[pack]`` (generator, license), ``[source]``, ``[discovery]``, ``[encoder]``.

    Older recipes write ``licence``.

    ``method=...`` replaces the recipe's method; of its settings, the number of directions and the seed then stay.

    ``[generator]`` and ``[generator_training]`` are for ``training/train_generator.py``.

    Args:
        overrides: ``"key=value"`` settings of the discovery, or ``"generator=..."``.

    Raises:
        SettingsError: the file is missing, not TOML, or holds what no recipe holds.
    """
    path = Path(path)
    content = read_toml(path)
    if unknown := sorted(content.keys() - TABLES):
        raise SettingsError(f"{path} has unknown {', '.join(unknown)}. A recipe's tables: {', '.join(sorted(TABLES))}.")
    given = parse_overrides(overrides)
    pack = content.get("pack", {})
    replaced = str(given.pop("generator", ""))
    source = {} if replaced else content.get("source", {})
    generator = replaced or str(pack.get("generator", ""))
    if not generator and not source:
        raise SettingsError(
            f'{path} names no generator: give [pack] generator = "...", a [source] table, or generator=...'
        )
    table = dict(content.get("discovery", {}))
    own = table.pop("method", "reconstructor")
    method = given.pop("method", own)
    if method != own:
        known = METHODS[method]().to_dict() if method in METHODS else {}
        table = {key: value for key, value in table.items() if key in SHARED and key in known}
    try:
        settings = method_settings(method, {**table, **given})
        encoder = EncoderSettings.from_mapping(content.get("encoder", {}))
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
    license = str(pack.get("license", pack.get("licence", "apache-2.0")))
    return Recipe(path.stem, generator, source, license, method, settings, encoder)
