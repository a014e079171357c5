"""What runs attacks, and the small valid files that are attacked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from ganaug.generators import DCGAN, MLP, SNGAN, Encoder, StyleGAN2, StyleGAN3
from ganaug.packs import DirectionPack

ROOT = Path(__file__).parents[2]
SLOWEST = 60
"""Seconds for one attack, on a machine that does other things too."""


OFTEN = [(300, 0), pytest.param(1000, 1, marks=[pytest.mark.slow, pytest.mark.long])]
"""How many attacks, and from which seed."""


def outcomes(attacks):
    """What came of each ``(kind, path)``, in a child; those that it hung or died at are named, and it goes on."""
    told, left = [], list(attacks)
    while left:
        lines = "".join(json.dumps([kind, str(path)]) + "\n" for kind, path in left)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.attacks.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        try:
            out, err = child.communicate(lines, timeout=60 + 2 * len(left))
            ended = f"WRONG the process ended with {child.returncode}: {err[-500:]}"
        except subprocess.TimeoutExpired:
            child.kill()
            out, _ = child.communicate()
            ended = "WRONG it hung"
        answers = [json.loads(line) for line in out.splitlines()]
        told += [what if seconds < SLOWEST else f"WRONG it took {seconds:.0f} s" for what, seconds in answers]
        left = left[len(answers) :]
        if left:
            told.append(ended)
            left = left[1:]
    return told


def check(attacks, names, *, canary=None):
    """Nothing but sound results and sentences; how many were refused, and what each of the others drew."""
    told = outcomes(attacks)
    assert len(told) == len(attacks)
    wrong = [f"{name}: {what}" for name, what in zip(names, told, strict=True) if what.startswith("WRONG")]
    assert not wrong, f"{len(wrong)} of {len(told)}:\n" + "\n".join(wrong[:20])
    assert canary is None or not canary.exists(), "code of a file's ran"
    return told


@pytest.fixture
def generators():
    """One of each architecture that is quick to build, by name."""
    torch.manual_seed(0)
    return {
        "dcgan": DCGAN(latent_dim=6, width=4, image_size=16),
        "sngan": SNGAN(latent_dim=6, num_classes=3, widths=(4, 4, 4, 4)),
        "mlp": MLP(latent_dim=6, hidden=(8, 8), image_size=8, batch_norm=True),
        "stylegan2": StyleGAN2(z_dim=6, w_dim=6, image_size=16, widths=(6, 4, 4), mapping_layers=2),
        "stylegan3": StyleGAN3(
            z_dim=4, w_dim=5, image_size=16, channel_base=64, channel_max=6, num_layers=4, margin_size=2
        ),
    }


@pytest.fixture
def small_pack():
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=6, num_classes=3, widths=(4, 4, 4, 4)).freeze()
    encoder = Encoder(latent_dim=6, image_size=32, channels=3, num_classes=3, width=4, hidden=4).freeze()
    return DirectionPack(
        F.normalize(torch.randn(4, 6), dim=1),
        generator=generator,
        encoder=encoder,
        names={"background": 1},
        safe_ranges=[(-1, 1)] * 4,
        method={"name": "reconstructor", "steps": 10},
        scores={"rca": 0.9, "rca_command": "ganaug train r.toml"},
        name="small",
    )
