"""Small networks, packs and images, and the pretended device within which each test runs."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from pretended import pretended_device


@pytest.fixture
def device():
    with pretended_device() as there:
        yield there


@pytest.fixture
def images():
    return torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels():
    return torch.tensor([0, 3, 9, 1, 1, 7])
