"""A generator's folder, and its way to the Hub: what is refused, and what is said when something fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

from ganaug.errors import FileError, GeneratorError, UserError
from ganaug.files import read_json
from ganaug.places import kind_of_config
from ganaug.swaps import located

# Bases of HfHubHTTPError are the errors of the HTTP library, another one in other versions of huggingface_hub.
OF_HTTP = cast(tuple[type[Exception], ...], HfHubHTTPError.__bases__)
HUB_ERRORS: tuple[type[Exception], ...] = (HFValidationError, OSError, *OF_HTTP)


def why_not_pushed(repo_id: str, error: Exception) -> str:
    """What to say when something could not be pushed."""
    told = " ".join(str(error).split())
    return (
        f"{repo_id!r} could not be pushed to the Hub: {told} Log in (hf auth login) with an account that may write "
        "there, check the connection and the name (org/name), and push again."
    )


@contextmanager
def pushing(repo_id: str) -> Iterator[None]:
    """Whatever goes wrong between here and the Hub is a :class:`GeneratorError` that says so and what to do."""
    try:
        yield
    except HUB_ERRORS as error:
        raise GeneratorError(why_not_pushed(repo_id, error)) from error
    except UserError as error:
        raise GeneratorError(str(error)) from error


def check_repository(repo_id: str, wanted: str, *, token: str | bool | None, revision: str | None) -> None:
    """Refuse a Hub repository in which a push would replace what is not of the same kind.

    Args:
        wanted: the kind, ``"a pack"`` or ``"a generator"``.

    Raises:
        UserError: its config.json is of something else, or it has a README.md and no config.json.
    """
    try:
        names = HfApi(token=token).list_repo_files(repo_id, revision=revision)
    except (RepositoryNotFoundError, RevisionNotFoundError):
        return

    def text(name: str) -> str:
        held = Path(hf_hub_download(repo_id, name, revision=revision, token=token))
        return held.read_text("utf-8", errors="replace")

    if "config.json" in names:
        kind = kind_of_config(text("config.json")) or "something else's"
        foreign = f"config.json, which is {kind}, not {wanted}" if kind != wanted else ""
    else:
        card = text("README.md") if "README.md" in names else ""
        body = card.split("\n---", 1)[-1] if card.startswith("---") else card  # the website writes a head alone
        foreign = "README.md, and no config.json" if body.strip("- \r\n") else ""
    if foreign:
        raise UserError(
            f"the Hub's {repo_id} holds {foreign}; it would be overwritten, and nothing was pushed. Push to a "
            "repository of its own."
        )


def check_place(folder: Path, *names: str) -> None:
    """Refuse a folder in which a generator's files would replace what is no generator.

    Args:
        names: of a generator's files, its config first.

    Raises:
        GeneratorError: it is a file, a pack's folder, or holds a file of these names that is no generator's.
    """
    if str(folder) == "" or (os.path.lexists(folder) and not os.path.isdir(folder)):
        raise GeneratorError(f"{folder} is a file; a generator is a folder. Choose another name.")
    try:
        config = read_json(located(folder, names[0]))
    except FileError:
        config = {}
    taken = [name for name in names if os.path.lexists(folder / name)]
    if taken and ("architecture" not in config or "format_version" in config):
        what = "a pack" if "format_version" in config else "no generator, but a file of a name that generators have"
        raise GeneratorError(
            f"{folder} holds {what}: {folder / taken[0]} would be overwritten. Choose another folder, or move it away."
        )
