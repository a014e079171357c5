"""Where packs are: with ganaug, in a folder, or on the Hub."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi

from ganaug.errors import GeneratorError, PackError
from ganaug.generators import ModuleGenerator
from ganaug.generators.fetch import CONFIG_MOST, WEIGHTS_MOST, fetch
from ganaug.generators.generator import CONFIG_FILE, WEIGHTS_FILE, Generator
from ganaug.generators.hub import at_the_hub, check_repository, why_not_pushed
from ganaug.packs.format import (
    CARD_FILE,
    DIRECTIONS_FILE,
    DOMAIN_FILE,
    ENCODER_FILE,
    PREVIEW_FILE,
)
from ganaug.packs.write import write_pack
from ganaug.places import did_you_mean, exists, is_folder, kind_of, spelled

if TYPE_CHECKING:
    from ganaug.packs.pack import DirectionPack

FETCHED = {
    CONFIG_FILE: CONFIG_MOST,
    DIRECTIONS_FILE: 256 * 10**6,
    WEIGHTS_FILE: WEIGHTS_MOST,
    ENCODER_FILE: WEIGHTS_MOST,
    DOMAIN_FILE: 256 * 10**6,
    CARD_FILE: 4 * 10**6,
    PREVIEW_FILE: 64 * 10**6,
}
"""What is fetched of a repository, and how many bytes of each at most."""


def bundled_packs() -> dict[str, Path]:
    """Names and folders of the packs that come with ganaug."""
    for root in _bundled_roots():
        return {folder.name: folder for folder in sorted(root.iterdir()) if (folder / CONFIG_FILE).is_file()}
    return {}


def find_pack(name: str | Path, *, revision: str | None, **options: Any) -> tuple[Path, str]:
    """The folder of a bundled pack, a folder or a Hub repository, downloaded if need be; and what loads the pack.

    Args:
        revision, options: for the Hub, as in ``huggingface_hub.snapshot_download``.

    Raises:
        PackError: nothing is found under the name; the message says what is near, and what that is.
    """
    if not isinstance(name, (str, Path)):
        more = " A pack holds directions too; discover(generator) finds some." if isinstance(name, Generator) else ""
        raise PackError(f"a pack is a bundled name, a folder or a Hub id, got a {type(name).__name__}.{more}")
    text, bundled = str(name), bundled_packs()
    if isinstance(name, str) and text in bundled:
        return bundled[text], text
    if not text.strip():
        raise PackError(f"a pack is a bundled name, a folder or a Hub id, got an empty name. {_known()}")
    if is_folder(text):
        return Path(text), loadable(text)
    if exists(text):
        raise PackError(f"{text} is {kind_of(Path(text))}, not a pack, which is a folder.")
    if isinstance(name, Path):
        near = did_you_mean(text, wanted="a pack")
        raise PackError(f"there is no folder {text!r}.{near} Pass a bundled name or a Hub id as a string.")
    if not is_hub_id(text):
        near = did_you_mean(text, also=bundled, wanted="a pack")
        raise PackError(
            f"there is no bundled pack and no folder {text!r}.{near} {_known()} Hub ids look like org/name."
        )
    try:
        return fetch_pack(text, revision=revision, **options), text
    except GeneratorError as error:
        near = did_you_mean(text, also=bundled, wanted="a pack")
        raise PackError(f"there is no bundled pack and no folder {text!r}, and {error}{near}") from error


def fetch_pack(repo_id: str, *, revision: str | None, **options: Any) -> Path:
    """The folder in the Hub's cache of a repository that may hold a pack or a generator.

    Raises:
        GeneratorError: as of :func:`ganaug.generators.fetch.fetch`.
    """
    return fetch(repo_id, FETCHED, needed=_needed, revision=revision, **options)


def _needed(config: Mapping[str, Any]) -> list[str]:
    """Files without which a folder with such a config.json is no whole pack or generator."""
    if "format_version" not in config:
        return [WEIGHTS_FILE] if "architecture" in config else []
    entry = config.get("generator")
    is_inside = isinstance(entry, dict) and not entry.get("source")
    needed = [DIRECTIONS_FILE]
    if is_inside and isinstance(entry, dict) and entry.get("architecture") != ModuleGenerator.architecture:
        needed.append(WEIGHTS_FILE)
    return [*needed, ENCODER_FILE] if config.get("encoder") else needed


def loadable(folder: str | Path) -> str:
    """How a pack's folder is spelled so that :func:`find_pack` finds it from here: as it was typed, if that will do."""
    path = Path(folder)
    if path.resolve().parent in _bundled_roots():
        return path.resolve().name
    text = spelled(path)
    return f"./{text}" if text in bundled_packs() else text


def is_hub_id(text: str) -> bool:
    """Whether a name is spelled as a Hub id, ``org/name``, and not as a path."""
    return text.count("/") == 1 and not text.startswith((".", "/", "~")) and not text.endswith("/")


def push_pack(
    pack: DirectionPack,
    repo_id: str,
    *,
    private: bool | None,
    token: str | None,
    revision: str | None,
    commit_message: str,
) -> str:
    """What :meth:`DirectionPack.push_to_hub` does."""
    api = HfApi(token=token)

    def why_not(error: Exception) -> str:
        return why_not_pushed(repo_id, error)

    with at_the_hub(why_not, PackError):
        full_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        check_repository(full_id, "a pack", token=token, revision=revision)
    with tempfile.TemporaryDirectory() as scratch:
        write_pack(pack, Path(scratch), called=full_id)
        gone = [name for name in (ENCODER_FILE, PREVIEW_FILE) if not Path(scratch, name).exists()]
        with at_the_hub(why_not, PackError):
            commit = api.upload_folder(
                repo_id=full_id,
                folder_path=scratch,
                commit_message=commit_message,
                revision=revision,
                delete_patterns=gone,
            )
    return str(commit.commit_url)


def _bundled_roots() -> list[Path]:
    """Where bundled packs lie: in a wheel inside the package, in a checkout beside it."""
    package = Path(__file__).resolve().parents[1]
    roots = (package / "pretrained_directions", package.parent / "pretrained_directions")
    return [root for root in roots if root.is_dir()][:1]


def _known() -> str:
    return f"Bundled packs: {', '.join(bundled_packs()) or 'none'}."
