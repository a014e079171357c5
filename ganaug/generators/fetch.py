"""Files of a Hub repository, fetched whole into the Hub's cache: asked for first, with sizes, then downloaded."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from huggingface_hub import (
    HfFileMetadata,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import EntryNotFoundError

from ganaug.errors import FileError, GeneratorError
from ganaug.files import read_json
from ganaug.generators.hub import at_the_hub, may_pass, why_not_fetched, why_not_reached

CONFIG_MOST = 16 * 10**6
WEIGHTS_MOST = 20 * 10**9
"""Bytes of a config.json, and of a network's weights: larger ones are not fetched."""

REPOSITORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")
ETAG = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,199}")  # the cache makes a file's name of it


def fetch(
    repo_id: str,
    files: Mapping[str, int],
    *,
    needed: Callable[[dict[str, Any]], Iterable[str]],
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    token: str | bool | None = None,
) -> Path:
    """The folder in the Hub's cache that holds a repository's files of some names, downloaded if need be.

    One request says whether the Hub can be reached and which commit is meant; if that is in the cache, nothing more is
    asked. Otherwise the size of every file is asked for before the first is downloaded. config.json comes last, so that
    where it is, the others are. If the Hub is out of reach or in trouble, a whole copy in the cache is taken, with a
    warning unless HF_HUB_OFFLINE asks for it.

    Args:
        files: names, config.json among them, and how many bytes each may have at most. Those that the repository lacks
            are left out; others that it has are not looked at.
        needed: of what config.json holds, the names of the files without which a copy in the cache is not whole.
        revision, cache_dir, local_files_only, force_download, token: as in ``huggingface_hub.hf_hub_download``.

    Raises:
        GeneratorError: it can't be had; the message is the end of a sentence that begins with what was asked for.
    """
    check_revision(revision)
    cache = _cache(cache_dir)

    def cached(name: str, of: str | None) -> Path | None:
        path = try_to_load_from_cache(repo_id, name, cache_dir=cache, revision=of)
        return Path(path) if isinstance(path, str) else None

    def whole(of: str | None) -> Path | None:
        config = None if force_download else cached("config.json", of)
        return config.parent if config is not None and _is_whole(config.parent, needed) else None

    def ask(name: str, of: str | None) -> HfFileMetadata:
        url = hf_hub_url(repo_id, name, revision=of)
        return get_hf_file_metadata(url, token=token, timeout=constants.HF_HUB_ETAG_TIMEOUT)

    def explain(error: Exception) -> str:
        also = "" if held is None else " A copy is in the cache: local_files_only=True or HF_HUB_OFFLINE=1 takes it."
        return why_not_fetched(error, repo_id, revision, cache) + also

    held: Path | None = None
    with at_the_hub(explain, GeneratorError):
        held = whole(revision)
        if held is not None and (local_files_only or COMMIT.fullmatch(revision or "")):
            return held
        if local_files_only:
            raise GeneratorError(f"{repo_id} was not fetched from the Hub before, and local_files_only=True was asked.")
        try:
            first = ask("config.json", revision)
        except EntryNotFoundError as error:
            raise GeneratorError(
                f"the Hub's {repo_id} has no config.json, so it is no pack and no generator."
            ) from error
        except Exception as error:  # of the HTTP library, another one in other versions; raised again but for a copy
            if held is None or not may_pass(error):
                raise
            return _in_place_of_the_hub(held, repo_id, why_not_reached(error))
        commit = first.commit_hash or ""
        if not COMMIT.fullmatch(commit):
            if held is not None:
                return _in_place_of_the_hub(held, repo_id, f"what answers at {constants.ENDPOINT} names no commit")
            raise GeneratorError(
                f"what answers at {constants.ENDPOINT} is not the Hub: it names no commit. Look whether this network "
                "wants a login in the browser first, and at the proxy and HF_ENDPOINT."
            )
        if (found := whole(commit)) is not None:
            return found
        asked = {"config.json": first}
        for name in files.keys() - asked.keys():
            with suppress(EntryNotFoundError):
                asked[name] = ask(name, commit)
        sizes = {name: _checked_size(repo_id, name, about, commit, files[name]) for name, about in asked.items()}
        kept = {} if force_download else {name: cached(name, commit) for name in asked}
        paths = {name: path for name, path in kept.items() if path is not None and path.stat().st_size == sizes[name]}
        missing = sorted(asked.keys() - paths.keys() | {"config.json"}, key=lambda name: (name == "config.json", name))
        _check_room(cache, sum(sizes[name] for name in missing))
        for name in missing:
            of = revision if name == "config.json" else commit  # of a branch, the cache keeps the commit
            again = force_download or (kept.get(name) is not None and name not in paths)
            paths[name] = _downloaded(repo_id, name, of, cache, again, token)
        folder = paths["config.json"].parent
        if any(path.parent != folder for path in paths.values()):
            raise GeneratorError(f"the Hub's {repo_id} changed while it was fetched. Try again.")
    return folder


def _downloaded(
    repo_id: str, name: str, revision: str | None, cache: Path, again: bool, token: str | bool | None
) -> Path:
    path = hf_hub_download(
        repo_id,
        name,
        revision=revision,
        cache_dir=cache,
        force_download=again,
        token=token,
        etag_timeout=constants.HF_HUB_ETAG_TIMEOUT,
    )
    return Path(path)


def _in_place_of_the_hub(held: Path, repo_id: str, why: str) -> Path:
    if not constants.HF_HUB_OFFLINE:
        warnings.warn(
            f"{repo_id} is taken from the cache as it was fetched last (commit {held.name:.40}), since {why}.",
            stacklevel=2,
        )
    return held


def check_repository_id(repo_id: str) -> None:
    """``GeneratorError`` for what can be no Hub repository, such as a path."""
    if not REPOSITORY.fullmatch(repo_id) or ".." in repo_id or "--" in repo_id or len(repo_id) > 120:
        raise GeneratorError(f"a Hub repository is named org/name, got {repo_id!r:.100}.")


def check_revision(revision: str | None) -> None:
    """``GeneratorError`` for what can be no branch, tag or commit, since the cache makes a path of it."""
    if revision is None:
        return
    is_text = isinstance(revision, str) and 0 < len(revision) < 200 and revision.isascii() and revision.isprintable()
    if not is_text or re.search(r"^[/.-]|\.\.|//|/\.|[\s\\~^:?*\[]|/$", revision):
        raise GeneratorError(f"a revision is a branch, tag or commit, got {revision!r:.100}.")


def _cache(cache_dir: str | Path | None) -> Path:
    try:
        return Path(constants.HF_HUB_CACHE if cache_dir is None else cache_dir).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # no home folder, a loop of links, a null byte
        raise GeneratorError(
            f"there is no folder to keep what comes from the Hub: {error} Set HF_HOME or pass cache_dir=..."
        ) from error


def _is_whole(folder: Path, needed: Callable[[dict[str, Any]], Iterable[str]]) -> bool:
    try:
        config = read_json(folder / "config.json")
    except FileError:
        return False
    return all((folder / name).is_file() for name in needed(config))


def _checked_size(repo_id: str, name: str, about: HfFileMetadata, commit: str, most: int) -> int:
    if about.commit_hash != commit:
        raise GeneratorError(f"the Hub's {repo_id} changed while it was fetched. Try again.")
    if about.etag is None or not ETAG.fullmatch(about.etag) or about.size is None or about.size < 0:
        raise GeneratorError(
            f"the Hub's answer about {name} of {repo_id} is not whole: it lacks a size or an ETag. Look at the proxy "
            "and HF_ENDPOINT, and try again."
        )
    if about.size > most:
        raise GeneratorError(
            f"{name} of the Hub's {repo_id} is said to have {_bytes(about.size)}, and ganaug fetches at most "
            f"{_bytes(most)} of such a file. Nothing was downloaded."
        )
    return about.size


def _check_room(cache: Path, size: int) -> None:
    there = next(place for place in (cache, *cache.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise GeneratorError(
            f"{_bytes(size)} are to be downloaded into {cache}, where {_bytes(free)} are free. Make room, or set "
            "HF_HOME or cache_dir=... to another disk."
        )


def _bytes(size: int) -> str:
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}" if size < 1000 * factor else f"more than 1000 {unit}"
    return f"{size} bytes"
