"""Two processes on CPUs, started by torchrun, beside one."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from ganaug.directions import DirectionPack
from ganaug.generators import SNGAN
from ganaug.training import discover

SETTINGS = {
    "num_directions": 4,
    "reconstructor": "lenet",
    "batch_size": 8,
    "steps": 10,
    "precision": "float32",
}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture
def generator(tmp_path):
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=8, channels=1, num_classes=3, widths=(8, 8, 8, 8)).freeze()
    generator.save_pretrained(tmp_path / "generator")
    return generator


def command(tmp_path, out, **settings):
    words = [f"{key}={value}" for key, value in {**SETTINGS, **settings}.items()]
    train = ["-m", "ganaug", "train", "--generator", str(tmp_path / "generator"), "--out", str(out), "--device", "cpu"]
    return [*TORCHRUN, *train, *words]


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_find_what_one_finds_with_the_combined_batch(tmp_path, generator):
    done = subprocess.run(
        command(tmp_path, tmp_path / "two"), env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("holds the pack") == 1, "one process writes and says so"
    two = DirectionPack.from_pretrained(tmp_path / "two")
    one = discover(generator, out=tmp_path / "one", show_progress=False, device="cpu", **SETTINGS)
    start = discover(generator, show_progress=False, device="cpu", rca_samples=8, **{**SETTINGS, "steps": 1})
    torch.testing.assert_close(two.directions, one.directions, atol=2e-4, rtol=0)
    assert (two.directions - start.directions).abs().max() > 2e-3, "there was something to learn"
    assert two.scores["rca"] == pytest.approx(one.scores["rca"], abs=0.02)
    (row,), (same,) = metrics(tmp_path / "two"), metrics(tmp_path / "one")
    assert {key: pytest.approx(value, abs=2e-3) for key, value in row.items() if key != "seconds"} == {
        key: value for key, value in same.items() if key != "seconds"
    }
    state, same = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("two", "one"))
    assert state["pairs"].keys() == same["pairs"].keys(), "a run of two processes goes on with one"
    for name, tensor in state["pairs"].items():
        torch.testing.assert_close(tensor, same["pairs"][name], atol=3e-3, rtol=3e-3, msg=name)


def test_a_batch_that_does_not_divide_is_refused_by_every_process(tmp_path, generator):
    done = subprocess.run(
        command(tmp_path, tmp_path / "two", batch_size=7),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0 and "should be a multiple of" in done.stderr


def test_when_one_process_dies_the_run_ends_and_can_go_on(tmp_path, generator):
    out = tmp_path / "two"
    process = subprocess.Popen(
        command(tmp_path, out, steps=1_000_000), env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 120
        while not (out / "metrics.jsonl").exists() or not metrics(out):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
        assert len(children) == 2
        os.kill(int(children[1]), signal.SIGKILL)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(int(child), 0)
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    assert state["settings"]["steps"] == 1_000_000 and not list(out.glob("config.json"))
