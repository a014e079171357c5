import hashlib

import pytest
import torch

from ganaug.errors import DiscoveryError, GeneratorError, PackError
from ganaug.generators import SNGAN
from ganaug.packs import DirectionPack
from ganaug.training import convert_deformator


@pytest.fixture
def generator(tmp_path):
    torch.manual_seed(0)
    network = SNGAN(latent_dim=8, channels=1, widths=(8, 8, 8, 8)).freeze()
    network.save_pretrained(tmp_path / "generator")
    return network


def test_a_published_deformator_becomes_a_pack_of_the_same_shifts(tmp_path, generator):
    file, out = tmp_path / "deformator_10000.pt", tmp_path / "directions"
    weight = torch.randn(8, 3)
    torch.save({"linear.weight": weight, "linear.bias": torch.ones(8)}, file)
    with pytest.warns(UserWarning, match=r"deformator_10000\.pt also shifts by a bias"):
        made = convert_deformator(file, str(tmp_path / "generator"), out)
    pack = DirectionPack.from_pretrained(out)
    assert torch.equal(pack.directions, made.directions) and made.name == str(out)
    ends = torch.tensor([high for _, high in (each.range for each in pack)])[:, None] * pack.directions
    torch.testing.assert_close(ends, 6 * weight.T)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert pack.method == {"name": "converted", "file": file.name, "sha256": digest}
    assert pack.generator.weights_sha256() == generator.weights_sha256()
    assert (out / "preview.png").exists()
    before = (out / "directions.safetensors").read_bytes()
    with pytest.warns(UserWarning), pytest.raises(DiscoveryError, match="holds a pack or a generator already"):
        convert_deformator(file, str(tmp_path / "generator"), out)
    assert (out / "directions.safetensors").read_bytes() == before


def test_a_deformator_of_another_generator_leaves_nothing(tmp_path, generator):
    torch.save({"linear.weight": torch.eye(9)}, tmp_path / "d.pt")
    with pytest.raises(PackError, match="directions of 9 dimensions, but its generator's latents have 8"):
        convert_deformator(tmp_path / "d.pt", str(tmp_path / "generator"), tmp_path / "pack")
    with pytest.raises(GeneratorError, match="there is no file"):
        convert_deformator(tmp_path / "none.pt", str(tmp_path / "generator"), tmp_path / "pack")
    assert not (tmp_path / "pack").exists()
