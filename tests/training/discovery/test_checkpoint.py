"""Checkpoints of earlier versions: what the code of before the rooms wrote goes on to what that code found."""

import json
import lzma
import shutil
from pathlib import Path

import pytest
import torch

from ganaug.errors import DiscoveryError
from ganaug.generators import Generator
from ganaug.training import DiscoverySettings, discover
from ganaug.training.discovery import Run

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
        ).state()
        changed = out.parent / f"{out.name}-{name}"
        shutil.rmtree(changed, ignore_errors=True)
        changed.mkdir()
        torch.save({**torch.load(path, weights_only=True), name: other[name]}, changed / "checkpoint.pt")
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
