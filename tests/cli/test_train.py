import json
import signal
import subprocess
import sys
import time

import pytest
import torch

from ganaug.packs import DirectionPack
from ganaug.training import METHODS, DiscoverySettings

TINY = ("num_directions=3", "batch_size=4", "steps=4", "reconstructor=lenet")


@pytest.mark.slow
def test_train_show_name_end_to_end(run, generator_folder, tmp_path):
    out = tmp_path / "runs" / "mine"
    text = run("train", "--generator", generator_folder, "--out", out, *TINY)
    assert "RCA on 10,000 fresh pairs" in text and "(guessing: 0.3333)" in text
    assert {file.name for file in out.iterdir()} >= {
        "config.json",
        "directions.safetensors",
        "generator.safetensors",
        "README.md",
        "preview.png",
        "metrics.jsonl",
    }
    run("name", out, "2=stroke", "0=slant")
    run("name", out, "0=")
    assert DirectionPack.from_pretrained(out).names == {"stroke": 2}
    page = run("show", out, "--out", tmp_path / "page", "--seeds", 1)
    assert "index.html" in page and "stroke" in (tmp_path / "page" / "index.html").read_text()


@pytest.mark.slow
def test_train_from_a_recipe_with_overrides(run, generator_folder, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        f'[pack]\ngenerator = "{generator_folder}"\nlicense = "mit"\n'
        '[discovery]\nnum_directions = 3\nbatch_size = 4\nsteps = 50\nreconstructor = "lenet"\n'
    )
    run("train", recipe, "--out", tmp_path / "out", "steps=2", "seed=5")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["method"]["steps"] == 2 and config["method"]["seed"] == 5 and config["licence"] == "mit"
    command = config["scores"]["rca_command"]
    assert command == f"ganaug train {recipe} --out {tmp_path / 'out'} steps=2 seed=5"


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_and_resume_finishes(run, generator_folder, tmp_path):
    words = ["train", "--generator", str(generator_folder), "--out", str(tmp_path / "out"), *TINY, "steps=300"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ganaug", *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    metrics = tmp_path / "out" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_text()):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "go on with --resume" in errors and "Traceback" not in errors
    run(*words, "--resume")
    assert DirectionPack.from_pretrained(tmp_path / "out").num_directions == 3


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("sefa", ()),
        ("ganspace", ("samples=200", "batch_size=50")),
        ("contrastive", ("steps=2", "batch_size=3")),
        ("random", ("seed=3",)),
        ("coordinate", ()),
    ],
)
def test_every_method_gives_a_pack(run, generator_folder, tmp_path, method, settings):
    out = tmp_path / method
    text = run(
        "train", "--generator", generator_folder, "--out", out, f"method={method}", "num_directions=5", *settings
    )
    assert "holds the pack" in text and "RCA" not in text
    pack = DirectionPack.from_pretrained(out)
    assert pack.directions.shape == (5, 8) and pack.method["name"] == method
    torch.testing.assert_close(pack.directions.norm(dim=1), torch.ones(5))


@pytest.mark.parametrize("method", ["random", "coordinate", "sefa"])
def test_a_recipe_with_another_method_keeps_what_both_have(run, generator_folder, tmp_path, method):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        f'[pack]\ngenerator = "{generator_folder}"\n[discovery]\nnum_directions = 3\nsteps = 50\nseed = 4\n'
    )
    run("train", recipe, "--out", tmp_path / "out", f"method={method}")
    written = json.loads((tmp_path / "out" / "config.json").read_text())["method"]
    assert written == {"name": method, "num_directions": 3, **({} if method == "sefa" else {"seed": 4})}


@pytest.mark.slow
def test_no_method_overwrites_a_pack(run, generator_folder, tmp_path):
    words = ("train", "--generator", generator_folder, "--out", tmp_path / "out")
    run(*words, *TINY)
    before = (tmp_path / "out" / "directions.safetensors").read_bytes()
    for method in ("random", "reconstructor"):
        text = run(*words, f"method={method}", "num_directions=3", code=1)
        assert "holds a pack or a generator already" in text
    assert (tmp_path / "out" / "directions.safetensors").read_bytes() == before


def test_a_folder_that_can_not_be_is_refused_before_training(run, generator_folder, tmp_path):
    (tmp_path / "file").write_text("")
    text = run("train", "--generator", generator_folder, "--out", tmp_path / "file" / "x", "method=random", code=1)
    assert "can't be written to" in text


def test_a_dry_run_prints_the_plan_and_writes_nothing(run, generator_folder, tmp_path):
    text = run("train", "--generator", generator_folder, "--out", tmp_path / "out", *TINY, "--dry-run")
    for word in ("generator ", "3 x 8 (unit)", "reconstructor ", "ms a step", "MiB at peak"):
        assert word in text
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_tensorboard_is_on_request(run, generator_folder, tmp_path):
    run("train", "--generator", generator_folder, "--out", tmp_path / "a", *TINY)
    run("train", "--generator", generator_folder, "--out", tmp_path / "b", *TINY, "--tensorboard")
    assert not (tmp_path / "a" / "tensorboard").exists() and any((tmp_path / "b" / "tensorboard").iterdir())


def test_help_lists_every_setting_and_method_with_its_defaults(run):
    text = run("train", "--help")
    for key, value in DiscoverySettings().to_dict().items():
        value = str(value).lower() if isinstance(value, bool) else value
        shown = f"{value:.0e}".replace("e-0", "e-") if isinstance(value, float) and 0 < value < 1e-2 else str(value)
        assert f"{key}={shown}" in text, key
    for method in METHODS:
        assert f"method={method}" in text, method
    assert "samples=20000" in text and "temperature=0.5" in text


@pytest.mark.slow
def test_a_run_that_learned_nothing_says_so(run, generator_folder, tmp_path):
    text = " ".join(run("train", "--generator", generator_folder, "--out", tmp_path / "out", *TINY, "steps=1").split())
    assert "That is hardly more than guessing" in text and "Try longer (steps=4), or method=sefa" in text
    assert "holds the pack all the same" in text and "Look through it" not in text
