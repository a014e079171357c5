"""What lies where a path or a name points, and what there is near a mistyped one: one answer for all commands."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ganaug.errors import FileError
from ganaug.files import read_json
from ganaug.swaps import located

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
CHECKPOINT_ENDINGS = (".pt", ".pth", ".tar", ".pkl", ".bin")
UNFINISHED = "an unfinished run of ganaug train (go on with --resume)"
LOOKED_AT = 200
"""Entries of a folder that are looked at to say what it is; no more, since a data set may have millions."""


def kind_of(path: Path) -> str:
    """What a path is, as words after "which is": "a pack", "a generator", "a folder of images", "a file", ..."""
    if not path.is_dir():
        return _kind_of_file(path)
    if kind := _kind_of_record(_config(path)):
        return kind
    if (path / "checkpoint.pt").is_file() and (path / "metrics.jsonl").is_file():
        return UNFINISHED
    if (path / "index.html").is_file() and (path / ".ganaug").is_file():
        return "a page of ganaug show"
    found = [*_some(path)]
    below = [entry for folder in found[:20] if folder.is_dir() for entry in _some(folder)]
    if any(entry.suffix.lower() in IMAGE_ENDINGS for entry in (*found, *below)):
        return "a folder of images"
    return "a folder" if found else "an empty folder"


def kind_of_config(text: str) -> str:
    """What the text of a config.json is of: "a pack", "a generator", or nothing where it is of neither."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    return _kind_of_record(content) if isinstance(content, dict) else ""


def _kind_of_record(config: dict[str, Any]) -> str:
    return "a pack" if "format_version" in config else "a generator" if "architecture" in config else ""


def exists(path: str | Path) -> bool:
    """Whether anything lies at a path; False for what can't be one, such as the empty string or a name too long."""
    return str(path) != "" and os.path.lexists(path)


def is_folder(path: str | Path) -> bool:
    """As ``os.path.isdir``, False for the empty string, which ``Path`` takes for the folder one is in."""
    return str(path) != "" and os.path.isdir(path)


def did_you_mean(given: str | Path, *, also: Iterable[str] = (), wanted: str = "") -> str:
    """ " Did you mean runs/photos-gen, which is a generator, not a pack?", or nothing where nothing is near.

    Args:
        given: what was typed and is not there. Its neighbours on disk are compared with it, part by part.
        also: names that would do as well, such as those of bundled packs.
        wanted: what kind it should be, "a pack"; what is near and is another kind is told apart.
    """
    near = difflib.get_close_matches(str(given), [*also], n=1, cutoff=0.7)
    paths = _near_paths(Path(given))
    if not paths or (near and _likeness(given, near[0]) >= _likeness(given, paths[0])):
        return f" Did you mean {near[0]}?" if near else ""
    kind = kind_of(paths[0])
    apart = f", not {wanted}" if wanted and kind != wanted else ""
    return f" Did you mean {spelled(paths[0])}, which is {kind}{apart}?"


def _likeness(given: str | Path, found: str | Path) -> float:
    return difflib.SequenceMatcher(None, str(given), str(found)).ratio()


def _config(folder: Path) -> dict[str, Any]:
    """What a folder's config.json holds; nothing where there is none, or one that is no JSON object."""
    try:
        return read_json(located(folder, "config.json"))
    except FileError:
        return {}


def spelled(path: Path) -> str:
    """A path as it is typed after a command; the folder one is in by its full path."""
    return str(path.resolve()) if str(path) in (".", "..") else str(path)


def _near_paths(given: Path) -> list[Path]:
    """Paths that are there and nearest to one that is not: its parents are taken as they are, or the nearest ones."""
    if str(given) in ("", ".", "..", given.anchor):
        return []
    parents = [given.parent] if is_folder(given.parent) else _near_paths(given.parent)[:1]
    if not parents or not parents[0].is_dir():
        return []
    names = {entry.name: entry for entry in _some(parents[0], most=10_000)}
    folded: dict[str, Path] = {name.lower(): entry for name, entry in names.items()}
    near = difflib.get_close_matches(given.name.lower(), folded, n=3, cutoff=0.6)
    return [parents[0] / folded[name].name for name in near]


def _some(folder: Path, *, most: int = LOOKED_AT) -> list[Path]:
    """Some entries of a folder, hidden ones left out; none of what can't be read."""
    try:
        with os.scandir(folder) as entries:
            shown = (Path(entry.path) for entry in entries if not entry.name.startswith("."))
            return [entry for entry, _ in zip(shown, range(most), strict=False)]
    except OSError:
        return []


def _kind_of_file(path: Path) -> str:
    ending = path.suffix.lower()
    if ending in IMAGE_ENDINGS:
        return "an image"
    if ending == ".toml":
        return "a recipe"
    if ending in CHECKPOINT_ENDINGS:
        return "a checkpoint (ganaug convert reads it)"
    return "a bank or another file of tensors" if ending == ".safetensors" else "a file"
