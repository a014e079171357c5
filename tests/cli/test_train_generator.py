"""``ganaug train-generator``."""

import json

import numpy as np
import pytest
from PIL import Image

from ganaug.generators import Generator


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(10):
            pixels = rng.integers(256, size=(32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{k}.png")
    return tmp_path / "photos"


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


RECIPE = """
[generator]
latent_dim = 6
channels = 3
num_classes = 2
widths = [8, 8, 8, 8]
[generator_training]
dataset = "digits"
iterations = 3
batch_size = 4
discriminator_widths = [8, 8]
discriminator_downs = [true, true]
generator_lr = 2e-4
betas = [0.0, 0.9]
flips = "off"
"""


def test_the_command_takes_a_recipe_and_settings(run, photos, tmp_path):
    (tmp_path / "tiny.toml").write_text(RECIPE)
    text = run(
        *("train-generator", photos, "--out", tmp_path / "out", "--recipe", tmp_path / "tiny.toml", "iterations=2")
    )
    assert f"{tmp_path / 'out'} holds the generator" in text and rows(tmp_path / "out")[-1]["step"] == 2
    assert Generator.from_pretrained(tmp_path / "out").config["widths"] == [8, 8, 8, 8]
    (tmp_path / "tiny.toml").write_text(RECIPE.replace("num_classes = 2\n", ""))
    told = run("train-generator", photos, "--out", tmp_path / "un", "--recipe", tmp_path / "tiny.toml", code=1)
    assert "num_classes = 0, the images 2." in told and "labels=ignore" in told
    run(*("train-generator", photos, "--out", tmp_path / "un", "--recipe", tmp_path / "tiny.toml", "labels=ignore"))
    assert Generator.from_pretrained(tmp_path / "un").num_classes == 0
