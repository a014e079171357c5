import inspect
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from ganaug.errors import DiscoveryError, GeneratorError, Interrupted, SettingsError
from ganaug.generators import DCGAN, MLP, SNGAN, Generator, StyleGAN2
from ganaug.training import DiscoverySettings, discover
from ganaug.training.discovery import Run
from ganaug.training.discovery.checkpoint import write_checkpoint
from ganaug.training.discovery.step import draw_batch

QUICK = {
    "num_directions": 4,
    "reconstructor": "lenet",
    "batch_size": 8,
    "precision": "float32",
    "show_progress": False,
    "rca_samples": 64,
}


SMALL = {key: value for key, value in QUICK.items() if key not in ("show_progress", "rca_samples")}


def tiny(num_classes: int = 0) -> SNGAN:
    torch.manual_seed(0)
    return SNGAN(latent_dim=8, channels=1, num_classes=num_classes, widths=(8, 8, 8, 8)).freeze()


class Blobs(nn.Module):
    """Four things to discover: a bright blob's height, sideways place, size and brightness."""

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        y, x, size, light = latents[:, :4].mul(0.7).tanh()[:, :, None, None].unbind(1)
        grid = torch.linspace(-1, 1, 32)
        distance = (grid[:, None] - 0.6 * y) ** 2 + (grid - 0.6 * x) ** 2
        return (2 * torch.sigmoid(light * 2) * torch.exp(-distance / (0.1 + 0.08 * size)) - 1)[:, None]


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_finds_the_factors_of_a_generator_that_has_them(tmp_path):
    """Four factors hidden in a rotated 16-dimensional latent: learned directions find them, random ones can't."""
    torch.manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(16, 16))[0]
    network = nn.Sequential(nn.Linear(16, 16, bias=False), Blobs())
    network[0].weight.data = rotation
    generator = Generator.from_module(network, latent_dim=16, image_size=32, channels=1)
    budget = {**QUICK, "batch_size": 64, "steps": 250, "matrix_lr": 2e-2, "reconstructor_lr": 3e-3, "rca_samples": 1000}
    learned = discover(generator, direction_matrix="unit", out=tmp_path, **budget)
    fixed = discover(generator, direction_matrix="random", **budget)
    assert 1 - learned.scores["rca"] < 0.7 * (1 - fixed.scores["rca"])
    in_factors, at_random = (
        (pack.directions @ rotation.T)[:, :4].square().sum(1).median() for pack in (learned, fixed)
    )
    assert in_factors > 0.9 > 0.6 > at_random, "directions leave the twelve latents that change nothing"
    progress = [row["rca"] for row in rows(tmp_path)]
    assert progress[-1] > progress[0] + 0.2


@pytest.mark.parametrize("kind", ["unit", "orthonormal", "linear", "random", "coordinate"])
@pytest.mark.parametrize("num_classes", [0, 3])
def test_every_direction_matrix_gives_a_pack_of_unit_directions(kind, num_classes):
    pack = discover(tiny(num_classes), direction_matrix=kind, steps=3, **QUICK)
    torch.testing.assert_close(pack.directions.norm(dim=1), torch.ones(4))
    assert pack.method["direction_matrix"] == kind and pack.method["steps"] == 3
    assert 0 <= pack.scores["rca"] <= 1
    for direction in pack:
        low, high = direction.range
        assert low == -high and direction.vector.norm() * high == pytest.approx(6.0, rel=0.2)


def test_directions_in_a_range_of_layers_change_no_other_and_go_on_only_with_the_same_layers(tmp_path):
    def in_layers(*layers):
        torch.manual_seed(0)
        sizes = {"z_dim": 6, "w_dim": 8, "image_size": 32, "widths": (8, 8, 4, 4), "mapping_layers": 2, "channels": 1}
        return StyleGAN2(**sizes, latent_space="w", layers=layers)

    whole = discover(in_layers(3, 6), steps=2, **QUICK)
    assert whole.directions.shape == (4, 16) and whole.directions[:, :8].count_nonzero() == 0
    torch.testing.assert_close(whole.directions.norm(dim=1), torch.ones(4))
    run = Run(in_layers(3, 6).freeze(), DiscoverySettings.from_mapping({**SMALL, "steps": 2}))
    run.train_step()
    write_checkpoint(tmp_path / "checkpoint.pt", run.state())
    with pytest.raises(DiscoveryError, match="belongs to another run: it was made with another generator"):
        discover(in_layers(2, 6), out=tmp_path, resume=True, steps=2, **QUICK)
    resumed = discover(in_layers(3, 6), out=tmp_path, resume=True, steps=2, **QUICK)
    assert torch.equal(resumed.directions, whole.directions)


@pytest.mark.parametrize(
    "settings",
    [
        {"magnitude_loss": "squared"},
        {"magnitude_distribution": "normal"},
        {"schedule": "constant"},
        {"precision": "bfloat16"},
        {"reconstructor": "resnet18"},
    ],
)
def test_settings_change_what_is_learned(settings):
    base = discover(tiny(), steps=4, matrix_lr=1e-2, **QUICK)
    other = discover(tiny(), **{**QUICK, "steps": 4, "matrix_lr": 1e-2, **settings})
    assert not torch.equal(base.directions, other.directions)
    torch.testing.assert_close(other.directions.norm(dim=1), torch.ones(4))


def test_the_generator_is_frozen_and_its_weights_never_change():
    generator = SNGAN(latent_dim=8, channels=1, widths=(8, 8, 8, 8))
    before = generator.weights_sha256()
    discover(generator, steps=3, **QUICK)
    assert generator.weights_sha256() == before
    assert not generator.training and not any(p.requires_grad for p in generator.parameters())


def test_both_images_of_a_pair_have_the_same_label():
    """A generator that draws nothing but its label: every pair is equal, in training and in measuring."""

    class LabelOnly(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = []

        def forward(self, latents, labels):
            self.seen.append(labels.clone())
            shade = labels.float() / 10 - 0.5 + 1e-3 * latents.mean(1)
            return shade[:, None, None, None].expand(-1, 1, 32, 32)

    module = LabelOnly()
    generator = Generator.from_module(module, latent_dim=4, image_size=32, channels=1, num_classes=5)
    module.seen.clear()
    discover(generator, steps=5, **{**QUICK, "num_directions": 3})
    pairs = module.seen[1:] if len(module.seen) % 2 else module.seen
    assert len(pairs) > 10
    for first, second in zip(pairs[::2], pairs[1::2], strict=True):
        assert torch.equal(first, second)
    assert len(torch.cat(pairs).unique()) == 5


def test_same_seed_same_directions_another_seed_others():
    first, second = (discover(tiny(), steps=3, seed=1, **QUICK) for _ in range(2))
    assert torch.equal(first.directions, second.directions) and first.scores == second.scores
    assert not torch.equal(first.directions, discover(tiny(), steps=3, seed=2, **QUICK).directions)


def test_discovery_leaves_the_global_random_state_alone():
    generator = tiny()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    discover(generator, steps=2, **QUICK)
    assert torch.equal(torch.rand(4), expected)


SCRIPT = """
import sys, torch
from ganaug.generators import SNGAN
from ganaug.errors import Interrupted
from ganaug.training import discover
torch.manual_seed(0)
torch.set_num_threads(1)
generator = SNGAN(latent_dim=8, channels=1, widths=(8, 8, 8, 8)).freeze()
try:
    discover(generator, out=sys.argv[1], resume=sys.argv[2] == "resume", steps=60, num_directions=4, batch_size=8,
             reconstructor="lenet", schedule="cosine", checkpoint_every=7, log_every=4, rca_samples=64)
except Interrupted as error:
    print(error)
    raise SystemExit(3)
"""


def run_until(folder, *, step, number, mode="fresh"):
    """Run SCRIPT and send a signal when its metrics reach a step; returns the finished process."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), mode], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    metrics = folder / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and f'"step": {step},' in metrics.read_text()):
        time.sleep(0.005)
    os.kill(process.pid, number)
    process.communicate(timeout=120)
    return process


def unbroken(folder):
    torch.set_num_threads(1)
    return discover(
        tiny(),
        out=folder,
        steps=60,
        num_directions=4,
        batch_size=8,
        reconstructor="lenet",
        schedule="cosine",
        checkpoint_every=7,
        log_every=4,
        rca_samples=64,
        show_progress=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_resumes_as_if_nothing_had_happened(tmp_path, number):
    whole = unbroken(tmp_path / "whole")
    process = run_until(tmp_path / "broken", step=20, number=number)
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 3)
    reached = torch.load(tmp_path / "broken" / "checkpoint.pt", weights_only=True)["step"]
    assert 14 <= reached < 60
    resumed = discover(
        tiny(),
        out=tmp_path / "broken",
        resume=True,
        steps=60,
        num_directions=4,
        batch_size=8,
        reconstructor="lenet",
        schedule="cosine",
        checkpoint_every=7,
        log_every=4,
        rca_samples=64,
        show_progress=False,
    )
    assert torch.equal(whole.directions, resumed.directions)
    assert whole.scores == resumed.scores
    without_time = [
        [{key: value for key, value in row.items() if key != "seconds"} for row in rows(tmp_path / name)]
        for name in ("whole", "broken")
    ]
    assert without_time[0] == without_time[1]


def test_a_fresh_run_does_not_overwrite_an_earlier_one(tmp_path):
    discover(tiny(), out=tmp_path, steps=2, **QUICK)
    with pytest.raises(DiscoveryError, match="holds the checkpoint of an earlier run"):
        discover(tiny(), out=tmp_path, steps=2, **QUICK)


def test_resume_refuses_what_is_missing_damaged_or_of_another_run(tmp_path):
    with pytest.raises(DiscoveryError, match=r"there is no .*checkpoint\.pt to resume from"):
        discover(tiny(), out=tmp_path, resume=True, steps=2, **QUICK)
    with pytest.raises(DiscoveryError, match="needs out"):
        discover(tiny(), resume=True, steps=2, **QUICK)
    discover(tiny(), out=tmp_path, steps=2, **QUICK)
    with pytest.raises(DiscoveryError, match="another run: steps was 2, is 3"):
        discover(tiny(), out=tmp_path, resume=True, steps=3, **QUICK)
    other = tiny()
    other.to_image.weight.data += 1
    with pytest.raises(DiscoveryError, match="made with another generator"):
        discover(other, out=tmp_path, resume=True, steps=2, **QUICK)
    checkpoint = tmp_path / "checkpoint.pt"
    whole = checkpoint.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not a checkpoint"):
        checkpoint.write_bytes(damaged)
        with pytest.raises(DiscoveryError, match="is damaged"):
            discover(tiny(), out=tmp_path, resume=True, steps=2, **QUICK)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_good_checkpoint(tmp_path):
    with pytest.raises(DiscoveryError, match="the loss became") as caught:
        discover(
            tiny(), out=tmp_path, steps=400, checkpoint_every=1, log_every=1, **{**QUICK, "reconstructor_lr": 1e30}
        )
    if "last good checkpoint" in str(caught.value):
        state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        assert state["step"] < 400


def test_a_generator_that_is_not_what_it_says_is_refused_at_once():
    generator = tiny()
    generator.image_size = 64
    with pytest.raises(GeneratorError, match=r"returned torch.float32 \(2, 1, 32, 32\)"):
        discover(generator, steps=2, **QUICK)
    broken = tiny()
    broken.dense.weight.data[0, 0] = float("nan")
    with pytest.raises(GeneratorError, match="NaN or Inf"):
        discover(broken, steps=2, **QUICK)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stesp": 10}, "unknown setting stesp. Known: num_directions"),
        ({"steps": 0}, "steps should be positive, got 0"),
        ({"steps": 1.5}, "steps should be an integer, got 1.5"),
        ({"num_directions": 1}, "num_directions should be at least 2, got 1"),
        ({"matrix_lr": "fast"}, "matrix_lr should be a number, got 'fast'"),
        ({"matrix_lr": -1.0}, "matrix_lr should be positive, got -1.0"),
        ({"direction_matrix": "diagonal"}, "direction_matrix should be one of unit"),
        ({"magnitude_loss": "huber"}, "magnitude_loss should be one of absolute, squared"),
        ({"min_magnitude": 7.0}, "min_magnitude should not exceed max_magnitude, got 7.0 and 6.0"),
        ({"precision": "float64"}, "precision should be one of bfloat16, float32"),
    ],
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(SettingsError, match=message):
        discover(tiny(), **{"show_progress": False, **settings})


@pytest.mark.slow
def test_stopping_without_a_folder_says_that_nothing_is_kept():
    script = (
        SCRIPT.replace("out=sys.argv[1], ", "").replace("steps=60", "steps=10**6").replace("log_every=4", "log_every=1")
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, "-", "fresh"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while "loss=" not in (chunk := process.stderr.read(80)):
        assert chunk, "the run ended by itself"
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 3 and "nothing is kept" in out


def test_interrupted_is_a_discovery_error():
    assert issubclass(Interrupted, DiscoveryError)


class Labelled(nn.Module):
    """A bright bar, upright (label 0) or lying (label 1); latent 0 turns it over, latents 1 to 3 move and dim it."""

    def forward(self, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        turn, y, x, light = latents[:, :4, None, None].unbind(1)
        grid = torch.linspace(-1, 1, 32)
        dy, dx = grid[:, None] - 0.3 * y.tanh(), grid - 0.3 * x.tanh()
        lying = torch.sigmoid(12 * (labels[:, None, None] - 0.5) + 4 * turn)
        bar = torch.exp(-(dx**2) * (20 - 18 * lying) - dy**2 * (2 + 18 * lying))
        return (2 * torch.sigmoid(1.5 + light) * bar - 1)[:, None]


@pytest.mark.slow
def test_label_safe_discovery_turns_away_from_what_changes_the_label():
    generator = Generator.from_module(Labelled(), latent_dim=4, image_size=32, channels=1, num_classes=2)
    changes = {}
    for weight in (0.0, 3.0):
        pack = discover(
            generator,
            **{**QUICK, "batch_size": 32, "num_directions": 3, "matrix_lr": 5e-3, "reconstructor_lr": 2e-3},
            steps=250,
            label_weight=weight,
            initial=torch.nn.functional.normalize(
                torch.tensor([[1.0, 0.4, 0, 0], [0.4, 0, 1, 0], [0.3, 0, 0, 1]]), dim=1
            ),
        )
        changes[weight] = pack.directions[:, 0].abs()
    assert changes[3.0].max() < 0.3 < changes[0.0].max(), changes


def test_a_label_weight_needs_labels():
    with pytest.raises(SettingsError, match="needs a class-conditional generator"):
        discover(tiny(), steps=2, label_weight=1.0, **QUICK)


@pytest.mark.parametrize(
    "generator",
    [SNGAN(latent_dim=6, channels=1, num_classes=2, widths=(8, 8, 8, 8)), DCGAN(latent_dim=6, width=4, image_size=32)],
    ids=["sngan", "dcgan"],
)
def test_recomputing_activations_finds_the_same_directions(generator):
    kept, recomputed = (discover(generator, steps=4, recompute=way, **QUICK) for way in (False, True))
    torch.testing.assert_close(kept.directions, recomputed.directions)
    assert not generator.recomputes, "the caller's generator is as it was"


def test_recomputing_keeps_less():
    saved = {False: 0, True: 0}
    for way in saved:
        run = Run(tiny().freeze(), DiscoverySettings(**SMALL, recompute=way))

        def count(tensor, way=way):
            saved[way] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            batch = draw_batch(run.generator, run.settings, run.rng)
            run.synthesize(batch.latents + run.matrix(batch.indices, batch.magnitudes), batch.labels)
    assert saved[True] < saved[False] / 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: Generator.from_module(Blobs(), latent_dim=4, image_size=32, channels=1),
        lambda: MLP(latent_dim=4, hidden=(8,), image_size=32, channels=1),
    ],
)
def test_recomputing_is_for_architectures_that_can(make):
    generator = make()
    with pytest.raises(SettingsError, match=f"recompute=true is for .*biggan.*is a {type(generator).__name__}"):
        discover(generator, steps=2, recompute=True, **QUICK)


def test_a_compiler_that_fails_is_named_once_and_done_without(monkeypatch):
    def failing(function):
        def call(*inputs):
            error = torch._dynamo.exc.BackendCompilerFailed
            arguments = (failing, RuntimeError("no C++ compiler"), None)  # torch 2.6 takes the first two
            raise error(*arguments[: len(inspect.signature(error).parameters)])

        return call

    monkeypatch.setattr(torch, "compile", failing)
    with pytest.warns(UserWarning, match="torch.compile failed .*goes on without") as caught:
        pack = discover(tiny(), steps=3, compile=True, **QUICK)
    assert len(caught) == 1
    assert torch.equal(pack.directions, discover(tiny(), steps=3, **QUICK).directions)
