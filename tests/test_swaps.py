"""Files that are replaced as one: killed at any step, a reader finds all old or all new ones."""

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from ganaug.errors import FileError
from ganaug.generators import SNGAN, Generator
from ganaug.marks import writing_into
from ganaug.packs import DirectionPack
from ganaug.places import kind_of
from ganaug.swaps import NEW, located, put_in_place, scratch_folder, tidy, writing_alone

STEPS = ("open", "mkdir", "rename", "replace", "unlink", "rmdir")


def in_child(work):
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    return process.exitcode


def killed_at(step, work):
    """Do some work in a process that kills itself before its ``step``-th change of the disk; whether it did."""

    def child():
        done = 0
        torch.set_num_threads(1)  # a forked process has none of its parent's threads

        def counted(change):
            def counting(*args, **kwargs):
                nonlocal done
                done += 1
                if done == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return change(*args, **kwargs)

            return counting

        for name in STEPS:
            setattr(os, name, counted(getattr(os, name)))
        work()

    return in_child(child) == -signal.SIGKILL


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def generator(seed):
    torch.manual_seed(seed)
    return SNGAN(latent_dim=8, channels=1, widths=(4, 4, 4, 4)).freeze()


def a_pack(seed, **more):
    directions = F.normalize(torch.randn(3 + seed, 8, generator=torch.Generator().manual_seed(seed)), dim=1)
    return DirectionPack(directions, generator=generator(seed), names={f"name {seed}": 0}, **more)


def loaded(folder):
    pack = DirectionPack.from_pretrained(folder).load()
    return pack.directions.tolist(), dict(pack.names), pack.generator.weights_sha256(), pack.preview is not None


def until_it_ends(work):
    """Step after step at which the work is killed, until it comes to none."""
    for step in range(1, 1000):
        if not killed_at(step, work):
            return
        yield step


@pytest.mark.parametrize("old", [True, False])
def test_a_pack_saved_over_another_and_killed_is_the_old_or_the_new_one(tmp_path, old):
    folder, first, second = tmp_path / "x", a_pack(1, preview=Image.new("L", (3, 3))), a_pack(2)
    before, after = (loaded(pack.save_pretrained(tmp_path / name)) for pack, name in ((first, "old"), (second, "new")))
    outcomes = []
    for step in range(1, 1000):
        shutil.rmtree(folder, ignore_errors=True)
        if old:
            first.save_pretrained(folder)
            (folder / "mine.txt").write_text("mine")
        if not killed_at(step, lambda: second.save_pretrained(folder, called=tmp_path / "new")):
            break
        outcomes.append(loaded(folder) if old or kind_of(folder) == "a pack" else None)
        second.save_pretrained(folder, called=tmp_path / "new")
        assert contents(folder) == {**contents(tmp_path / "new"), **({"mine.txt": b"mine"} if old else {})}
        assert not [name for name in os.listdir(folder) if name.startswith(".")]
    turn = outcomes.index(after)
    assert outcomes == [before if old else None] * turn + [after] * (len(outcomes) - turn) and turn > 5


def test_a_generator_saved_over_another_and_killed_is_the_old_or_the_new_one(tmp_path):
    first, second = generator(1), generator(2)
    hashes, outcomes = {first.weights_sha256(), second.weights_sha256()}, set()
    first.save_pretrained(tmp_path / "x")
    (tmp_path / "x" / "README.md").write_text("mine")
    for _ in until_it_ends(lambda: second.save_pretrained(tmp_path / "x")):
        outcomes.add(Generator.from_pretrained(tmp_path / "x").weights_sha256())
        first.save_pretrained(tmp_path / "x")
        assert sorted(os.listdir(tmp_path / "x")) == ["README.md", "config.json", "generator.safetensors"]
        assert (tmp_path / "x" / "README.md").read_text() == "mine"
    assert outcomes == hashes


def test_a_marked_folder_that_was_killed_is_written_again(tmp_path):
    def write(text, names):
        with writing_into(tmp_path / "x", names) as scratch:
            (scratch / "pack").mkdir()
            for name in names:
                (scratch / name).write_text(text)

    old, new = ["a", "b", "pack/a"], ["a", "c", "pack/b"]
    write("1", old)
    (tmp_path / "x" / "mine").write_text("mine")
    outcomes = set()
    for _ in until_it_ends(lambda: write("2", new)):
        found = {name: located(tmp_path / "x", name) for name in {*old, *new}}
        outcomes.add(frozenset((name, path.read_text()) for name, path in found.items() if path.exists()))
        write("1", old)
        assert {name for name in contents(tmp_path / "x") if name != ".ganaug"} == {*old, "mine"}
    assert outcomes == {frozenset((name, "1") for name in old), frozenset((name, "2") for name in new)}


def test_readers_find_whole_packs_while_another_process_saves(tmp_path):
    packs = [a_pack(n) for n in (1, 2)]
    wanted = [loaded(pack.save_pretrained(tmp_path / "x")) for pack in packs]

    def save():
        for n in range(60):
            packs[n % 2].save_pretrained(tmp_path / "x")

    writers = [multiprocessing.get_context("fork").Process(target=save) for _ in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        found = DirectionPack.from_pretrained(tmp_path / "x")
        assert (found.directions.tolist(), dict(found.names)) in [each[:2] for each in wanted]
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert loaded(tmp_path / "x") in wanted and not list((tmp_path / "x").glob(".*"))


def test_only_what_is_surely_ganaugs_and_not_in_use_is_swept(tmp_path):
    kept = [".ganaug-new", ".ganaug-0123456789abcdef", ".pack-original", ".ganaug-old"]
    for name in kept:
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("mine")
    with scratch_folder(tmp_path) as used:
        assert in_child(lambda: tidy(tmp_path)) == 0 and used.is_dir()
        (used / "a").write_text("new")
        with writing_alone(tmp_path), pytest.raises(FileError, match=r"can't be put into"):
            put_in_place(used, tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(kept)


@pytest.mark.parametrize("names", [["../mine"], ["/etc/hosts"], "a", [1]])
def test_a_list_that_points_outside_is_passed_over(tmp_path, names):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "x" / NEW).mkdir(parents=True)
    (tmp_path / "x" / NEW / "files.json").write_text(json.dumps({"files": [], "gone": names}))
    tidy(tmp_path / "x")
    assert (tmp_path / "mine").exists() and located(tmp_path / "x", "a") == Path(tmp_path / "x" / "a")
