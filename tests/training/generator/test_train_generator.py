"""Training a generator on a folder of images."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from killable import start
from PIL import Image

from ganaug import streams
from ganaug.errors import DataError, GeneratorTrainingError, Interrupted, SettingsError
from ganaug.generators import SNGAN, Generator
from ganaug.training import train_generator

SETTINGS = {
    "iterations": 6,
    "batch_size": 4,
    "latent_dim": 6,
    "width": 12,
    "flips": "off",
    "judge_steps": 0,
    "precision": "float32",
    "device": "cpu",
    "show_progress": False,
    "log_every": 2,
}


def write_images(folder, count, *, size=32, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        shape = (size, size, channels) if channels == 3 else (size, size)
        Image.fromarray(rng.integers(256, size=shape, dtype=np.uint8)).save(folder / f"{k:04}.png")


@pytest.fixture
def photos(tmp_path):
    for k, name in enumerate(("cat", "dog")):
        write_images(tmp_path / "photos" / name, 10, seed=k)
    return tmp_path / "photos"


def rows(folder):
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in found:
        del row["seconds"]
    return found


def weights(folder):
    return Generator.from_pretrained(folder).weights_sha256()


def test_class_subfolders_make_a_class_conditional_generator_with_their_names(photos, tmp_path):
    generator = train_generator(photos, out=tmp_path / "out", **SETTINGS).generator
    assert generator.class_names == ("cat", "dog") and generator.image_size == 32 and generator.channels == 3
    saved = Generator.from_pretrained(tmp_path / "out").check()
    assert saved.class_names == ("cat", "dog") and saved.weights_sha256() == generator.weights_sha256()
    assert [row["step"] for row in rows(tmp_path / "out")] == [2, 4, 6]


@pytest.mark.parametrize(
    ("folder", "size", "channels"), [("flat", 40, 3), ("one/class", 64, 1)], ids=["no class", "one class, grey"]
)
def test_without_classes_it_is_unconditional_of_the_images_size_and_channels(tmp_path, folder, size, channels):
    write_images(tmp_path / folder, 10, size=size, channels=channels)
    generator = train_generator(tmp_path / folder.split("/")[0], out=tmp_path / "out", **SETTINGS).generator
    expected = (0, {40: 32, 64: 64}[size], channels)
    assert (generator.num_classes, generator.image_size, generator.channels) == expected


def test_images_of_other_sizes_are_fitted_to_the_size_asked_for(photos, tmp_path):
    assert (
        train_generator(photos, out=tmp_path / "out", size=64, **{**SETTINGS, "iterations": 1}).generator.image_size
        == 64
    )
    with pytest.raises(SettingsError, match=r"size should be 32, 64 or 128 pixels, got 100"):
        train_generator(photos, out=tmp_path / "other", size=100, **SETTINGS)


@pytest.mark.parametrize("loss", ["hinge", "relativistic"])
@pytest.mark.parametrize("diffaugment", [True, False])
@pytest.mark.parametrize("class_weight", [0.0, 0.5])
def test_both_networks_learn_from_either_loss(photos, tmp_path, loss, diffaugment, class_weight):
    few = {**SETTINGS, "iterations": 1, "loss": loss, "diffaugment": diffaugment, "class_weight": class_weight}
    first = train_generator(photos, out=tmp_path / "first", **few).generator
    second = train_generator(photos, out=tmp_path / "second", **{**few, "iterations": 4}).generator
    moved = [not torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert all(moved)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["hinge", "relativistic"])
def test_it_learns_what_the_images_of_each_class_look_like(tmp_path, loss):
    rng = np.random.default_rng(0)
    for name, shade in (("dark", 40), ("light", 210)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(40):
            pixels = np.clip(rng.normal(shade, 8, (32, 32)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{k}.png")
    settings = {**SETTINGS, "iterations": 120, "batch_size": 16, "average": 0.9, "loss": loss}
    settings |= {"diffaugment": False, "generator_lr": 1e-3, "discriminator_lr": 2e-3}
    generator = train_generator(tmp_path / "photos", out=tmp_path / "out", **settings).generator
    shades = [generator(generator.sample_latents(50), torch.full((50,), label)).mean().item() for label in (0, 1)]
    assert shades[0] < -0.35 and shades[1] > 0.35, "dark is -0.69 and light 0.65"


def test_penalties_now_and_then_are_another_training_and_the_first_step_the_same(photos, tmp_path):
    of = {
        (every, count): train_generator(
            *(photos,),
            out=tmp_path / f"{every}-{count}",
            **{
                **SETTINGS,
                "loss": "relativistic",
                "penalty_every": every,
                "gradient_penalty": 8 / every,
                "iterations": count,
            },
        ).generator.weights_sha256()
        for every in (1, 2)
        for count in (1, 4)
    }
    assert of[1, 1] == of[2, 1] and of[1, 4] != of[2, 4]


def test_large_folders_are_streamed_to_the_same_generator(photos, tmp_path, monkeypatch):
    held = train_generator(photos, out=tmp_path / "held", **SETTINGS).generator
    monkeypatch.setattr(streams, "HELD", 1000)
    streamed = train_generator(photos, out=tmp_path / "streamed", **SETTINGS).generator
    assert held.weights_sha256() == streamed.weights_sha256()


@pytest.mark.slow
def test_its_quality_is_measured_while_it_trains_and_kept_with_it(photos, tmp_path):
    settings = {**SETTINGS, "iterations": 20, "judge_steps": 2}
    trained = train_generator(photos, out=tmp_path / "out", **settings)
    found = rows(tmp_path / "out")
    assert [row["step"] for row in found if "kid" in row] == list(range(2, 20, 2))
    assert all({"fid", "copies", "agreement"} <= row.keys() for row in found if "kid" in row)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["samples"] == trained.quality.samples == 1000 and set(report["per_class"]) == {"cat", "dog"}
    card = (tmp_path / "out" / "README.md").read_text()
    assert trained.quality.table() in card and "cat, dog" in card and "| width | 12 |" in card
    assert Image.open(tmp_path / "out" / "samples.png").size > (100, 60)
    resumed = train_generator(photos, out=tmp_path / "out", resume=True, **settings)
    assert resumed.quality == trained.quality and rows(tmp_path / "out") == found


def test_images_too_few_to_measure_train_all_the_same(tmp_path):
    write_images(tmp_path / "photos", 4)
    trained = train_generator(tmp_path / "photos", out=tmp_path / "out", **{**SETTINGS, "judge_steps": 2})
    assert trained.quality is None and "It was not measured" in (tmp_path / "out" / "README.md").read_text()


def test_minutes_plan_the_iterations(photos, tmp_path):
    began = time.monotonic()
    train_generator(
        photos, out=tmp_path / "out", minutes=0.1, **{k: v for k, v in SETTINGS.items() if k != "iterations"}
    )
    assert rows(tmp_path / "out")[-1]["step"] > 6
    assert 2 < time.monotonic() - began < 40
    with pytest.raises(SettingsError, match=r"give one of the two"):
        train_generator(photos, out=tmp_path / "both", minutes=1, **SETTINGS)
    with pytest.raises(SettingsError, match=r"minutes should be a positive number"):
        train_generator(photos, out=tmp_path / "none", minutes=0)


def lines_of(folder):
    return (folder / "metrics.jsonl").read_text().splitlines() if (folder / "metrics.jsonl").exists() else []


def run(photos, folder):
    """Start or go on, whichever it is, in a process of its own."""
    torch.set_num_threads(1)
    resume = (folder / "checkpoint.pt").exists()
    train_generator(photos, out=folder, resume=resume, checkpoint_seconds=0, **{**SETTINGS, "iterations": 100})


@pytest.mark.slow
def test_killed_ten_times_at_random_it_ends_as_the_unbroken_run(photos, tmp_path):
    whole = start(run, photos, tmp_path / "whole")
    whole.join(240)
    assert whole.exitcode == 0
    moments, reached = random.Random(0), set()
    for row in sorted(moments.sample(range(48), 10)):
        process = start(run, photos, tmp_path / "broken")
        while process.is_alive() and len(lines_of(tmp_path / "broken")) <= row:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.02))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "it should not have ended, well or badly, by itself"
        reached.add(torch.load(tmp_path / "broken" / "checkpoint.pt", weights_only=True)["step"])
    last = start(run, photos, tmp_path / "broken")
    last.join(240)
    assert last.exitcode == 0 and len(reached) > 5, "kills fell into different steps"
    assert weights(tmp_path / "whole") == weights(tmp_path / "broken")
    assert rows(tmp_path / "whole") == rows(tmp_path / "broken")


def test_a_stopped_run_leaves_a_generator_and_goes_on(photos, tmp_path):
    whole = train_generator(photos, out=tmp_path / "whole", **{**SETTINGS, "iterations": 40}).generator

    class Clock:
        steps = 0

    original = Generator.sample_latents

    def told_to_stop(self, *arguments, **options):
        Clock.steps += 1
        if Clock.steps == 31:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SNGAN, "sample_latents", told_to_stop)
        with pytest.raises(Interrupted, match=r"stopped after iteration 16 of 40; .* can be used. Go on with --resume"):
            train_generator(photos, out=tmp_path / "broken", **{**SETTINGS, "iterations": 40})
    assert Generator.from_pretrained(tmp_path / "broken").check().class_names == ("cat", "dog")
    with pytest.raises(GeneratorTrainingError, match=r"checkpoint of an earlier run"):
        train_generator(photos, out=tmp_path / "broken", **SETTINGS)
    resumed = train_generator(photos, out=tmp_path / "broken", resume=True, **SETTINGS).generator
    assert resumed.weights_sha256() == whole.weights_sha256() == weights(tmp_path / "broken")


def test_a_run_goes_on_with_its_own_settings_and_images_only(photos, tmp_path):
    train_generator(photos, out=tmp_path / "out", **SETTINGS)
    with pytest.raises(GeneratorTrainingError, match=r"belongs to another run: batch_size was 4, is 8"):
        train_generator(photos, out=tmp_path / "out", resume=True, **{**SETTINGS, "batch_size": 8})
    write_images(photos / "cat", 12, seed=7)
    with pytest.raises(GeneratorTrainingError, match=r"belongs to another run"):
        train_generator(photos, out=tmp_path / "out", resume=True, **SETTINGS)
    (tmp_path / "out" / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(GeneratorTrainingError, match=r"is damaged .* Delete it and start again"):
        train_generator(photos, out=tmp_path / "out", resume=True, **SETTINGS)
    with pytest.raises(GeneratorTrainingError, match=r"to resume from"):
        train_generator(photos, out=tmp_path / "new", resume=True, **SETTINGS)


def test_a_generator_or_pack_is_never_overwritten(photos, tmp_path):
    SNGAN(widths=(8, 8, 8, 8)).freeze().save_pretrained(tmp_path / "there")
    with pytest.raises(GeneratorTrainingError, match=r"holds config\.json already"):
        train_generator(photos, out=tmp_path / "there", **SETTINGS)


def test_losses_that_are_not_finite_stop_the_run(photos, tmp_path):
    with pytest.raises(GeneratorTrainingError, match=r"the losses became .* lower generator_lr"):
        train_generator(photos, out=tmp_path / "out", **{**SETTINGS, "discriminator_lr": 1e30, "generator_lr": 1e30})
    assert not (tmp_path / "out" / "config.json").exists()


def test_folders_that_can_not_be_used_are_named(photos, tmp_path):
    (tmp_path / "empty").mkdir()
    write_images(tmp_path / "few" / "one", 1)
    write_images(tmp_path / "few" / "many", 4)
    write_images(tmp_path / "single", 1)
    for name, told in (
        ("empty", "no images under"),
        ("few", "class one has one image"),
        ("single", "holds one image"),
        ("nowhere", "not there"),
    ):
        with pytest.raises(DataError, match=told):
            train_generator(tmp_path / name, out=tmp_path / f"out-{name}", **SETTINGS)
    (photos / "cat" / "0001.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 20 images can't be read: .*0001\.png"):
        train_generator(photos, out=tmp_path / "damaged", **SETTINGS)
    with pytest.warns(UserWarning, match=r"1 image left out"):
        train_generator(photos, out=tmp_path / "skipped", on_error="skip", **{**SETTINGS, "iterations": 1})


def test_train_and_test_are_no_classes(tmp_path):
    for part, count in (("train", 6), ("test", 3)):
        for k, name in enumerate(("cat", "dog")):
            write_images(tmp_path / "photos" / part / name, count, seed=k)
    generator = train_generator(tmp_path / "photos", out=tmp_path / "out", **SETTINGS).generator
    assert generator.class_names == ("cat", "dog")


@pytest.mark.slow
def test_a_thousand_classes(tmp_path):
    for k in range(1000):
        write_images(tmp_path / "photos" / f"class{k:04}", 2, seed=k)
    generator = train_generator(tmp_path / "photos", out=tmp_path / "out", **{**SETTINGS, "iterations": 2}).generator
    assert generator.num_classes == 1000 and generator.class_names[17] == "class0017"


@pytest.mark.slow
@pytest.mark.parametrize("planned", [["iterations=6"], ["--minutes", "0.2"]], ids=["iterations", "minutes"])
def test_two_processes_train_one_generator(photos, tmp_path, planned):
    left_out = ("device", "show_progress", "log_every", "iterations", "flips")
    words = [*planned, *(f"{key}={value}" for key, value in SETTINGS.items() if key not in left_out)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "ganaug", "train-generator", photos, "--out", tmp_path / "out", "--device", "cpu"]
    done = subprocess.run(
        [*map(str, command), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("holds the generator") == 1, "one process writes and says so"
    assert Generator.from_pretrained(tmp_path / "out").check().class_names == ("cat", "dog")
