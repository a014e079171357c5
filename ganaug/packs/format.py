"""A pack's folder, in format 1 or 2: what lies where, read and checked."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from torch import Tensor

from ganaug.checkpoints.distribution import check_distribution
from ganaug.errors import FileError, GeneratorError, PackError, printable
from ganaug.files import check_regular, read_bytes, read_json, tensors_of
from ganaug.generators.fetch import check_repository_id, check_revision
from ganaug.generators.generator import CONFIG_FILE, WEIGHTS_FILE
from ganaug.packs.direction import (
    NOWHERE,
    Range,
    checked_directions,
    checked_names,
    checked_range,
    checked_ranges,
)
from ganaug.places import kind_of
from ganaug.swaps import located

if TYPE_CHECKING:
    pass

FORMAT_VERSION = 2
READABLE = (1, 2)
"""Format 1 has no checksum, and is otherwise the same."""

DIRECTIONS_FILE = "directions.safetensors"
ENCODER_FILE = "encoder.safetensors"
DOMAIN_FILE = "domain.safetensors"
CARD_FILE = "README.md"
PREVIEW_FILE = "preview.png"
MOST_PREVIEW = 2**28
"""Bytes of a decoded preview; compressed, a thousandth of them may lie in the file."""

PACK_FILES = (CONFIG_FILE, DIRECTIONS_FILE, WEIGHTS_FILE, ENCODER_FILE, DOMAIN_FILE, CARD_FILE, PREVIEW_FILE)

CONFIG_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "directions_sha256": ((str,), "a string"),
    "generator": ((dict,), "an object"),
    "encoder": ((dict, type(None)), "an object or null"),
    "names": ((dict,), "an object"),
    "ranges": ((list,), "a list"),
    "safe_ranges": ((list, type(None)), "a list or null"),
    "method": ((dict,), "an object"),
    "scores": ((dict,), "an object"),
    "licence": ((str,), "a string"),
}

UNSEALED = ("checksum", "licence", "method", "scores")
"""Keys of config.json that change no image, and that the checksum leaves out."""

ROWS, COMMANDS = "directions", "directions_commands"
"""Where ``scores`` of config.json holds the figures of single directions, and the commands that print them."""


@dataclass(frozen=True)
class PackFolder:
    """What a folder holds, checked.

    Attributes:
        record: arguments of :class:`DirectionPack`.
        rows: figures of single directions, by index.
        commands: what prints each kind of these figures.
        generator: the entry of config.json, where the generator comes from aside.
        encoder: the entry of config.json, how it was made aside; None without an encoder.
        domain_sha256: of the file that says which images the pack is for; None without one.
    """

    record: dict[str, Any]
    rows: dict[int, dict[str, Any]]
    commands: dict[str, Any]
    generator: dict[str, Any]
    encoder: dict[str, Any] | None
    domain_sha256: str | None


def read_pack(folder: Path) -> PackFolder:
    """Read and check a folder; networks are left where they are.

    Raises:
        PackError: what is there is not a whole and sound pack of this format; the message names the file.
    """
    config = _read_config(folder)
    directions = _read_directions(located(folder, DIRECTIONS_FILE), config["directions_sha256"])
    space = config["generator"].get("latent_space", "z")
    for key, told in zip(("latent_space", "num_directions", "latent_dim"), (space, *directions.shape), strict=True):
        if config.get(key) != told:
            raise PackError(f"{folder / CONFIG_FILE} should have {told!r} as {key!r}, found {config.get(key)!r:.80}.")
    encoder = dict(config["encoder"]) if config.get("encoder") else None
    encoder_method = {} if encoder is None else encoder.pop("method", {})
    if not isinstance(encoder_method, dict):
        raise PackError(f"{folder / CONFIG_FILE} should have an object as the encoder's 'method'.")
    domain = None if encoder is None else encoder.pop("domain_sha256", None)
    if not isinstance(domain, str | None):
        raise PackError(f"{folder / CONFIG_FILE} should have a string as the encoder's 'domain_sha256'.")
    count = len(directions)
    generator, scores = dict(config["generator"]), dict(config["scores"])
    try:
        names = _names_of_json(config["names"], count, folder)
        rows = _checked_rows(scores.pop(ROWS, {}), count)
        commands = scores.pop(COMMANDS, {})
        if not isinstance(commands, dict):
            raise PackError(f"scores[{COMMANDS!r}] should map kinds of figures to commands, got {commands!r:.100}.")
        record = {
            "directions": directions,
            "names": names,
            "ranges": checked_ranges(config["ranges"], count),
            "safe_ranges": _safe_ranges_of_json(config.get("safe_ranges"), count),
            "method": config["method"],
            "scores": scores,
            "license": config["licence"],
            "generator_origin": checked_origin(generator.pop("source", None) or {}),
            "encoder_method": encoder_method,
        }
    except PackError as error:
        raise PackError(f"{folder}: {error}") from error
    _check_seal(folder, config)
    for name, missing in ((ENCODER_FILE, encoder is None), (DOMAIN_FILE, domain is None)):
        if missing and located(folder, name).exists():
            raise PackError(f"{folder} holds {name}, of which {CONFIG_FILE} says nothing: it was changed, or mixed.")
    return PackFolder(record, rows, commands, generator, encoder, domain)


def checksum(config: Mapping[str, Any]) -> str:
    """SHA-256 of what config.json says and images depend on: as JSON, keys in order, no whitespace, ASCII."""
    sealed = {key: value for key, value in config.items() if key not in UNSEALED}
    return hashlib.sha256(json.dumps(sealed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _check_seal(folder: Path, config: Mapping[str, Any]) -> None:
    if config["format_version"] == 1:
        return
    if config.get("checksum") != checksum(config):
        raise PackError(
            f"{folder / CONFIG_FILE} was changed since it was written, or damaged: its checksum is "
            f"{config.get('checksum')!r:.80}, not {checksum(config)!r}. Fetch the pack again; names are given with "
            "ganaug name, ranges in Python with pack[index].range and pack.save_pretrained."
        )


def checked_origin(origin: Any) -> dict[str, Any]:
    """What says where a generator comes from: nothing, a distribution's file, or a Hub repository; or ``PackError``."""
    kinds: tuple[set[str], ...] = (set(), {"distribution", "version", "path", "file_sha256"}, {"repo", "revision"})
    if not isinstance(origin, Mapping) or set(origin) not in kinds or not all(map(_is_text, origin.values())):
        raise PackError(
            "the generator's source should have distribution, version, path and file_sha256, or repo and revision, "
            f"got {origin!r:.100}."
        )
    try:
        if "distribution" in origin:
            check_distribution(**origin)
        if "repo" in origin:
            check_repository_id(origin["repo"])
            check_revision(origin["revision"])
    except GeneratorError as error:
        raise PackError(f"the generator's source: {error}") from error
    return dict(origin)


def check_scores(scores: Mapping[str, Any]) -> None:
    """``PackError`` for figures of single directions among those of a whole pack."""
    if {ROWS, COMMANDS} & scores.keys():
        raise PackError(
            f"scores are figures of the whole pack; those of single directions ({ROWS!r}, {COMMANDS!r}) go in with "
            "pack.add_scores(index, figures, command=...)."
        )


def _read_config(folder: Path) -> dict[str, Any]:
    path = located(folder, CONFIG_FILE)
    try:
        config = read_json(path)
    except FileError as error:
        kind = "" if located(folder, CONFIG_FILE).exists() else f"{folder} is {kind_of(folder)}, not a pack: "
        raise PackError(f"{kind}{error}") from error
    version = config.get("format_version")
    if version is None and "architecture" in config:
        raise PackError(
            f"{folder} is a generator, not a pack. Find directions in it: ganaug train --generator {folder} --out PACK "
            "(in Python, Generator.from_pretrained loads it)."
        )
    if version is None:
        raise PackError(f"{folder} is not a pack: {path} has no format_version, and was not written by ganaug.")
    if isinstance(version, bool) or version not in READABLE:
        raise PackError(
            f"{path} has format_version {version!r:.80}, this ganaug reads 1 and 2; newer packs need a newer one."
        )
    for key, (kinds, called) in CONFIG_TYPES.items():
        if key not in config:
            raise PackError(f"{path} should have {called} as {key!r}, found no such key. Fetch the pack again.")
        if not isinstance(config[key], kinds):
            raise PackError(f"{path} should have {called} as {key!r}, found {config[key]!r:.80}.")
    return config


def _read_directions(path: Path, sha256: str) -> Tensor:
    try:
        content = read_bytes(path)
        tensors = tensors_of(content, path)
    except FileError as error:
        raise PackError(f"{error} Fetch the pack again.") from error
    if set(tensors) != {"directions"}:
        raise PackError(f"{path} should hold one tensor named 'directions', found {sorted(tensors)}.")
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise PackError(
            f"{path} has SHA-256 {found}, but config.json names {sha256}: the file was changed, or is another pack's."
        )
    try:
        return checked_directions(tensors["directions"])
    except PackError as error:
        raise PackError(f"{path}: {error}") from error


def read_preview(path: Path) -> Image.Image:
    """The contact sheet of a pack.

    Raises:
        PackError: the file is no PNG picture, or one that takes more than 256 MB.
    """
    try:
        check_regular(path)
        # PNG alone: for some other formats Pillow starts programs that run what the file says.
        with Image.open(path, formats=["PNG"]) as picture:
            needed = picture.width * picture.height * (1 if picture.mode in ("1", "L", "P") else 4)
            if needed > MOST_PREVIEW:
                raise PackError(
                    f"{path} would take {needed:,} bytes as a picture of {picture.width} x {picture.height} pixels, "
                    f"and a preview {MOST_PREVIEW:,} at most. Set pack.preview to another one, or to None."
                )
            copy: Image.Image = picture.copy()
            return copy
    except FileError as error:
        raise PackError(str(error)) from error
    except PackError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PackError(f"{path} is not a PNG picture: {error}") from error


def _checked_rows(rows: Any, count: int) -> dict[int, dict[str, Any]]:
    known = {str(index): index for index in range(count)}
    if not isinstance(rows, Mapping) or not all(
        index in known and isinstance(row, Mapping) for index, row in rows.items()
    ):
        raise PackError(f"scores['directions'] should map an index to its figures, got {rows!r:.100}.")
    return {known[index]: dict(row) for index, row in rows.items()}


def _names_of_json(names: dict[str, Any], count: int, folder: Path) -> dict[str, int]:
    """Names as they are, but for those of a direction that has one already, which format 1 allowed."""
    kept: dict[int, str] = {}
    for name, index in names.items():
        checked_names({name: index}, count)
        if index in kept:
            told = f"{folder}: direction {index} has two names; {name!r} is dropped for {kept[index]!r}."
            warnings.warn(printable(told), stacklevel=4)
        kept.setdefault(index, name)
    return {name: index for index, name in kept.items()}


def _safe_ranges_of_json(ranges: list[Any] | None, count: int) -> list[Range | None] | None:
    """null for all is None; null for one is a direction that keeps the label nowhere."""
    if ranges is None:
        return None
    if len(ranges) != count:
        raise PackError(
            f"there should be one safe range (or null) for each of the {count} directions, got {len(ranges)}."
        )
    return [NOWHERE if each is None else checked_range(each, index) for index, each in enumerate(ranges)]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) < 300
