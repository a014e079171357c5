"""Kills, full disks and failing devices."""

import json
import os
import random
import resource
import signal
import time
from contextlib import contextmanager

import pytest
import torch
from killable import start

from ganaug.errors import DiscoveryError, SettingsError
from ganaug.generators import SNGAN
from ganaug.training import DiscoverySettings, discover
from ganaug.training.discovery import Run
from ganaug.training.discovery.checkpoint import Metrics, write_checkpoint

SETTINGS = {
    "num_directions": 4,
    "reconstructor": "lenet",
    "batch_size": 4,
    "steps": 150,
    "schedule": "cosine",
    "rca_samples": 32,
    "checkpoint_every": 4,
    "log_every": 6,
    "show_progress": False,
}


def tiny():
    torch.manual_seed(0)
    return SNGAN(latent_dim=8, channels=1, widths=(8, 8, 8, 8)).freeze()


def run(folder):
    """Start or go on, whichever it is, in a process of its own."""
    torch.set_num_threads(1)
    resume = (folder / "checkpoint.pt").exists()
    pack = discover(tiny(), out=folder, resume=resume, **{**SETTINGS, "steps": 800})
    torch.save({"directions": pack.directions, "rca": pack.scores["rca"]}, folder / "result.pt")


def outcome(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["seconds"]
    return torch.load(folder / "result.pt", weights_only=True), rows


@pytest.mark.slow
def test_a_run_killed_twenty_times_at_random_ends_bit_for_bit_as_the_unbroken_one(tmp_path):
    start(run, tmp_path / "first").kill()  # the server itself takes a while to start
    began = time.monotonic()
    whole = start(run, tmp_path / "whole")
    whole.join(240)
    longest = max(0.2, (time.monotonic() - began) / 20)  # on a busy machine steps take longer
    assert whole.exitcode == 0
    moments = random.Random(0)
    kills, reached = 0, set()
    while kills < 20:
        process = start(run, tmp_path / "broken")
        time.sleep(moments.uniform(0.0, longest))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "it should not have ended, well or badly, by itself"
        kills += 1
        if (tmp_path / "broken" / "checkpoint.pt").exists():
            reached.add(torch.load(tmp_path / "broken" / "checkpoint.pt", weights_only=True)["step"])
    last = start(run, tmp_path / "broken")
    last.join(240)
    assert last.exitcode == 0 and len(reached) > 2, "kills fell into different steps"
    (result, rows), (broken_result, broken_rows) = outcome(tmp_path / "whole"), outcome(tmp_path / "broken")
    assert torch.equal(broken_result["directions"], result["directions"])
    assert broken_result["rca"] == result["rca"] and broken_rows == rows


@contextmanager
def small_files(size):
    """Files may not grow beyond a number of bytes: what a full disk does to a writer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, previous)


def test_a_full_disk_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, {"step": 1, "weights": torch.zeros(10)})
    with (
        small_files(20_000),
        pytest.raises(DiscoveryError, match=r"checkpoint of step 2 could not be written .*last good checkpoint is"),
    ):
        write_checkpoint(path, {"step": 2, "weights": torch.zeros(1_000_000)})
    assert torch.load(path, weights_only=True)["step"] == 1 and os.listdir(tmp_path) == ["checkpoint.pt"]

    metrics = Metrics(tmp_path)
    with (
        small_files(20_000),
        pytest.raises(DiscoveryError, match=r"metrics.jsonl could not be written \(File too large\).*last good"),
    ):
        for step in range(10_000):
            metrics.append({"step": step, "loss": 0.0})


def test_a_discovery_that_can_not_write_says_so_before_it_trains(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiscoveryError, match="can't be made"):
        discover(tiny(), out=tmp_path / "file" / "run", **SETTINGS)
    with small_files(5_000), pytest.raises(DiscoveryError, match="checkpoint of step 0 could not be written"):
        discover(tiny(), out=tmp_path / "run", **SETTINGS)


class Failing(SNGAN):
    """Fails, as a device would, once it has drawn a number of batches."""

    left, message = 10, ""

    def synthesize(self, latents, labels):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError(self.message)
        return super().synthesize(latents, labels)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("CUDA error: unspecified launch failure\nmore", r"a device .* was lost after step 4 .*--resume"),
        (
            "DefaultCPUAllocator: not enough memory: you tried to allocate",
            "out of memory after step 4 .*recompute=true",
        ),
    ],
)
def test_a_failing_device_is_named_with_the_last_good_checkpoint(tmp_path, message, expected):
    generator = Failing(latent_dim=8, channels=1, widths=(8, 8, 8, 8))
    generator.message = message
    with pytest.raises(DiscoveryError, match=expected) as caught:
        discover(generator, out=tmp_path, **{**SETTINGS, "checkpoint_every": 2})
    assert f"The last good checkpoint is {tmp_path / 'checkpoint.pt'}" in str(caught.value)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 4


def test_other_errors_come_as_they_are(tmp_path):
    generator = Failing(latent_dim=8, channels=1, widths=(8, 8, 8, 8))
    generator.message = "a mistake in my network"
    with pytest.raises(RuntimeError, match=r"^a mistake in my network$"):
        discover(generator, out=tmp_path, **SETTINGS)


def test_a_weight_that_is_not_finite_is_never_saved(tmp_path):
    with pytest.raises(DiscoveryError, match=r"(no longer finite|the loss became (nan|inf)).*last good checkpoint"):
        discover(tiny(), out=tmp_path, **{**SETTINGS, "checkpoint_every": 1, "reconstructor_lr": 1e38})
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert all(tensor.isfinite().all() for tensor in state["pairs"].values())


def test_tensorboard_holds_the_rows_of_the_metrics(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    discover(tiny(), out=tmp_path, tensorboard=True, **{**SETTINGS, "steps": 18})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [
        (row["step"], pytest.approx(row["loss"])) for row in rows
    ]
    assert {"rca", "direction_loss", "seconds"} <= set(events.Tags()["scalars"])


def test_the_gradients_of_micro_batches_sum_up_to_the_batchs():
    gradients = []
    for parts in (1, 4):
        settings = DiscoverySettings(num_directions=4, batch_size=16, precision="float32", micro_batches=parts)
        run = Run(tiny(), settings)
        run.learner.eval()  # batch norms see one part at a time
        run.optimizer.step = lambda: None
        run.train_step()
        gradients.append(run.matrix.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])
    assert gradients[0].abs().max() > 0


def test_a_checkpoint_of_other_initial_directions_is_refused(tmp_path):
    first, second = torch.eye(8)[:4], torch.eye(8)[4:]
    settings = {**SETTINGS, "steps": 4, "direction_matrix": "given"}
    discover(tiny(), out=tmp_path, initial=first, **settings)
    with pytest.raises(DiscoveryError, match="started from other directions"):
        discover(tiny(), out=tmp_path, initial=second, resume=True, **settings)


def test_memory_may_be_saved_on_the_way(tmp_path):
    whole = discover(tiny(), out=tmp_path / "whole", **{**SETTINGS, "steps": 8})
    state = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 8
    resumed = discover(tiny(), out=tmp_path / "whole", resume=True, recompute=True, **{**SETTINGS, "steps": 8})
    assert torch.equal(whole.directions, resumed.directions)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"direction_matrix": "orthonormal", "num_directions": 9}, "don't fit in 8 latent dimensions"),
        ({"direction_matrix": "given"}, "needs initial directions"),
        ({"reconstructor": "resnet18", "reconstructor_width": 2}, "whose width is 1"),
        ({"micro_batches": 4}, "two pairs or more for each"),
        ({"micro_batches": 3}, "should be a multiple of"),
        ({"log_every": 0}, "log_every should be a positive number"),
    ],
)
def test_settings_that_do_not_go_together_are_named(settings, message):
    with pytest.raises(SettingsError, match=message):
        discover(tiny(), **{**SETTINGS, **settings})
