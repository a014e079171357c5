import hashlib
import struct
import sys
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from ganaug.generators import SNGAN, Encoder
from ganaug.packs import DirectionPack


@pytest.fixture(autouse=True)
def quick_domains(monkeypatch):
    """Encoders that tests train look at a few images only; the shipped packs' domains lie in their files."""
    monkeypatch.setattr("ganaug.inversion.domain.VIEWS", 40)
    monkeypatch.setattr("ganaug.inversion.domain.DRAWS", 40)


@pytest.fixture(scope="session")
def conditional_generator():
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=8, channels=3, num_classes=10, widths=(8, 8, 8, 8))
    for module in generator.modules():
        if isinstance(module, torch.nn.Embedding):
            module.weight.data += torch.randn_like(module.weight) / 2
    return generator.freeze()


@pytest.fixture(scope="session")
def reading_judge(conditional_generator):
    """A linear classifier, of images in [0, 1], that reads what ``conditional_generator`` draws; by least squares."""
    rng = torch.Generator().manual_seed(5)
    latents = conditional_generator.sample_latents(1000, rng=rng)
    labels = conditional_generator.sample_labels(1000, rng=rng)
    images = (conditional_generator(latents, labels).flatten(1) + 1) / 2
    images = torch.cat([images, torch.ones(1000, 1)], dim=1).double()
    wanted = F.one_hot(labels, 10).double()
    weights = torch.linalg.solve(images @ images.T + 0.1 * torch.eye(1000), wanted).T @ images
    judge = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    judge[1].weight.data, judge[1].bias.data = weights[:, :-1].float(), weights[:, -1].float()
    return judge.eval()


@pytest.fixture
def pack(conditional_generator):
    """Six directions of a class-conditional generator: two named, three usable."""
    directions = F.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    pack = DirectionPack(
        directions,
        generator=conditional_generator,
        names={"background": 4, "stroke": 2},
        ranges=[(-6, 6)] * 6,
        safe_ranges=[(-1, 2), (0, 0), (-3, 3), (0, 0), (-4, 4), (0, 0)],
        method={"name": "reconstructor", "steps": 10},
        scores={"rca": 0.9, "rca_command": "ganaug train r.toml"},
        name="tiny",
    )
    pack.add_scores("background", {"label": 0.99}, command="ganaug evaluate tiny")
    return pack


def encoder_for(generator):
    torch.manual_seed(1)
    names = ("latent_dim", "image_size", "channels", "num_classes")
    return Encoder(**{name: getattr(generator, name) for name in names}, width=8, hidden=16).freeze()


@pytest.fixture
def inverting_pack(pack):
    """``pack`` with an encoder, of random weights: what is computed is checked, not how well it looks."""
    pack.encoder = encoder_for(pack.generator)
    return pack


@pytest.fixture
def grey_pack():
    """Four directions of an unconditional grey generator, with an encoder."""
    torch.manual_seed(2)
    generator = SNGAN(latent_dim=8, channels=1, widths=(8, 8, 8, 8)).freeze()
    return DirectionPack(
        torch.eye(8)[:4], generator=generator, names={"slant": 1}, encoder=encoder_for(generator), name="grey"
    )


@pytest.fixture
def data_root(tmp_path):
    """Twenty digits, twenty garments and ten photographs in the layout that the data sets have on disk."""
    rng = np.random.default_rng(0)
    for name, split in product(("MNIST", "FashionMNIST"), ("train", "t10k")):
        raw = tmp_path / name / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        digits = rng.integers(0, 256, (20, 28, 28), dtype=np.uint8)
        (raw / f"{split}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, 20, 28, 28) + digits.tobytes())
        labels = np.arange(20, dtype=np.uint8) % 10
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 20) + labels.tobytes())
    for split in ("train", "test"):
        (tmp_path / "bsds500" / split).mkdir(parents=True)
        for k in range(10):
            pixels = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "bsds500" / split / f"{k}.jpg")
    return tmp_path


@pytest.fixture
def tutorial():
    """The PyTorch tutorial's DCGAN, 16 pixels, with batch-norm statistics of its own."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.ConvTranspose2d(6, 16, 4, 1, 0, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(True),
        nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(True),
        nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False),
        nn.Tanh(),
    )
    network(torch.randn(64, 6, 1, 1))
    return network.eval().requires_grad_(False)


@pytest.fixture
def distribution(tutorial, tmp_path, monkeypatch):
    """An installed distribution ``toy-faces`` 2.0 that carries a checkpoint; returns what names its generator."""
    site = tmp_path / "site"
    (site / "toy_faces").mkdir(parents=True)
    (site / "toy_faces-2.0.dist-info").mkdir()
    (site / "toy_faces-2.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-faces\nVersion: 2.0\n")
    tensors = {f"main.{name}": tensor for name, tensor in tutorial.state_dict().items()}
    torch.save({"netG_state_dict": tensors}, site / "toy_faces" / "weights.tar")
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    digest = hashlib.sha256((site / "toy_faces" / "weights.tar").read_bytes()).hexdigest()
    return {"distribution": "toy-faces", "version": "2.0", "path": "toy_faces/weights.tar", "file_sha256": digest}
