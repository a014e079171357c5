"""training/train_generator.py, as its users run it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from ganaug.generators import Generator

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parents[2] / "training" / "train_generator.py"
RECIPE = """
[generator]
latent_dim = 6
channels = {channels}
num_classes = {classes}
widths = [8, 8, 8, 8]
[generator_training]
dataset = "{dataset}"
iterations = {iterations}
batch_size = 4
discriminator_widths = [8, 8]
discriminator_downs = [true, true]
generator_lr = 2e-4
discriminator_lr = 4e-4
betas = [0.0, 0.9]
average = 0.9
precision = "float32"
seed = 0
"""


def command(tmp_path, data_root, name, *extra, channels=1, classes=0, dataset="mnist", iterations=40):
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE.format(channels=channels, classes=classes, dataset=dataset, iterations=iterations))
    paths = (SCRIPT, recipe, "--data", data_root, "--out", tmp_path / name)
    return [
        sys.executable,
        *map(str, paths),
        "--device",
        "cpu",
        "--checkpoint-every",
        "5",
        "--judge-steps",
        "2",
        *extra,
    ]


@pytest.mark.slow
def test_a_class_conditional_generator_is_trained_saved_and_read(tmp_path, data_root):
    options = {"channels": 3, "classes": 10, "dataset": "digits", "iterations": 3}
    result = subprocess.run(
        command(tmp_path, data_root, "out", **options), capture_output=True, text=True, timeout=300, check=True
    )
    assert "of 5,000 samples are read as their label" in result.stdout
    generator = Generator.from_pretrained(tmp_path / "out")
    assert generator.num_classes == 10 and (tmp_path / "out" / "samples.png").stat().st_size > 1000
    generator.check()


@pytest.mark.slow
def test_a_generator_is_trained_on_images_of_ones_own(tmp_path, data_root):
    for name, shade in (("dark", 40), ("light", 220)):
        (tmp_path / "own" / name).mkdir(parents=True)
        for k in range(3):
            Image.new("RGB", (40, 48), (shade, shade, 10 * k)).save(tmp_path / "own" / name / f"{k}.png")
    words = command(tmp_path, data_root, "out", channels=3, classes=2, iterations=3)
    words[words.index("--data") : words.index("--out")] = ["--images", str(tmp_path / "own")]
    subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    assert Generator.from_pretrained(tmp_path / "out").num_classes == 2
    words[words.index("--images") + 1] = str(tmp_path / "own" / "dark")
    refused = subprocess.run([*words, "--resume"], capture_output=True, text=True, timeout=300)
    assert refused.returncode and "dark has no class subfolders" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_very_same_generator(tmp_path, data_root):
    subprocess.run(command(tmp_path, data_root, "whole"), capture_output=True, timeout=300, check=True)
    process = subprocess.Popen(command(tmp_path, data_root, "broken"), stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "broken" / "checkpoint.pt"
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.005)
    process.kill()
    process.wait(timeout=60)
    assert torch.load(checkpoint, weights_only=True)["iteration"] < 40
    assert not (tmp_path / "broken" / "generator.safetensors").exists()
    refused = subprocess.run(command(tmp_path, data_root, "broken"), capture_output=True, text=True, timeout=300)
    assert refused.returncode == 1 and "go on with --resume" in refused.stderr
    subprocess.run(command(tmp_path, data_root, "broken", "--resume"), capture_output=True, timeout=300, check=True)
    whole, broken = (Generator.from_pretrained(tmp_path / name) for name in ("whole", "broken"))
    assert whole.weights_sha256() == broken.weights_sha256()
