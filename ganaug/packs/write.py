"""A pack's folder, written whole in format 2."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganaug.errors import FileError, PackError
from ganaug.files import parse_json, read_bytes, read_json, write_json, write_safetensors
from ganaug.generators import Encoder, Generator, ModuleGenerator
from ganaug.generators.generator import CONFIG_FILE, WEIGHTS_FILE
from ganaug.marks import folder_made
from ganaug.packs.card import is_edited, model_card, sealed_card
from ganaug.packs.direction import NOWHERE, Range, checked_names, checked_range, checked_safe_range
from ganaug.packs.format import (
    CARD_FILE,
    COMMANDS,
    DIRECTIONS_FILE,
    DOMAIN_FILE,
    ENCODER_FILE,
    FORMAT_VERSION,
    PACK_FILES,
    PREVIEW_FILE,
    ROWS,
    check_scores,
    checked_origin,
    checksum,
)
from ganaug.places import UNFINISHED, kind_of
from ganaug.swaps import located, put_in_place, scratch_folder, writing_alone

if TYPE_CHECKING:
    from ganaug.packs.pack import DirectionPack


def pack_config(pack: DirectionPack) -> dict[str, Any]:
    """What ``config.json`` holds, the hash of the directions' file aside.

    Raises:
        PackError: names, ranges, scores or an origin that were set since and that no reader would take; scores or a
            method that JSON can't hold; safe ranges of some directions and not of others.
    """
    scores = _scores_to_json(pack)
    try:
        parse_json(json.dumps([scores, pack.method, pack.encoder_method], allow_nan=False))
    except (RecursionError, TypeError, ValueError) as error:
        raise PackError(
            f"the scores, method and encoder_method of pack {pack.name!r} should fit into JSON: {error}."
        ) from error
    if not isinstance(pack.encoder_method, dict):
        raise PackError(f"encoder_method should be a dictionary, got {pack.encoder_method!r:.80}.")
    encoder = pack.encoder_entry()
    entry = pack.generator_entry()
    if origin := checked_origin(pack.generator_origin):
        entry = {**entry, "source": origin}
    return {
        "format_version": FORMAT_VERSION,
        "generator": entry,
        "encoder": encoder and {**encoder, "method": pack.encoder_method},
        "latent_space": entry.get("latent_space", "z"),
        "num_directions": pack.num_directions,
        "latent_dim": pack.latent_dim,
        "names": _names_to_json(pack),
        "ranges": [checked_range(direction.range, direction.index) for direction in pack],
        "safe_ranges": _safe_ranges_to_json(pack),
        "scores": scores,
        "method": pack.method,
        "licence": pack.license,
    }


def write_pack(pack: DirectionPack, folder: Path, *, called: str) -> None:
    """Write a pack into a folder, made if need be, with a model card for the pack that is loaded as ``called``.

    All files are replaced as one, see :mod:`ganaug.swaps`: at every moment a reader finds the whole old pack or the
    whole new one. Files that are no pack's are left alone.

    Raises:
        PackError: the path is a file; the folder holds no pack, but files with the names of a pack's; or the pack
            holds what no reader would take.

    A README.md that was edited since a pack was written there stays as it is.
    """
    check_place(folder)
    config = pack_config(pack)
    in_pack = not pack.generator_origin and config["generator"].get("architecture") != ModuleGenerator.architecture
    generator, encoder = pack.generator if in_pack else None, pack.encoder
    try:
        card = model_card(pack, called=called, architecture=config["generator"].get("architecture"))
        with folder_made(folder), scratch_folder(folder) as scratch:
            _write_files(pack, scratch, config, generator, encoder)
            (scratch / CARD_FILE).write_bytes(sealed_card(card))
            with writing_alone(folder):
                check_place(folder)
                _keep_edited_card(folder, scratch)
                put_in_place(scratch, folder, gone=[name for name in _of_pack(folder) if not (scratch / name).exists()])
    except (OSError, FileError) as error:
        raise PackError(f"the pack can't be written into {folder}: {error}") from error


def _keep_edited_card(folder: Path, scratch: Path) -> None:
    """Leave a card that somebody edited as it is, with a word; one that may have been is put aside."""
    old = folder / CARD_FILE
    if not old.is_file():
        return
    content = read_bytes(old)
    edited = is_edited(content)
    if edited is False or content == (scratch / CARD_FILE).read_bytes():
        return
    if edited:
        (scratch / CARD_FILE).unlink()
        warnings.warn(f"{old} was edited and stays as it is; without it a new model card is written.", stacklevel=2)
        return
    aside = next(name for name in _aside_names() if not os.path.lexists(folder / name))
    (scratch / aside).write_bytes(content)
    warnings.warn(f"{old} may have been edited, and is kept as {aside}.", stacklevel=2)


def _aside_names() -> Iterator[str]:
    return (f"README.old{number or ''}.md" for number in itertools.count())


def check_place(folder: Path) -> None:
    """Refuse a folder into which no pack can be written without replacing what is nobody's pack.

    Raises:
        PackError: it is a file, or holds no pack, but files with the names of a pack's; one of them is named.
    """
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise PackError(f"{folder} is a file; a pack is a folder.")
    taken = [name for name in PACK_FILES if os.path.lexists(folder / name)]
    if taken and not _is_pack(folder) and not _is_half_moved(folder):
        what = "a generator" if kind_of(folder) == "a generator" else "no pack, but a file of a name that packs have"
        raise PackError(
            f"{folder} holds {what}: {folder / taken[0]} would be overwritten. Choose another folder, or move it away."
        )


def _write_files(
    pack: DirectionPack, scratch: Path, config: dict[str, Any], generator: Generator | None, encoder: Encoder | None
) -> None:
    write_safetensors(scratch / DIRECTIONS_FILE, {"directions": pack.directions})
    if generator is not None:
        generator.save_weights(scratch / WEIGHTS_FILE)
    if encoder is not None:
        encoder.save_weights(scratch / ENCODER_FILE)
    if encoder is not None and pack.domain is not None:
        write_safetensors(scratch / DOMAIN_FILE, pack.domain.tensors())
        config["encoder"]["domain_sha256"] = hashlib.sha256((scratch / DOMAIN_FILE).read_bytes()).hexdigest()
    if pack.preview is not None:
        pack.preview.save(scratch / PREVIEW_FILE, optimize=True)
    config["directions_sha256"] = hashlib.sha256((scratch / DIRECTIONS_FILE).read_bytes()).hexdigest()
    write_json(scratch / CONFIG_FILE, {**config, "checksum": checksum(config)})


def _of_pack(folder: Path) -> set[str]:
    """Files that only a pack that is there can have brought into a folder, and that not every pack has."""
    try:
        config = read_json(folder / CONFIG_FILE)
    except FileError:
        return set()
    if "format_version" not in config:
        return set()
    entry = config.get("generator")
    brought_generator = isinstance(entry, dict) and not entry.get("source")
    return {ENCODER_FILE, DOMAIN_FILE, PREVIEW_FILE, *([WEIGHTS_FILE] if brought_generator else [])}


def _scores_to_json(pack: DirectionPack) -> dict[str, Any]:
    check_scores(pack.scores)
    scores: dict[str, Any] = dict(pack.scores)
    if rows := {str(direction.index): direction.scores for direction in pack if direction.scores}:
        scores[ROWS] = rows
    if pack.commands:
        scores[COMMANDS] = pack.commands
    return scores


def _names_to_json(pack: DirectionPack) -> dict[str, int]:
    names: dict[str, int] = {}
    for direction in pack:
        if direction.name is None:
            continue
        if direction.name in names:
            raise PackError(
                f"directions {names[direction.name]} and {direction.index} of pack {pack.name!r} are both named "
                f"{direction.name!r}. Give each a name of its own."
            )
        names[direction.name] = direction.index
    checked_names(names, pack.num_directions)
    return dict(sorted(names.items()))


def _safe_ranges_to_json(pack: DirectionPack) -> list[Range | None] | None:
    ranges = [checked_safe_range(direction.safe_range, direction.index) for direction in pack]
    if not pack.is_measured:
        return None
    if None in ranges:
        unmeasured = [direction.label for direction in pack if direction.safe_range is None]
        raise PackError(
            f"pack {pack.name!r} has safe ranges of some directions and none of {len(unmeasured)} others (the first: "
            f"{unmeasured[0]}), which format {FORMAT_VERSION} can't hold. Measure all of them (ganaug evaluate "
            "--measure-ranges), or take safe ranges away (safe_range = None) from all."
        )
    return [None if interval == NOWHERE else interval for interval in ranges]


def _is_half_moved(folder: Path) -> bool:
    """Whether a training run of ganaug's was killed while its pack was put in place."""
    return (folder / DIRECTIONS_FILE).is_file() and kind_of(folder) == UNFINISHED


def _is_pack(folder: Path) -> bool:
    try:
        return "format_version" in read_json(located(folder, CONFIG_FILE))
    except FileError:
        return False
