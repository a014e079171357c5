"""From a folder of images to a pack."""

import json
import random
import time

import numpy as np
import pytest
import torch
from killable import start
from PIL import Image

from ganaug import transforms
from ganaug.errors import BuildError, SettingsError
from ganaug.packs import DirectionPack
from ganaug.training import build

pytestmark = pytest.mark.slow

SETTINGS = {
    "generator.iterations": 4,
    "generator.batch_size": 4,
    "generator.width": 12,
    "generator.latent_dim": 6,
    "generator.judge_steps": 2,
    "generator.flips": "off",
    "directions.steps": 3,
    "directions.num_directions": 3,
    "directions.reconstructor": "lenet",
    "directions.batch_size": 4,
    "encoder.steps": 4,
    "encoder.batch_size": 4,
    "encoder.width": 8,
    "encoder.hidden": 16,
    "device": "cpu",
    "show_progress": False,
}


GOOD = {**SETTINGS, "generator.iterations": 120, "generator.batch_size": 16, "generator.average": 0.9}
GOOD |= {"generator.diffaugment": False, "generator.generator_lr": 1e-3, "generator.discriminator_lr": 2e-3}
GOOD |= {"generator.judge_steps": 20}
STEPS = ["generator", "directions", "encoder", "evaluation", "page"]


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name, shade in (("dark", 40), ("light", 210)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(30):
            pixels = np.clip(rng.normal(shade, 8, (32, 32)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{k:02}.png")
    return tmp_path / "photos"


def contents(folder):
    """What a build leaves that is a result: of the files that hold times or absolute paths, none."""
    times = ("build.json", "metrics.jsonl", "checkpoint.pt")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in times and not path.name.startswith(".")
    }


def test_a_folder_of_classes_becomes_a_pack_with_measured_ranges_and_a_page(photos, tmp_path):
    told = []
    built = build(photos, out=tmp_path / "out", say=told.append, **GOOD)
    assert list(built.seconds) == STEPS and built.report is not None
    assert any("directions have a safe range" in words for words in told) and built.words[0] in told
    pack = DirectionPack.from_pretrained(tmp_path / "out")
    assert pack.has_encoder and pack.generator.class_names == ("dark", "light") and pack.num_directions == 3
    assert all(direction.safe_range is not None for direction in pack)
    page = (tmp_path / "out" / "page" / "index.html").read_text()
    assert page.count("<img") >= 3
    shift = transforms.LatentShift("any", pack=tmp_path / "out", check_domain=False, source="sample")
    images, labels = shift(torch.rand(4, 1, 32, 32), torch.tensor([0, 1, 0, 1]))
    assert images.shape == (4, 1, 32, 32) and labels.tolist() == [0, 1, 0, 1]

    before = contents(tmp_path / "out")
    again = build(photos, out=tmp_path / "out", **GOOD)
    assert contents(tmp_path / "out") == before and again.words == built.words, "what is done is not done again"


def run(photos, out):
    torch.set_num_threads(1)
    build(photos, out=out, **GOOD)


def test_killed_in_every_step_it_ends_with_the_same_files(photos, tmp_path):
    whole = start(run, photos, tmp_path / "out")
    whole.join(400)
    assert whole.exitcode == 0
    (tmp_path / "out").rename(tmp_path / "whole")  # the card and the page name their folder
    moments = random.Random(0)
    for step in STEPS:
        process = start(run, photos, tmp_path / "out")
        plan = tmp_path / "out" / "build.json"
        before = STEPS[: STEPS.index(step)]
        while process.is_alive() and not (
            plan.exists() and json.loads(plan.read_text())["done"][: len(before)] == before
        ):
            time.sleep(0.002)
        time.sleep(moments.uniform(0.05, 0.6))
        process.kill()
        process.join()
    last = start(run, photos, tmp_path / "out")
    last.join(400)
    assert last.exitcode == 0
    whole_files, broken_files = contents(tmp_path / "whole"), contents(tmp_path / "out")
    assert whole_files.keys() == broken_files.keys()
    assert [name for name in whole_files if whole_files[name] != broken_files[name]] == []


def test_what_could_not_be_learned_is_said_and_the_pack_is_there(tmp_path):
    for k, name in enumerate(("cat", "dog")):
        write_images(tmp_path / "photos" / name, 20, seed=k)
    built = build(tmp_path / "photos", out=tmp_path / "out", **SETTINGS)
    assert built.report is None and any("No safe range could be measured" in words for words in built.words)
    assert DirectionPack.from_pretrained(tmp_path / "out").has_encoder


def test_images_without_classes_have_no_safe_ranges_and_that_is_said(tmp_path):
    write_images(tmp_path / "photos", 20)
    built = build(tmp_path / "photos", out=tmp_path / "out", **SETTINGS)
    assert built.report is None and any("the images have no classes" in words for words in built.words)
    assert DirectionPack.from_pretrained(tmp_path / "out").generator.num_classes == 0


def test_another_build_or_somebody_elses_files_are_never_touched(photos, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(BuildError, match=r"holds notes\.txt, which no build has made"):
        build(photos, out=tmp_path / "mine", **SETTINGS)
    assert [each.name for each in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    with pytest.raises(SettingsError, match=r"unknown setting width\. .*generator\.width=64"):
        build(photos, out=tmp_path / "new", width=3)
    with pytest.raises(SettingsError, match="minutes should be a positive number"):
        build(photos, out=tmp_path / "new", minutes=0)
    begun = {**SETTINGS, "generator.iterations": 1}
    (tmp_path / "begun").mkdir()
    build(photos, out=tmp_path / "begun", **begun)
    with pytest.raises(BuildError, match=r"was begun with other settings"):
        build(photos, out=tmp_path / "begun", **{**begun, "seed": 3})
    write_images(photos / "dark", 31)
    with pytest.raises(BuildError, match="other images, or images that came since"):
        build(photos, out=tmp_path / "begun", **begun)


def write_images(folder, count, seed=0):
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        Image.fromarray(rng.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(folder / f"{k:04}.png")
