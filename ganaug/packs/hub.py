"""Where packs are: with ganaug, in a folder, or on the Hub."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ganaug.errors import PackError, UserError
from ganaug.generators.generator import CONFIG_FILE, Generator
from ganaug.generators.hub import HUB_ERRORS, check_repository, why_not_pushed
from ganaug.packs.format import ENCODER_FILE, PACK_FILES, PREVIEW_FILE, write_pack
from ganaug.places import did_you_mean, exists, is_folder, kind_of, spelled

if TYPE_CHECKING:
    from ganaug.packs.pack import DirectionPack


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
    with _as_pack_errors(lambda error: _why_not_fetched(error, text, revision)):
        folder = snapshot_download(text, revision=revision, allow_patterns=list(PACK_FILES), **options)
    return Path(folder), text


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

    with _as_pack_errors(why_not):
        full_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        check_repository(full_id, "a pack", token=token, revision=revision)
    with tempfile.TemporaryDirectory() as scratch:
        write_pack(pack, Path(scratch), called=full_id)
        gone = [name for name in (ENCODER_FILE, PREVIEW_FILE) if not Path(scratch, name).exists()]
        with _as_pack_errors(why_not):
            commit = api.upload_folder(
                repo_id=full_id,
                folder_path=scratch,
                commit_message=commit_message,
                revision=revision,
                delete_patterns=gone,
            )
    return str(commit.commit_url)


@contextmanager
def _as_pack_errors(explain: Callable[[Exception], str]) -> Iterator[None]:
    """Whatever goes wrong between here and the Hub is a ``PackError`` that says what ``explain`` makes of it."""
    try:
        yield
    except HUB_ERRORS as error:
        raise PackError(explain(error)) from error
    except UserError as error:
        raise PackError(str(error)) from error


def _why_not_fetched(error: Exception, repo_id: str, revision: str | None) -> str:
    if isinstance(error, RevisionNotFoundError):
        return f"{repo_id} on the Hub has no revision {revision!r}."
    if isinstance(error, GatedRepoError):
        return f"{repo_id} on the Hub is gated: accept its terms there and log in (hf auth login)."
    near = did_you_mean(repo_id, also=bundled_packs(), wanted="a pack")
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"there is no bundled pack, no folder and no public Hub repository {repo_id!r}.{near} {_known()} "
            "For a private repository, log in (hf auth login) or pass token=..."
        )
    if isinstance(error, LocalEntryNotFoundError):
        return (
            f"there is no bundled pack and no folder {repo_id!r}.{near} {_known()} As a Hub id it was not fetched "
            "before, and the Hub can't be reached (no connection, HF_HUB_OFFLINE or local_files_only)."
        )
    told = " ".join(str(error).split())
    return f"there is no folder {repo_id!r}, and it could not be fetched from the Hub: {told}{near}"


def _bundled_roots() -> list[Path]:
    """Where bundled packs lie: in a wheel inside the package, in a checkout beside it."""
    package = Path(__file__).resolve().parents[1]
    roots = (package / "pretrained_directions", package.parent / "pretrained_directions")
    return [root for root in roots if root.is_dir()][:1]


def _known() -> str:
    return f"Bundled packs: {', '.join(bundled_packs()) or 'none'}."
