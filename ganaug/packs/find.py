"""A generator from whatever a person types: a generator's folder, a pack, or a Hub id of either."""

from __future__ import annotations

from pathlib import Path

from ganaug.errors import FileError, GeneratorError, PackError
from ganaug.generators import Generator
from ganaug.packs.hub import bundled_packs, fetch_pack, is_hub_id
from ganaug.packs.pack import DirectionPack
from ganaug.places import did_you_mean, exists, is_folder, kind_of


def load_generator(name: str | Path) -> Generator:
    """A frozen generator from a generator's folder, a bundled pack, a pack's folder, or a Hub id of either.

    Raises:
        GeneratorError: nothing of the kind is found; the message says what lies there, and what is near.
    """
    if not isinstance(name, (str, Path)):
        raise GeneratorError(f"a generator is given as a folder or a Hub id, got a {type(name).__name__}.")
    text = str(name)
    try:
        if text in bundled_packs():
            return DirectionPack.from_pretrained(name).generator
        if is_folder(text):
            return _in_folder(Path(text))
        if exists(text):
            raise GeneratorError(f"{text} is {kind_of(Path(text))}, not a generator's folder, nor a pack's.")
        if not text.strip() or not is_hub_id(text):
            near = did_you_mean(text, also=bundled_packs(), wanted="a generator")
            raise GeneratorError(
                f"there is no generator {text!r}: no folder of one, and no pack.{near} Hub ids look like org/name."
            )
        try:
            folder = fetch_pack(text, revision=None)
        except GeneratorError as error:
            near = did_you_mean(text, also=bundled_packs(), wanted="a generator")
            told = f"there is no generator {text!r}: no folder of one, no pack, and {error}{near}"
            raise GeneratorError(told) from error
        if kind_of(folder) == "a pack":
            return DirectionPack.from_pretrained(text, revision=folder.name).generator  # the commit that is there
        return _in_folder(folder)
    except FileError as error:
        raise GeneratorError(str(error)) from error
    except PackError as error:
        raise GeneratorError(f"no generator {text!r}: {error}") from error


def _in_folder(folder: Path) -> Generator:
    kind = kind_of(folder)
    if kind == "a pack":
        return DirectionPack.from_pretrained(folder).generator
    if kind != "a generator":
        raise GeneratorError(
            f"{folder} is {kind}, not a generator's, nor a pack: a generator has config.json and generator.safetensors "
            "(ganaug convert writes them)."
        )
    return Generator.from_pretrained(folder).freeze()
