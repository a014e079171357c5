"""``kill -9`` at random moments of every command that writes: the same command, or --resume, ends as if nothing was."""

import multiprocessing
import os
import random
import shutil
import signal
import time
from importlib import import_module

import pytest
import torch
from torch.nn import functional as F

from ganaug.cli.main import COMMANDS as ALL_COMMANDS
from ganaug.cli.main import main
from ganaug.generators import SNGAN, Encoder, Generator
from ganaug.packs import DirectionPack
from ganaug.places import kind_of
from ganaug.training.discovery import Run

SHORT = "num_directions=2 batch_size=4 reconstructor=lenet"
COMMANDS = {
    "train": f"train --generator gen --out OUT steps=40 {SHORT}",
    "train another method": "train --generator gen --out OUT method=random num_directions=2",
    "train-encoder": "train-encoder pack steps=8 batch_size=4",
    "name": "name pack 0=light",
    "evaluate": "evaluate pack --rca --rca-steps 4 --write",
    "evaluate with judges": "evaluate pack --images photos --judge-steps 2 --samples 20 --all --magnitude -1,1 --write",
    "invert": "invert photos --pack pack --classes cat,dog --no-check-domain",
    "augment": "augment photos OUT --pack pack --direction colour --classes cat,dog --no-check-domain --copies 4",
    "show": "show pack --out OUT --seeds 1",
    "show over another": "show pack --out page --seeds 2",
    "convert": "convert checkpoint.pt --out OUT",
    "bank": "bank pack OUT --direction 0 --size 1000",
    "pull": "pull pack OUT",
    "demo": "demo --out OUT --steps 1",
}
KILLS = {"demo": 1}
"""Of a command that takes seconds to draw what it shows; of the others as many as KILLS says."""
TIMED = {"checkpoint.pt", "metrics.jsonl"}
"""Hold the seconds that a run took; tests/training compares what else is in them."""


@pytest.fixture
def quick(monkeypatch):
    """Commands are imported once, and an RCA takes few pairs."""
    for entry in ALL_COMMANDS.values():
        import_module(entry.module)
    result = Run.result
    monkeypatch.setattr(Run, "result", lambda run, samples: result(run, 32))


@pytest.fixture
def things(tmp_path, photos, tutorial):
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=8, channels=3, num_classes=2, widths=(8, 8, 8, 8)).freeze()
    encoder = Encoder(latent_dim=8, image_size=32, channels=3, num_classes=2, width=8, hidden=16).freeze()
    directions = F.normalize(torch.randn(3, 8), dim=1)
    generator.name_classes(["cat", "dog"])
    pack = DirectionPack(directions, generator=generator, names={"colour": 1}, encoder=encoder)
    pack.save_pretrained(tmp_path / "things" / "pack", called="pack")
    shutil.move(photos("cat", "dog", count=6), tmp_path / "things" / "photos")
    SNGAN(latent_dim=8, channels=1, widths=(8, 8, 8, 8)).freeze().save_pretrained(tmp_path / "things" / "gen")
    tensors = {f"main.{name}": tensor for name, tensor in tutorial.state_dict().items()}
    torch.save(tensors, tmp_path / "things" / "checkpoint.pt")
    return tmp_path / "things"


def started(words, folder):
    def child():
        torch.set_num_threads(1)
        os.chdir(folder)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        main([word.replace("OUT", "out") for word in words])

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    return process


def ended(words, folder):
    process = started(words, folder)
    process.join(120)
    return process.exitcode


def resumed(folder):
    kept = (folder / "out" / "checkpoint.pt", folder / "pack" / ".encoder" / "checkpoint.pt")
    return ["--resume"] if any(each.exists() for each in kept) else []


def contents(folder):
    return {
        str(file.relative_to(folder)): b"" if file.name in TIMED else file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def check_whole(folder):
    """What is there at any moment can be read, or is nothing yet."""
    for place in (folder / "pack", folder / "out"):
        if kind_of(place) == "a pack":
            DirectionPack.from_pretrained(place).load()
        elif kind_of(place) == "a generator":
            Generator.from_pretrained(place)


KILLED_ELSEWHERE = {
    "train-generator": "tests/training/generator/test_train_generator.py",
    "build": "tests/training/test_build.py",
}


def test_nothing_that_writes_is_forgotten():
    assert {name.split()[0] for name in COMMANDS} >= set(ALL_COMMANDS) - {
        *KILLED_ELSEWHERE,
        "packs",
        "check",
        "push",
        "describe",
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_command_is_given_again_and_ends_as_the_unbroken_one(quick, things, tmp_path, command):
    words, here = COMMANDS[command].split(), tmp_path / "here"
    if command == "show over another":
        assert ended(["show", "pack", "--out", "page", "--seeds", "1"], things) == 0

    def prepared():
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(things, here)

    prepared()
    began = time.monotonic()
    assert ended(words, here) == 0
    lasted, whole, moments = time.monotonic() - began, contents(here), random.Random(command)
    kills = 0
    for _ in range(40):
        prepared()
        process = started(words, here)
        time.sleep(moments.uniform(0, lasted))
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        check_whole(here)
        for _ in range(moments.choice([0, 0, 1])):  # killed again, as it goes on
            again = started([*words, *resumed(here)], here)
            time.sleep(moments.uniform(0, lasted / 2))
            again.kill()
            again.join()
        code = ended([*words, *resumed(here)], here)
        assert contents(here) == whole, f"ended with {code}"
        if kills == KILLS.get(command, int(os.environ.get("KILLS", "2"))):  # it takes seconds to draw what it shows
            return
    raise AssertionError(f"only {kills} kills came in time")
