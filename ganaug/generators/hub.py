"""A generator's folder, and its way to the Hub: what is refused, and what is said when something fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ganaug.errors import FileError, GeneratorError, UserError
from ganaug.files import read_json
from ganaug.places import kind_of_config
from ganaug.swaps import located


@contextmanager
def at_the_hub(explain: Callable[[Exception], str], kind: type[UserError]) -> Iterator[None]:
    """Whatever goes wrong between here and the Hub is an error of ours that says what ``explain`` makes of it.

    Whatever: ``huggingface_hub`` lets through errors of its HTTP library, which is another one in other versions, of
    the JSON decoder, of the file system, and of Python's where an answer is not what it expects.
    """
    try:
        yield
    except UserError as error:
        raise kind(str(error)) from error
    except Exception as error:  # see above
        raise kind(explain(error)) from error


def why_not_pushed(repo_id: str, error: Exception) -> str:
    """What to say when something could not be pushed."""
    return (
        f"{repo_id!r} could not be pushed to the Hub: {_told(error)} Log in (hf auth login) with an account that may "
        "write there, check the connection and the name (org/name), and push again."
    )


def why_not_fetched(error: Exception, repo_id: str, revision: str | None, cache: Path) -> str:
    """What to say when a repository could not be fetched: what happened, with the status, and what to do."""
    status = _status(error)
    if isinstance(error, HFValidationError):
        return f"{repo_id!r} can't be a Hub id: {_told(error)} Hub ids look like org/name."
    if status == 429:
        return "the Hub says that there were too many requests (429). Wait a few minutes and try again."
    if status is not None and status >= 500:
        return f"the Hub is in trouble ({status}), and {repo_id} was not fetched before. Try again later."
    if isinstance(error, RevisionNotFoundError):
        return f"the Hub's {repo_id} has no revision {revision or 'main'!r} ({status}). Look at its branches and tags."
    if isinstance(error, GatedRepoError):
        return f"the Hub's {repo_id} is gated ({status}): accept its terms there and log in (hf auth login)."
    if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
        return (
            f"there is no public Hub repository {repo_id!r} ({status}). Check the name; for a private repository, log "
            "in (hf auth login) or pass token=..."
        )
    if status == 403:
        return (
            f"the Hub refuses access to {repo_id!r} (403). Log in (hf auth login) with an account that may read it, or "
            "ask its owner for access."
        )
    if status is not None and status >= 400:
        return (
            f"the Hub, or a proxy on the way to it, answers {status}. Look at the proxy and HF_ENDPOINT, and try again."
        )
    if isinstance(error, OfflineModeIsEnabled):
        return f"the Hub can't be reached (HF_HUB_OFFLINE is set), and {repo_id} was not fetched before."
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError | TimeoutError):
        return (
            f"the Hub's cache can't be used: {error.filename or cache}: {error.strerror}. Make room or give leave, or "
            "set HF_HOME or cache_dir=... to another folder."
        )
    if _is_of_connection(error):
        return (
            f"the Hub can't be reached ({constants.ENDPOINT}: {_told(error).rstrip('.')}), and {repo_id} was not "
            "fetched before. Check the connection, the proxy and the name."
        )
    told = _told(error).split(". ")[0].rstrip(".")
    return (
        f"{repo_id!r} could not be fetched from the Hub, or from what answers in its place ({type(error).__name__}: "
        f"{told}). Check the connection, the proxy and HF_ENDPOINT, and try again."
    )


def why_not_reached(error: Exception) -> str:
    """The same in a few words, of what :func:`may_pass`."""
    status = _status(error)
    return f"the Hub answers {status}" if status is not None else f"the Hub can't be reached ({type(error).__name__})"


def may_pass(error: Exception) -> bool:
    """Whether an error says nothing about the repository, so that a copy in the cache is as good as before."""
    status = _status(error)
    return status >= 500 or status in (408, 429) if status is not None else not isinstance(error, HFValidationError)


def _status(error: BaseException) -> int | None:
    """Of the answer that led to an error, or to its cause."""
    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in chain:
        status = getattr(getattr(step, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        chain.append(step)
        step = step.__cause__
    return None


def _is_of_connection(error: Exception) -> bool:
    """Whether it is of a connection; HTTP libraries name those alike."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(
        names & {"ConnectionError", "ConnectError", "Timeout", "TimeoutException", "TimeoutError", "NetworkError"}
    )


def _told(error: Exception) -> str:
    """An error's own words on one line, printable, cut, and with a full stop."""
    words = " ".join(str(error).split()) or type(error).__name__
    plain = "".join(character if character.isprintable() else "?" for character in words)
    return f"{plain[:300]}..." if len(plain) > 300 else plain if plain.endswith((".", "!", "?")) else f"{plain}."


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
