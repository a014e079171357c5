"""No command removes or replaces what ganaug did not write."""

import pytest
import torch

from ganaug.cli.main import COMMANDS
from ganaug.generators import SNGAN
from ganaug.packs.format import PACK_FILES

PACK = PACK_FILES
WRITES = {
    "demo": (
        "--out OUT --steps 1",
        ["pack/mine.txt", "discovered.png", "background.png", *(f"pack/{f}" for f in PACK)],
    ),
    "train": ("--generator gen --out OUT method=random num_directions=2", PACK),
    "train-generator": (
        "photos --out OUT iterations=1 judge_steps=0",
        ["config.json", "generator.safetensors", "README.md", "samples.png", "report.json", "report.txt"],
    ),
    "build": ("photos --out OUT", ["mine.txt", "config.json", "build.json"]),
    "show": ("pack --out OUT --seeds 1", ["index.html", "direction_000.png", "direction_002.png"]),
    "convert": ("checkpoint.pt --out OUT", ["config.json", "generator.safetensors"]),
    "bank": ("pack OUT/b --direction 0 --size 2", ["b", "b.part"]),
    "augment": ("photos OUT --pack pack --direction 0 --classes cat,dog", ["mine.txt", "cat/0_0.png"]),
    "pull": ("pack OUT", ["mine.txt", *PACK]),
}
"""Of each command that writes into a place of its own: a call, and names of the user's files that are in the way."""
INTO_PACKS = {"name", "describe", "evaluate", "train-encoder"}
"""These write into a folder that is a pack already, and refuse every other one."""
ELSEWHERE = {
    "packs": "writes nothing",
    "check": "writes nothing",
    "push": "writes to the Hub",
    "invert": "tests/inversion",
}


def test_every_command_that_writes_is_looked_at():
    assert set(WRITES) | INTO_PACKS | set(ELSEWHERE) >= set(COMMANDS)


@pytest.fixture
def here(tmp_path, monkeypatch, pack_folder, photos):
    monkeypatch.chdir(tmp_path)
    photos("cat", "dog")
    SNGAN(latent_dim=8, channels=1, widths=(8, 8, 8, 8)).freeze().save_pretrained("gen")
    torch.save({"model.0.weight": torch.eye(16, 4), "model.0.bias": torch.ones(16)}, "checkpoint.pt")
    return tmp_path


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize(("command", "name"), [(key, name) for key, (_, names) in WRITES.items() for name in names])
def test_a_file_of_the_users_stays_and_is_named(run, here, command, name):
    place = here / "project" / name
    place.parent.mkdir(parents=True)
    place.write_text("mine")
    before = contents(here)
    text = run(command, *WRITES[command][0].replace("OUT", "project").split(), code=1 if command != "pull" else 2)
    assert contents(here) == before and "project" in text


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoint.pt"])
def test_a_run_replaces_no_other_files_of_its_names(run, here, name):
    (here / "project").mkdir()
    (here / "project" / name).write_text('{"mine": 1}\n')
    before = contents(here)
    text = run("train", "--generator", "gen", "--out", "project", "steps=1", "num_directions=2", code=1)
    assert contents(here) == before and "project" in text


@pytest.mark.parametrize("command", sorted(INTO_PACKS))
def test_nothing_is_written_into_what_is_no_pack(run, here, command):
    words = {
        "name": "0=a",
        "describe": "--write",
        "evaluate": "--rca --rca-steps 1 --write",
        "train-encoder": "steps=1 batch_size=4",
    }
    before = contents(here)
    for folder, told in (("gen", "gen is a generator, not a pack"), ("photos", "photos is a folder of images, not")):
        assert told in run(command, folder, *words[command].split(), code=1)
    assert contents(here) == before


def test_what_fails_leaves_no_folder(run, here):
    (here / "pack" / "generator.safetensors").unlink()
    for command in ("show", "augment", "bank"):
        run(command, *WRITES[command][0].replace("OUT", "new/below").split(), code=1)
        assert not (here / "new").exists(), command


def test_a_page_is_written_again_over_itself(run, here):
    run("show", "pack", "--out", "page", "--seeds", 1)
    run("name", "pack", "0=light")
    run("show", "pack", "--out", "page", "--seeds", 1)
    assert "light" in (here / "page" / "index.html").read_text()
    assert "ganaug name pack INDEX=NAME" in (here / "page" / "index.html").read_text()


@pytest.mark.parametrize(
    ("words", "told", "code"),
    [
        ("show packs", "Did you mean pack, which is a pack?", 1),
        ("show gem", "Did you mean gen, which is a generator, not a pack?", 1),
        ("push pak org/name", "Did you mean pack, which is a pack?", 2),
        ("train --generator gem --out new", "Did you mean gen, which is a generator?", 1),
        ("train-encoder pack --images photo", "there is no folder 'photo'. Did you mean photos", 1),
        ("evaluate pack --images mnist:photo", "there is no folder 'photo'. Did you mean photos", 1),
        ("convert checkpont.pt --out new", "there is no file checkpont.pt. Did you mean checkpoint.pt", 1),
        ("augment photo new --direction 0", "Did you mean photos, which is a folder of images?", 2),
        ("augment photos new --pack pack --direction 0 --direction 0", "0 is given twice", 2),
        ("bank pack b --direction 0 --device meta", "'meta' can't be used here", 2),
        ("show pack --seeds 1001", "1001 is more than 1000", 2),
        ("train photos --out new", "photos is a folder of images, not a recipe", 1),
        ("describe packs --write", "'packs' is none. Did you mean pack, which is a pack?", 2),
    ],
)
def test_mistyped_places_are_told_what_there_is(run, here, words, told, code):
    assert told in " ".join(run(*words.split(), code=code).split())
    assert not (here / "new").exists()
