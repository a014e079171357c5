"""Discovery by every method, and encoders, on a device: the same as on the CPU, and how often the host waits."""

import copy
import dataclasses
import sys
from pathlib import Path

import pytest
import torch
from pretended import counting

sys.path.insert(0, str(Path(__file__).parents[1] / "generators"))
from test_every_architecture import smallest

from ganaug.training import METHODS, discover, find_directions, train_encoder

SETTINGS = {
    "reconstructor": {"steps": 3, "batch_size": 4, "precision": "float32"},
    "contrastive": {"steps": 3, "batch_size": 4, "precision": "float32"},
    "ganspace": {"samples": 64},
    "sefa": {},
    "random": {},
    "coordinate": {},
}


def quick_discovery(generator, settings, device, show_progress):
    return discover(generator, device=device, show_progress=show_progress, rca_samples=8, **settings.to_dict())


def test_no_method_is_left_out():
    assert {name for name, method in METHODS.items() if method.function.__module__.startswith("ganaug.")} == set(
        SETTINGS
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_every_method_finds_there_what_it_finds_here(device, name, monkeypatch):
    monkeypatch.setitem(
        METHODS, "reconstructor", dataclasses.replace(METHODS["reconstructor"], function=quick_discovery)
    )
    generator = smallest("sngan")
    found = [
        find_directions(
            copy.deepcopy(generator), name, device=where, show_progress=False, num_directions=3, **SETTINGS[name]
        )
        for where in ("cpu", device)
    ]
    torch.testing.assert_close(found[1].directions, found[0].directions, rtol=1e-4, atol=1e-5)
    assert found[1].directions.is_cpu


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_of_discovery_waits_for_nothing(device, precision):
    options = {"num_directions": 3, "batch_size": 4, "rca_samples": 8, "precision": precision, "device": device}
    count = []
    for steps in (4, 12):
        generator = smallest("sngan")
        with counting() as waits:
            discover(generator, steps=steps, log_every=100, checkpoint_every=100, show_progress=False, **options)
        count.append(sum(waits.values()))
    assert count[0] == count[1], waits


def test_discovery_goes_on_there_from_a_file(device, tmp_path):
    options = {"num_directions": 3, "batch_size": 4, "rca_samples": 8, "precision": "float32", "show_progress": False}
    whole = discover(smallest("sngan"), steps=6, device="cpu", **options)
    discover(smallest("sngan"), steps=6, device=device, out=tmp_path, checkpoint_every=3, log_every=1, **options)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state
    again = discover(smallest("sngan"), steps=6, device="cpu", out=tmp_path, resume=True, **options)
    torch.testing.assert_close(again.directions, whole.directions, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("real", [True, False])
def test_an_encoder_is_trained_there_as_here(device, conditional_generator, images, real):
    options = {"steps": 4, "batch_size": 4, "width": 8, "hidden": 8, "precision": "float32", "show_progress": False}
    trained = [
        train_encoder(copy.deepcopy(conditional_generator), images=images if real else None, device=where, **options)
        for where in ("cpu", device)
    ]
    for here, there in zip(*(one.state_dict().values() for one in trained), strict=True):
        torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-5)


def test_a_step_of_an_encoder_waits_for_nothing(device, conditional_generator, images):
    count = []
    for steps in (10, 30):
        with counting() as waits:
            train_encoder(
                copy.deepcopy(conditional_generator),
                images=images,
                device=device,
                steps=steps,
                batch_size=4,
                width=8,
                hidden=8,
                show_progress=False,
            )
        count.append(sum(waits.values()))
    assert count[0] == count[1], waits
