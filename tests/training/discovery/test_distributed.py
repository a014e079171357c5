"""Two processes on CPUs, started by torchrun, beside one."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from ganaug.generators import SNGAN
from ganaug.packs import DirectionPack
from ganaug.training import discover

pytestmark = pytest.mark.slow
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


@pytest.mark.parametrize("more", [{}, {"micro_batches": 2, "label_weight": 0.5}], ids=["plain", "parts"])
@pytest.mark.slow
def test_two_processes_find_what_one_finds_with_the_combined_batch(tmp_path, generator, more):
    done = subprocess.run(
        command(tmp_path, tmp_path / "two", **more), env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("holds the pack") == 1, "one process writes and says so"
    two = DirectionPack.from_pretrained(tmp_path / "two")
    one = discover(generator, out=tmp_path / "one", show_progress=False, device="cpu", **SETTINGS, **more)
    start = discover(generator, show_progress=False, device="cpu", rca_samples=8, **{**SETTINGS, "steps": 1}, **more)
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


@pytest.mark.slow
def test_a_batch_that_does_not_divide_is_refused_by_every_process(tmp_path, generator):
    done = subprocess.run(
        command(tmp_path, tmp_path / "two", batch_size=7),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0 and "should be a multiple of" in done.stderr


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_run_of_two_goes_on_with_two(tmp_path, generator):
    """Where it stopped decides nothing: neither directions nor the rows that follow, though a row was begun before."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from ganaug.generators import Generator\n"
        "from ganaug.training import discover\n"
        "from ganaug.ranks import process_group\n"
        f"settings = {SETTINGS!r}\n"
        f"generator = Generator.from_pretrained({str(tmp_path / 'generator')!r})\n"
        "class Enough(Exception): pass\n"
        "def stop(run):\n"
        "    if run.step == 7: raise Enough\n"
        "with process_group('cpu'):\n"
        "    from ganaug.training.discovery import Run\n"
        "    step = Run.train_step\n"
        "    if sys.argv[2] == 'broken':\n"
        "        Run.train_step = lambda run: (stop(run), step(run))\n"
        "    try:\n"
        "        discover(generator, out=sys.argv[1], resume=sys.argv[2] == 'on', device='cpu', show_progress=False,\n"
        "                 checkpoint_every=3, log_every=4, rca_samples=8, **settings)\n"
        "    except Enough:\n"
        "        pass\n"
    )
    for out, mode in (("whole", "fresh"), ("parts", "broken"), ("parts", "on")):
        done = subprocess.run(
            [*TORCHRUN, str(script), str(tmp_path / out), mode],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
    whole, parts = (metrics(tmp_path / out) for out in ("whole", "parts"))
    assert [{**row, "seconds": 0} for row in whole] == [
        {**{key: pytest.approx(value) for key, value in row.items()}, "seconds": 0} for row in parts
    ]
    states = [torch.load(tmp_path / out / "checkpoint.pt", weights_only=True)["pairs"] for out in ("whole", "parts")]
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], msg=name)
