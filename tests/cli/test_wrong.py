"""Every command and every option, wrong in every simple way: one sentence, and nothing is written.

The tree of commands is walked as click knows it: a new option is covered by its type, a new command once it has a line
in ``RIGHT``.
"""

import re

import click
import pytest
from click.testing import CliRunner
from PIL import Image

from ganaug.cli.main import COMMANDS, main
from ganaug.settings import Settings, _fields
from ganaug.training import DiscoverySettings, EncoderSettings, GeneratorSettings

RIGHT = {
    "demo": "--out new --steps 1",
    "train": "--generator gen --out new method=random num_directions=2",
    "build": "photos --out new generator.iterations=1 directions.steps=1 encoder.steps=1",
    "train-generator": "photos --out new iterations=1 batch_size=2 flips=off",
    "train-encoder": "pack steps=1 batch_size=4",
    "show": "pack --out new --seeds 1",
    "name": "pack 0=light",
    "describe": "pack --samples 2",
    "evaluate": "pack --images digits:data --samples 2 --judge-steps 1",
    "convert": "checkpoint.pt --out new",
    "check": "photos",
    "bank": "pack new.safetensors --direction 0 --size 2",
    "invert": "photos --pack pack --classes cat,dog",
    "augment": "photos new --pack pack --direction 0 --classes cat,dog",
    "packs": "",
    "push": "pack org/name",
    "pull": "pack new",
}
"""For each command, arguments that would do (or fail late): the wrong value takes the place of one of them."""

FREE = {("pull", "revision"), ("push", "repo")}
"""Only the Hub knows of these what is wrong."""
FITTING = {("train-encoder", "images"): "photos", ("evaluate", "images"): "photos", ("show", "images"): "photos"}
"""Of the words that most parameters should refuse, one that is right here."""

LONG = "x" * 5000
NUMBERS = ["", " ", "x", "-1", "nan", "inf", "-inf", "1,5", "0x", "1" * 30, "9" * 5000, "1e400", "--", "None"]
PLACES = ["", " ", LONG, "file.txt/below"]
WORDS = ["", " ", LONG, "nowhere", "./nowhere", "file.txt", "photos", "nothing", "photos/cat/0.png", "a/b/c", "~/x"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with one of each kind."""
    import torch

    from ganaug.generators import SNGAN
    from ganaug.packs import DirectionPack

    here = tmp_path_factory.mktemp("here")
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=8, channels=3, num_classes=2, widths=(8, 8, 8, 8)).freeze()
    generator.save_pretrained(here / "gen")
    DirectionPack(torch.eye(8)[:3], generator=generator, names={"colour": 1}).save_pretrained(here / "pack")
    for label in ("cat", "dog"):
        (here / "photos" / label).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(here / "photos" / label / "0.png")
    for folder in ("nothing", "data"):
        (here / folder).mkdir()
    (here / "file.txt").write_text("mine")
    torch.save({"x": torch.ones(2)}, here / "checkpoint.pt")
    return here


def command_of(name):
    return main.get_command(click.Context(main), name)


def wrong_values(name, parameter):
    """Values that a parameter should refuse, by its type."""
    kind = parameter.type
    if (name, parameter.name) in FREE:
        return [""]
    if isinstance(kind, (click.types.IntParamType, click.types.FloatParamType)):
        least = ["0"] if kind.min != 0 or getattr(kind, "min_open", False) else []
        return [*NUMBERS, *least]
    if isinstance(kind, click.Choice):
        return ["", "x", "0", LONG]
    if isinstance(kind, click.Path):
        there = {"folder": ["nowhere", "file.txt"], "new folder": ["file.txt"], "new file": ["photos"]}
        return [*PLACES, *there.get(getattr(kind, "kind", ""), ["nowhere", "nothing", "file.txt"])]
    if isinstance(kind, click.types.FuncParamType):
        return ["", " ", "nowhere", "nan", "3,-3", "1,2,3", ",", "1e300", "-inf,inf", "9" * 5000, LONG]
    return [word for word in WORDS if FITTING.get((name, parameter.name)) != word]


def settings_of(name):
    """Wrong KEY=VALUE words of a command."""
    kinds = {"train": DiscoverySettings, "train-encoder": EncoderSettings, "train-generator": GeneratorSettings}
    words = ["x", "=1", "", "nonsense=1", "==", "steps"]
    settings: type[Settings] | None = kinds.get(name)
    for field, _ in _fields(settings) if settings else ():
        words += [f"{field.name}={value}" for value in ("", "x", "-1", "nan", "inf", "[]", "1e400")]
        words += [f"{field.name}={'9' * 30}"] if isinstance(field.default, int) else []
        words += [f"{field.name}=3" if isinstance(field.default, bool) else f"{field.name}=on"]
    return words


def calls(name):
    """Every wrong call of a command, as words."""
    right = RIGHT[name].split()
    yield [*right, "--nonsense"]
    yield [*right, "--nonsense=3"]
    arguments = [each for each in command_of(name).params if isinstance(each, click.Argument)]
    options = [each for each in command_of(name).params if isinstance(each, click.Option)]
    single = [each for each in arguments if each.nargs == 1]
    for place, argument in enumerate(single):
        yield right[:place] if len(single) == len(arguments) else []  # missing
        for value in wrong_values(name, argument):
            yield ["--", *right[:place], value, *right[place + 1 : len(single)]]
    if all(argument.nargs == 1 for argument in arguments):
        yield [*right, "extra"]
    for option in options:
        flag = max(option.opts, key=len)
        if flag == "--help":
            continue
        if option.is_flag:
            yield [*right, f"{flag}=x"]
            continue
        yield [*right, flag]
        without = re.sub(rf"{flag} \S+", "", RIGHT[name]).split()
        if option.required:
            yield without
        for value in wrong_values(name, option):
            yield [*without, f"{flag}={value}"]
        if option.multiple:
            yield [*without, flag, "1", flag, "1"]
    if any(argument.nargs == -1 for argument in arguments):
        base = ["--generator", "gen", "--out", "new"] if name == "train" else right[:1]
        base += ["--out", "new"] if name == "convert" else []
        for word in ["x", "=a", "99=a", "0=any", "-1=a", "", "0=" + LONG] if name == "name" else settings_of(name):
            yield [*base, "--", word]


def test_every_command_has_a_right_call():
    assert set(RIGHT) == set(COMMANDS), "give a new command its line in RIGHT"


def contents(folder):
    """All that lies in a folder; a lock that comes and goes touches the time of the folder that it is in."""
    return {path: None if path.is_dir() else path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_whatever_is_wrong_is_one_sentence(name, here, monkeypatch):
    monkeypatch.chdir(here)
    before, complaints = contents(here), []
    for words in calls(name):
        shown = [name, *(word if len(word) < 60 else word[:9] + "..." for word in words)]
        result = CliRunner().invoke(main, [name, *words])
        told = result.output.strip().rpartition("Error: ")[2]
        if not isinstance(result.exception, SystemExit):
            complaints.append(f"{shown}: {result.exception!r:.200}")
        elif result.exit_code not in (1, 2) or "Error: " not in result.output:
            complaints.append(f"{shown}: exit {result.exit_code}: {told:.200}")
        elif ("Usage:" in result.output and result.exit_code != 2) or len(told.splitlines()) > 2 or len(told) < 15:
            complaints.append(f"{shown}: {told:.300}")
        if contents(here) != before:
            complaints.append(f"{shown}: something was written: {set(contents(here)) ^ set(before)}")
            before = contents(here)
    assert not complaints, "\n".join(complaints)
