"""The shipped packs as they were before the packs' code was built anew: they load unchanged and draw the same.

``data/NAME/`` holds the small files of each as they were then; the networks come from the shipped pack, and
their hashes in config.json say whether they are still those. ``data/drawn.json`` holds what the code of then made of
them: encoded latents, and images averaged to 2 x 2 pixels.
"""

import json
import shutil
from importlib import metadata
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from ganaug.errors import PackError
from ganaug.packs import DirectionPack, bundled_packs
from ganaug.packs.format import checksum

DATA = Path(__file__).parent / "data"
NAMES = ["digits", "faces", "mnist"]


@pytest.fixture(params=NAMES)
def folder(request, tmp_path):
    """The pack of then."""
    folder = Path(shutil.copytree(DATA / request.param, tmp_path / request.param))
    for network in ["encoder", "generator"] if request.param != "faces" else ["encoder"]:
        shutil.copy(bundled_packs()[request.param] / f"{network}.safetensors", folder)
    return folder


def test_nothing_of_a_pack_is_read_in_another_way(folder):
    config, pack = json.loads((folder / "config.json").read_text()), DirectionPack.from_pretrained(folder)
    assert torch.equal(pack.directions, load_file(folder / "directions.safetensors")["directions"])
    assert pack.names == config["names"] and len(pack.names) > 2
    scores = dict(config["scores"])
    rows, commands = scores.pop("directions"), scores.pop("directions_commands")
    assert pack.scores == scores and 0.9 < pack.scores["rca"] < 1 and pack.commands == commands
    for direction in pack:
        index = direction.index
        assert direction.scores == rows.get(str(index), {})
        assert list(direction.range) == config["ranges"][index]
        if config["safe_ranges"] is None:
            assert direction.safe_range is None
        else:
            assert list(direction.safe_range) == (config["safe_ranges"][index] or [0, 0])
        assert torch.equal(direction.vector, pack.directions[index])
    assert (pack.method, pack.license) == (config["method"], config["licence"])
    assert pack.generator_origin == config["generator"].get("source", {})
    assert pack.encoder_method == config["encoder"]["method"]
    assert pack.num_classes == config["generator"].get("num_classes", 0)


def test_a_pack_that_is_saved_again_is_the_same(folder, tmp_path):
    saved = DirectionPack.from_pretrained(folder).save_pretrained(tmp_path / "again")
    config = json.loads((saved / "config.json").read_text())
    assert config.pop("checksum") == checksum(config) and config.pop("format_version") == 2
    then = json.loads((folder / "config.json").read_text())
    assert then.pop("format_version") == 1 and config == then, "format 1 stays readable"
    for file in folder.glob("*.safetensors"):
        assert (saved / file.name).read_bytes() == file.read_bytes()
    assert {file.name for file in saved.iterdir()} == {file.name for file in folder.iterdir()} | {"README.md"}


def test_a_pack_encodes_and_draws_what_it_did(folder):
    then, pack = json.loads((DATA / "drawn.json").read_text())[folder.name], DirectionPack.from_pretrained(folder)
    rng, encoder = torch.Generator().manual_seed(0), pack.encoder
    images = torch.rand(2, encoder.channels, encoder.image_size, encoder.image_size, generator=rng) * 2 - 1
    labels = torch.tensor([3, 7]) if pack.num_classes else None
    close = {"rtol": 0, "atol": 2e-3}
    with torch.no_grad():
        found = encoder(images, labels)[0][:, :8].flatten()
    torch.testing.assert_close(found, torch.tensor(then["latents"]), **close)
    if not _has_generator(pack):
        with pytest.raises(PackError, match=r'pip install --no-deps "gan-face-generate==1\.1\.1"'):
            pack.load()
        return
    latents = torch.randn(2, pack.latent_dim, generator=rng)
    shifted = latents + 3.0 * pack.named_first()[0].vector
    with torch.no_grad():
        drawn = torch.cat([pack.generator(latents, labels), pack.generator(shifted, labels)])
    torch.testing.assert_close(F.adaptive_avg_pool2d(drawn, 2).flatten(), torch.tensor(then["images"]), **close)


def _has_generator(pack):
    """Whether the distribution that holds the generator is installed, if it lies in one."""
    if not pack.generator_origin:
        return True
    try:
        metadata.distribution(pack.generator_origin["distribution"])
    except metadata.PackageNotFoundError:
        return False
    return True
