"""training/train_generator.py, as its users run it."""

import subprocess
import sys
import time
from pathlib import Path

import torch

from ganaug.generators import Generator

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


def test_a_class_conditional_generator_is_trained_saved_and_read(tmp_path, data_root):
    options = {"channels": 3, "classes": 10, "dataset": "digits", "iterations": 3}
    result = subprocess.run(
        command(tmp_path, data_root, "out", **options), capture_output=True, text=True, timeout=300, check=True
    )
    assert "of 5,000 samples are read as their label" in result.stdout
    generator = Generator.from_pretrained(tmp_path / "out")
    assert generator.num_classes == 10 and (tmp_path / "out" / "samples.png").stat().st_size > 1000
    generator.check()


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
