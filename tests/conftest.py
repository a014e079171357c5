import pytest
import torch
from torch.nn import functional as F

from ganaug.directions import DirectionPack
from ganaug.generators import SNGAN


@pytest.fixture(scope="session")
def conditional_generator():
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=8, channels=3, num_classes=10, widths=(8, 8, 8, 8))
    for module in generator.modules():
        if isinstance(module, torch.nn.Embedding):
            module.weight.data += torch.randn_like(module.weight) / 2
    return generator.freeze()


@pytest.fixture
def pack(conditional_generator):
    """Six directions of a class-conditional generator: two named, three usable."""
    directions = F.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    return DirectionPack(
        directions,
        generator=conditional_generator,
        names={"background": 4, "stroke": 2},
        ranges=[(-6, 6)] * 6,
        safe_ranges=[(-1, 2), None, (-3, 3), None, (-4, 4), None],
        method={"name": "reconstructor", "steps": 10},
        scores={"rca": 0.9, "rca_command": "ganaug train r.toml", "directions": {"4": {"label": 0.99}}},
        name="tiny",
    )
