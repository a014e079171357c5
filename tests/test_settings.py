from dataclasses import dataclass
from typing import Literal

import pytest

from ganaug.errors import SettingsError
from ganaug.settings import Settings, parse_settings, read_toml, setting, settings_help
from ganaug.training import METHODS, DiscoverySettings, EncoderSettings

CLASSES = list(dict.fromkeys([EncoderSettings, *(method.settings for method in METHODS.values())]))


@dataclass(frozen=True, kw_only=True)
class Brew(Settings):
    """Settings of a pot of tea."""

    leaves: Literal["green", "black"] = setting("green", "which leaves")
    cups: int = setting(2, "how many", most=6)
    minutes: float = setting(2.5, "how long they draw", least=0)
    rate: float = setting(5e-4, "grams that dissolve a second")
    milk: bool = setting(False, "whether there is milk")


def test_values_are_read_as_in_toml_or_as_words():
    assert parse_settings(["a=1", "b=1e-3", "c=true", "d=word", 'e="quoted"', "f="]) == {
        "a": 1,
        "b": 1e-3,
        "c": True,
        "d": "word",
        "e": "quoted",
        "f": "",
    }


@pytest.mark.parametrize("word", ["steps", "=3"])
def test_words_that_are_no_setting_are_named(word):
    with pytest.raises(SettingsError, match=f"given as key=value, got '{word}'"):
        parse_settings([word])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cup": 1, "tea": 2}, "unknown setting cup, tea. Known: leaves, cups, minutes, rate, milk"),
        ({"leaves": "white"}, "leaves should be one of green, black; got 'white'"),
        ({"leaves": 3}, "leaves should be one of green, black; got 3"),
        ({"cups": 1.5}, "cups should be an integer, got 1.5"),
        ({"cups": True}, "cups should be an integer, got True"),
        ({"cups": 0}, "cups should be positive, got 0"),
        ({"cups": 7}, "cups should be at most 6, got 7"),
        ({"minutes": "long"}, "minutes should be a number, got 'long'"),
        ({"minutes": -1}, "minutes should be at least 0, got -1"),
        ({"minutes": float("nan")}, "minutes should be at least 0, got nan"),
        ({"rate": 0.0}, r"rate should be positive, got 0\.0"),
        ({"milk": "maybe"}, "milk should be true or false, got 'maybe'"),
        ({"milk": 1}, "milk should be true or false, got 1"),
    ],
)
def test_impossible_values_are_named(values, message):
    with pytest.raises(SettingsError, match=message):
        Brew.from_mapping(values)


def test_possible_values_are_taken_as_they_are():
    brew = Brew.from_mapping({"leaves": "black", "cups": 6, "minutes": 0, "milk": True})
    assert brew == Brew(leaves="black", cups=6, minutes=0, milk=True)
    assert brew.to_dict() == {"leaves": "black", "cups": 6, "minutes": 0, "rate": 5e-4, "milk": True}


def test_booleans_may_be_the_words_that_they_once_were():
    assert Brew.from_mapping({"milk": "on"}).milk is True and Brew.from_mapping({"milk": "off"}).milk is False
    with pytest.raises(SettingsError, match="leaves should be one of green, black; got 'on'"):
        Brew.from_mapping({"leaves": "on"})
    old = {"recompute": "on", "compile": "off", "steps": 5}
    assert DiscoverySettings.from_mapping(old) == DiscoverySettings(recompute=True, compile=False, steps=5)


def test_help_is_written_from_the_fields():
    assert settings_help(Brew).splitlines() == [
        "leaves=green   which leaves; green | black",
        "cups=2         how many",
        "minutes=2.5    how long they draw",
        "rate=5e-4      grams that dissolve a second",
        "milk=false     whether there is milk",
    ]


def test_long_help_goes_on_below_itself():
    lines = settings_help(Brew, width=40).splitlines()
    assert lines[:2] == ["leaves=green   which leaves; green |", "               black"]
    assert all(len(line) <= 40 for line in lines)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_setting_has_a_help_and_its_default_can_be_typed(kind):
    lines = settings_help(kind).splitlines()
    assert all(len(line) <= 100 for line in lines)
    words = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert kind.from_mapping(parse_settings(words)) == kind(), "what the help shows as defaults are the defaults"
    assert len(words) == len(kind().to_dict())
    assert all(line.split(maxsplit=1)[1:] for line in lines if not line.startswith(" ")), "each says what it is"


def test_toml_that_is_none_is_named(tmp_path):
    with pytest.raises(SettingsError, match="there is no recipe"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="is not valid TOML"):
        read_toml(tmp_path / "bad.toml")
