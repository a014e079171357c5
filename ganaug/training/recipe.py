"""Recipes: TOML files that hold all that it takes to make one pack again, and the way from one to a finished pack."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ganaug.checkpoints import generator_from_distribution
from ganaug.devices import own_defaults
from ganaug.errors import DiscoveryError, FileError, PackError, SettingsError
from ganaug.files import check_writable
from ganaug.gallery import preview
from ganaug.generators import Generator
from ganaug.generators.generator import CONFIG_FILE
from ganaug.packs import DirectionPack, load_generator
from ganaug.packs.hub import loadable
from ganaug.packs.write import check_place
from ganaug.places import kind_of
from ganaug.ranks import process_group, rank_and_size
from ganaug.settings import Settings, parse_settings, read_toml
from ganaug.swaps import tidy
from ganaug.training.discovery.discover import discover
from ganaug.training.encoder import EncoderSettings
from ganaug.training.methods.registry import METHODS, find_directions, method_settings

SHARED = {"num_directions", "seed"}
"""Settings that mean the same for every method."""

TABLES = {"generator", "generator_training", "origin", "pack", "discovery", "encoder"}
EARLIER = {"source": "origin"}
"""Tables that the first recipes named otherwise."""


@dataclass(frozen=True)
class Recipe:
    """What to train on, and how.

    Attributes:
        name: the recipe's, and its pack's.
        generator: folder, bundled pack, or Hub id of the generator; empty if ``origin`` names it.
        origin: of a generator in a Python distribution, see :func:`ganaug.checkpoints.generator_from_distribution`.
        license: of the pack.
        method: how directions are found, one of :data:`ganaug.training.METHODS`.
        settings: of the method.
        encoder: settings of the inversion encoder.
    """

    name: str
    generator: str
    origin: dict[str, str]
    license: str
    method: str
    settings: Settings
    encoder: EncoderSettings = field(default_factory=EncoderSettings)

    def load_generator(self) -> Generator:
        """The frozen generator that the recipe names."""
        return generator_from_distribution(**self.origin) if self.origin else load_generator(self.generator)


def read_recipe(path: str | Path, words: Iterable[str] = ()) -> Recipe:
    """Read a recipe: tables ``[pack]`` (generator, license), ``[origin]``, ``[discovery]``, ``[encoder]``.

    ``method=...`` replaces the recipe's method; of its settings, the number of directions and the seed then stay.
    Recipes of the first versions, which write ``licence`` and ``[source]``, are read too.

    ``[generator]`` and ``[generator_training]`` are for :func:`ganaug.training.read_generator_recipe`.

    Args:
        words: ``"key=value"`` settings of the discovery, or ``"generator=..."``, that go before the recipe's.

    Raises:
        SettingsError: the file is missing, not TOML, or holds what no recipe holds.
    """
    path = Path(path)
    content = {EARLIER.get(name, name): table for name, table in read_toml(path).items()}
    if unknown := sorted(content.keys() - TABLES):
        raise SettingsError(f"{path} has unknown {', '.join(unknown)}. A recipe's tables: {', '.join(sorted(TABLES))}.")
    given = parse_settings(words)
    pack = content.get("pack", {})
    replaced = str(given.pop("generator", ""))
    origin = {} if replaced else content.get("origin", {})
    generator = replaced or str(pack.get("generator", ""))
    if not generator and not origin:
        raise SettingsError(
            f'{path} names no generator: give [pack] generator = "...", an [origin] table, or generator=...'
        )
    table = dict(content.get("discovery", {}))
    own = table.pop("method", "reconstructor")
    method = given.pop("method", own)
    if method != own:
        known = METHODS[method].settings().to_dict() if method in METHODS else {}
        table = {key: value for key, value in table.items() if key in SHARED and key in known}
    try:
        settings = method_settings(method, {**table, **given})
        encoder = EncoderSettings.from_mapping(content.get("encoder", {}))
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
    license = str(pack.get("license", pack.get("licence", "apache-2.0")))
    return Recipe(path.stem, generator, origin, license, method, settings, encoder)


def recipe_for_generator(generator: str, *, name: str, words: Iterable[str] = ()) -> Recipe:
    """A recipe for a generator that has none.

    Args:
        generator: a generator's folder, a bundled pack, a pack's folder, or a Hub id of either.
        name: of the pack.
        words: ``"key=value"`` settings of the discovery, ``"method=..."`` among them.

    Raises:
        SettingsError: an unknown method, or settings that are not its.
    """
    given = parse_settings(words)
    method = given.pop("method", "reconstructor")
    return Recipe(name, generator, {}, "unknown", method, method_settings(method, given))


@own_defaults
def make_pack(
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    device: str | torch.device | None = None,
    tensorboard: bool = False,
    command: str = "",
    show_progress: bool = True,
) -> DirectionPack | None:
    """Find a recipe's directions and save them as a finished pack: name, license, origin, scores and preview.

    Under torchrun, all processes call it; each takes its share of every batch.

    Args:
        out: folder for the pack and, of the reconstructor, metrics and checkpoint; holds neither a pack nor a
            generator, unless a run is to go on.
        resume: go on from the checkpoint in ``out``.
        device: defaults to CUDA when there is one, else the CPU; under torchrun one GPU for each process.
        tensorboard: also write TensorBoard event files, into ``out/tensorboard``.
        command: kept in the pack beside its RCA, so that the figure can be made again.

    Returns:
        The pack, its generator on the CPU; None in processes other than the first.

    Raises:
        SettingsError: ``resume``, ``tensorboard`` or torchrun with a method that knows none of them.
        GeneratorError: the generator is missing, or does not suit the method.
        DiscoveryError: ``out`` is taken or can't be written to; see also :func:`ganaug.training.discover`.
    """
    out = Path(out)
    if recipe.method != "reconstructor" and (resume or tensorboard or "WORLD_SIZE" in os.environ):
        raise SettingsError("--resume, --tensorboard and torchrun are for method=reconstructor.")
    generator = recipe.load_generator()
    if not resume:
        check_free(out)
    settings = recipe.settings.to_dict()
    if recipe.method == "reconstructor":
        with process_group(device) as own_device:
            pack = discover(
                generator,
                out=out,
                resume=resume,
                device=own_device,
                tensorboard=tensorboard,
                show_progress=show_progress,
                **settings,
            )
            if rank_and_size()[0] > 0:
                return None
    else:
        pack = find_directions(generator, recipe.method, device=device, show_progress=show_progress, **settings)
    generator.to("cpu")
    pack.name, pack.license, pack.generator_origin = recipe.name, recipe.license, recipe.origin
    if "rca" in pack.scores and command:
        pack.scores["rca_command"] = command
    pack.preview = preview(pack)
    pack.save_pretrained(out)
    pack.name = loadable(out)
    return pack


def check_free(out: Path) -> None:
    """Refuse a folder that can't be written to, or that holds a pack or a generator, before anything long runs.

    Raises:
        DiscoveryError: it is so.
    """
    try:
        tidy(out)
    except FileError as error:
        raise DiscoveryError(f"{error} Choose another --out.") from error
    if (out / CONFIG_FILE).exists() and kind_of(out) in ("a pack", "a generator"):
        raise DiscoveryError(f"{out} holds a pack or a generator already. Choose another folder, or delete it.")
    try:
        check_place(out)
        check_writable(out)
    except PackError as error:
        raise DiscoveryError(str(error)) from error
    except FileError as error:
        raise DiscoveryError(f"{error} Choose another --out.") from error
