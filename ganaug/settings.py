"""Checked settings: name, type, choices, default, range and help stand in a dataclass alone; KEY=VALUE and TOML."""

from __future__ import annotations

import dataclasses
import math
import sys
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from typing_extensions import Self

from ganaug.errors import FileError, SettingsError
from ganaug.files import MOST_JSON, check_depth, read_bytes
from ganaug.places import did_you_mean, exists, kind_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FARTHEST = 1e4
"""The largest magnitude that is taken, in latent units; latents themselves are about 10 long."""

T = TypeVar("T")
NUMBERS = {int: "an integer", float: "a number"}
SWITCH = {"on": True, "off": False}
"""How recipes and packs of the first versions wrote a boolean."""


def setting(default: T, help: str, *, least: float | None = None, most: float | None = None) -> T:
    """A field of a :class:`Settings` class.

    Args:
        help: what it is, in a line or two, for the command line's help.
        least: the smallest number allowed; without it numbers are positive.
        most: the largest number allowed.
    """
    field: T = dataclasses.field(default=default, metadata={"help": help, "least": least, "most": most})
    return field


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Checked settings with defaults.

    Subclasses are frozen dataclasses whose fields are made by :func:`setting` and annotated ``int``, ``float``,
    ``bool`` or ``Literal`` of words.
    """

    def __post_init__(self) -> None:
        for field, kind in _fields(type(self)):
            _check(field, kind, getattr(self, field.name))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Build settings from a recipe's table, naming unknown keys. Booleans may also be the words on and off.

        Raises:
            SettingsError: an unknown key, a wrong type or a value out of range.
        """
        kinds = {field.name: kind for field, kind in _fields(cls)}
        if unknown := sorted(values.keys() - kinds.keys()):
            raise SettingsError(f"unknown setting {', '.join(unknown)}. Known: {', '.join(kinds)}.")
        return cls(
            **{
                name: SWITCH.get(value, value) if kinds[name] is bool and isinstance(value, str) else value
                for name, value in values.items()
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, in their order."""
        return dataclasses.asdict(self)


def settings_help(cls: type[Settings], *, width: int = 100) -> str:
    """Every setting on a line, ``NAME=DEFAULT   HELP; CHOICE | CHOICE``, aligned; long helps go on below themselves.

    Args:
        width: of the longest line, in characters.
    """
    rows = []
    for field, kind in _fields(cls):
        choices = f"; {' | '.join(get_args(kind))}" if get_origin(kind) is Literal else ""
        rows.append((f"{field.name}={_word(field.default)}", field.metadata.get("help", "") + choices))
    left = max(len(word) for word, _ in rows) + 3
    lines: list[str] = []
    for word, text in rows:
        first, *more = textwrap.wrap(text, max(width - left, 20)) or [""]
        lines += [f"{word:{left}}{first}".rstrip(), *(" " * left + line for line in more)]
    return "\n".join(lines)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; :class:`SettingsError` names it when it is missing or not TOML."""
    try:
        content: dict[str, Any] = tomllib.loads(read_bytes(path, most=MOST_JSON).decode("utf-8"))
        check_depth(content)
    except FileError as error:
        if exists(path):
            raise SettingsError(f"{path} is {kind_of(path)}, not a recipe ({error}).") from error
        near = did_you_mean(path, wanted="a recipe")
        raise SettingsError(
            f"there is no recipe {path}.{near} Those of the bundled packs lie in ganaug's repository; without one: "
            "--generator."
        ) from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    return content


def parse_settings(words: Iterable[str]) -> dict[str, Any]:
    """``["steps=100", "schedule=cosine"]`` to ``{"steps": 100, "schedule": "cosine"}``; values as in TOML, or words.

    Raises:
        SettingsError: a word without ``=``, or without a key before it.
    """
    parsed: dict[str, Any] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator or not key:
            raise SettingsError(f"settings are given as key=value, got {word!r}.")
        try:
            parsed[key] = tomllib.loads(f"value = {value}")["value"]
        except (ValueError, RecursionError):  # TOMLDecodeError is one; another is a number of too many digits
            parsed[key] = value
    return parsed


def _fields(cls: type[Settings]) -> list[tuple[dataclasses.Field[Any], Any]]:
    """The fields of a settings class, each with its type."""
    kinds = get_type_hints(cls)
    return [(field, kinds[field.name]) for field in dataclasses.fields(cls)]


def _check(field: dataclasses.Field[Any], kind: Any, value: Any) -> None:
    """Raise :class:`SettingsError` unless a value is of the field's type and in its range."""
    name = field.name
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise SettingsError(f"{name} should be one of {', '.join(get_args(kind))}; got {value!r}.")
        return
    if kind is bool:
        if not isinstance(value, bool):
            raise SettingsError(f"{name} should be true or false, got {value!r}.")
        return
    if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
        raise SettingsError(f"{name} should be {NUMBERS[kind]}, got {value!r}.")
    least, most = field.metadata.get("least"), field.metadata.get("most")
    if least is None and not value > 0:
        raise SettingsError(f"{name} should be positive, got {value!r}.")
    if least is not None and not value >= least:
        raise SettingsError(f"{name} should be at least {least}, got {value!r}.")
    if most is not None and not value <= most:
        raise SettingsError(f"{name} should be at most {most}, got {value!r}.")
    if not (math.isfinite(value) if kind is float else abs(value) < 2**63):
        raise SettingsError(f"{name} should be {NUMBERS[kind]} of a size that can be, got {value!r:.80}.")


def _word(value: object) -> str:
    """A default as it is typed: ``false``, ``1e-3``, ``0.25``, ``unit``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and 0 < abs(value) < 1e-2:
        mantissa, exponent = f"{value:e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return str(value)
