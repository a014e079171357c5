"""Two processes of torchrun's share the work, and make what one makes."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ganaug.inversion import invert_folder
from ganaug.transforms import LatentBank, augment_folder

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ganaug"]


def run(*words):
    told = subprocess.run(
        [*TORCHRUN, *map(str, words), "--device", "cpu"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert told.returncode == 0, told.stderr


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(11):
        place = tmp_path / "photos" / str(k % 3)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(place / f"{k}.png")
    return tmp_path / "photos"


@pytest.mark.slow
def test_two_processes_make_what_one_makes(inverting_pack, photos, tmp_path):
    folder = inverting_pack.save_pretrained(tmp_path / "tiny")
    options = {"device": "cpu", "show_progress": False}
    LatentBank.build(folder, "any", 600, tmp_path / "one.bank", **options)
    run("bank", folder, tmp_path / "two.bank", "--direction", "any", "--size", 600)
    assert (tmp_path / "one.bank").read_bytes() == (tmp_path / "two.bank").read_bytes()
    for latents in ("find", "stored"):
        augment_folder(photos, tmp_path / f"one {latents}", "any", pack=folder, copies=2, latents=latents, **options)
        words = ("--pack", folder, "--direction", "any", "--copies", 2, "--latents", latents)
        run("augment", photos, tmp_path / f"two {latents}", *words)
        one, two = (
            {file.relative_to(out).as_posix(): file.read_bytes() for file in out.rglob("*.png")}
            for out in (tmp_path / f"one {latents}", tmp_path / f"two {latents}")
        )
        assert one == two and len(one) == 22
        if latents == "find":
            path = invert_folder(photos, folder, batch_size=4, **options)
            alone = path.read_bytes()
            path.unlink()
            run("invert", photos, "--pack", folder, "--batch-size", 4)
            assert path.read_bytes() == alone
