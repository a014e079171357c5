"""Checked settings: dataclasses, KEY=VALUE and TOML."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganaug.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib
import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from typing_extensions import Self


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; :class:`SettingsError` names it when it is missing or not TOML."""
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"there is no recipe {path}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    return content


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """``["steps=100", "schedule=cosine"]`` to ``{"steps": 100, "schedule": "cosine"}``; values as in TOML, or words."""
    parsed: dict[str, Any] = {}
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key:
            raise SettingsError(f"settings are given as key=value, got {override!r}.")
        try:
            parsed[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed[key] = value
    return parsed


@dataclass(frozen=True)
class Settings:
    """Checked settings with defaults; subclasses are frozen dataclasses of numbers and choices."""

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    least: ClassVar[Mapping[str, int]] = {}
    """Of settings that may be 0, or must be more than 1; all others are positive."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in self.choices:
                if value not in self.choices[field.name]:
                    raise SettingsError(
                        f"{field.name} should be one of {', '.join(self.choices[field.name])}; got {value!r}."
                    )
                continue
            kind = type(field.default)
            if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
                raise SettingsError(
                    f"{field.name} should be {'an integer' if kind is int else 'a number'}, got {value!r}."
                )
            least = self.least.get(field.name)
            if least is not None and not value >= least:
                raise SettingsError(f"{field.name} should be at least {least}, got {value!r}.")
            if least is None and not value > 0:
                raise SettingsError(f"{field.name} should be positive, got {value!r}.")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Build settings from a recipe's table, naming unknown keys.

        Raises:
            SettingsError: an unknown key, a wrong type or a value out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(values.keys() - set(known)):
            raise SettingsError(f"unknown setting {', '.join(unknown)}. Known: {', '.join(known)}.")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
