"""Checkpoints of earlier versions: what the code of before the rooms wrote goes on to what that code found."""

import json
import lzma
import random
import shutil
from pathlib import Path

import pytest
import torch

from ganaug.errors import DiscoveryError
from ganaug.generators import Generator
from ganaug.training import DiscoverySettings, discover
from ganaug.training.discovery import Run
from ganaug.training.discovery.checkpoint import RunFiles, write_checkpoint

DATA = Path(__file__).parents[1] / "data"
"""A generator, the checkpoint of step 8 of 16 (weights rounded to bfloat16, so that it packs small), and what the
code that wrote it made of it."""


@pytest.fixture
def out(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(lzma.decompress((DATA / "checkpoint.pt.xz").read_bytes()))
    return tmp_path


def go_on(out, settings):
    generator = Generator.from_pretrained(DATA / "generator").freeze()
    return discover(
        generator, out=out, resume=True, device="cpu", rca_samples=200, show_progress=False, **settings
    )  # fmt: skip


def test_a_checkpoint_of_an_earlier_version_goes_on_to_the_same_directions(out):
    expected = json.loads((DATA / "resumed.json").read_text())
    pack = go_on(out, expected["settings"])
    found, wanted = pack.directions, torch.tensor(expected["directions"])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    assert pack.scores["rca"] == pytest.approx(expected["rca"], abs=0.01)
    (row,) = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert row["step"] == 16 and row["loss"] == pytest.approx(expected["loss"], rel=1e-5)


def test_its_optimiser_and_random_state_count(out):
    """Else the test above could pass with a checkpoint that is read in part."""
    expected = json.loads((DATA / "resumed.json").read_text())
    path = out / "checkpoint.pt"
    for name in ("optimizer", "random_state"):
        other = Run(
            Generator.from_pretrained(DATA / "generator").freeze(), DiscoverySettings.from_mapping(expected["settings"])
        )
        other.train_step()
        changed = out.parent / f"{out.name}-{name}"
        shutil.rmtree(changed, ignore_errors=True)
        changed.mkdir()
        torch.save({**torch.load(path, weights_only=True), name: other.state()[name]}, changed / "checkpoint.pt")
        difference = go_on(changed, expected["settings"]).directions - torch.tensor(expected["directions"])
        assert difference.abs().max() > 1e-4, name


def test_todays_checkpoints_hold_the_same(out):
    expected = json.loads((DATA / "resumed.json").read_text())
    run = Run(
        Generator.from_pretrained(DATA / "generator").freeze(), DiscoverySettings.from_mapping(expected["settings"])
    )
    theirs, ours = torch.load(out / "checkpoint.pt", weights_only=True), run.state()
    assert theirs.keys() == ours.keys() and theirs["pairs"].keys() == ours["pairs"].keys()
    assert theirs["settings"] == ours["settings"] and theirs["generator"] == ours["generator"]


def test_settings_that_do_not_change_the_result_may_change(out):
    expected = json.loads((DATA / "resumed.json").read_text())
    pack = go_on(out, {**expected["settings"], "recompute": "on"})
    torch.testing.assert_close(pack.directions, torch.tensor(expected["directions"]), atol=1e-5, rtol=0)
    assert pack.method["recompute"] is True


def test_a_run_of_other_settings_is_refused(out):
    expected = json.loads((DATA / "resumed.json").read_text())
    with pytest.raises(DiscoveryError, match="another run: seed was 5, is 6"):
        go_on(out, {**expected["settings"], "seed": 6})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of eight steps that was stopped after six, and what it comes to."""
    folder = tmp_path_factory.mktemp("run")
    generator = Generator.from_pretrained(DATA / "generator").freeze()
    run = Run(generator, DiscoverySettings.from_mapping(SHORT))
    files = RunFiles(folder)
    files.open(after=0, tensorboard=False)
    for _ in range(6):
        run.train_step()
        files.append(run.take_row())
    write_checkpoint(folder / "checkpoint.pt", run.state())
    whole = folder.parent / "whole"
    shutil.copytree(folder, whole)
    return folder, go_on(whole, SHORT).directions


SHORT = {"num_directions": 3, "steps": 8, "batch_size": 4, "reconstructor": "lenet", "precision": "float32"}


def changed_bytes(content, rng):
    """Bytes with one of them changed, some cut out, doubled, or cut off."""
    at = rng.randrange(len(content))
    end = min(len(content), at + rng.choice([1, 5, 60, 2000]))
    return rng.choice(
        [
            content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :],
            content[:at] + content[end:],
            content[:end] + content[at:],
            content[:at],
            content[:at] + rng.randbytes(end - at) + content[end:],
        ]
    )


def edited(state, rng):
    """A checkpoint with one thing in it, at any depth, taken away or replaced."""
    place = state
    while True:
        key = rng.choice(list(place) if isinstance(place, dict) else list(range(len(place))))
        if not isinstance(place[key], (dict, list)) or not place[key] or rng.random() < 0.2:
            break
        place = place[key]
    value = rng.choice(
        ["gone", -5, 10**30, 0.5, float("nan"), True, "text", None, [], {}, torch.zeros(2), torch.ones(3, 3), "like"]
    )
    if value == "gone" and isinstance(place, dict):
        del place[key]
    elif isinstance(value, str) and value == "like" and isinstance(place[key], torch.Tensor):
        place[key] = place[key].double() * float("nan")
    else:
        place[key] = value
    return f"{key} became {value!r}"


@pytest.mark.parametrize(("seed", "count"), [(0, 9), *(pytest.param(n, 60, marks=pytest.mark.slow) for n in (1, 2, 3))])
def test_damaged_files_of_a_run_are_one_sentence_or_do_no_harm(finished, tmp_path, seed, count):
    folder, directions = finished
    rng = random.Random(seed)
    checkpoint, metrics = ((folder / name).read_bytes() for name in ("checkpoint.pt", "metrics.jsonl"))
    refused = 0
    for kind in ["bytes", "edit", "metrics"] * (count // 3):
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(folder, out)
        what = kind
        if kind == "bytes":
            (out / "checkpoint.pt").write_bytes(changed_bytes(checkpoint, rng))
        elif kind == "metrics":
            (out / "metrics.jsonl").write_bytes(changed_bytes(metrics, rng))
        else:
            state = torch.load(out / "checkpoint.pt", weights_only=True)
            what = edited(state, rng)
            torch.save(state, out / "checkpoint.pt")
        before = {file.name: file.read_bytes() for file in out.iterdir()}
        try:
            found = go_on(out, SHORT).directions
        except DiscoveryError as error:
            refused += 1
            assert str(out) in str(error) and "\n" not in str(error) and len(str(error)) < 700
            assert {file.name: file.read_bytes() for file in out.iterdir()} == before, "nothing was touched"
        else:
            assert torch.equal(found, directions), what
    assert refused > count // 2


@pytest.mark.parametrize(
    ("name", "value"), [("step", -5), ("step", 9), ("step", True), ("counted", -1), ("seconds", -1.0), ("pairs", {})]
)
def test_a_checkpoint_that_no_run_can_have_written_is_refused(finished, tmp_path, name, value):
    shutil.copytree(finished[0], tmp_path / "out")
    state = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)
    torch.save({**state, name: value}, tmp_path / "out" / "checkpoint.pt")
    with pytest.raises(DiscoveryError, match=r"checkpoint\.pt is damaged \(.*\)\. Delete it and start again\."):
        go_on(tmp_path / "out", SHORT)
