import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch.nn import functional as F

from ganaug.cli import main
from ganaug.generators import SNGAN
from ganaug.packs import DirectionPack


@pytest.fixture
def run():
    """Runs a command, which ends with an exit status and without a traceback; returns what it said."""

    def invoke(*words, code=0):
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit), "no traceback"
        return result.output

    return invoke


@pytest.fixture
def generator_folder(tmp_path):
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=8, channels=1, widths=(8, 8, 8, 8)).freeze()
    generator.save_pretrained(tmp_path / "generator")
    return tmp_path / "generator"


@pytest.fixture
def pack_folder(tmp_path):
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=8, channels=3, num_classes=2, widths=(8, 8, 8, 8)).freeze()
    directions = F.normalize(torch.randn(3, 8), dim=1)
    pack = DirectionPack(directions, generator=generator, names={"colour": 1})
    return pack.save_pretrained(tmp_path / "pack")


@pytest.fixture
def photos(tmp_path):
    """A function that writes plain pictures into class subfolders, ``count`` a label."""

    def write(*labels, count=1, size=(32, 32)):
        folder = tmp_path / "photos"
        for label in labels:
            (folder / label).mkdir(parents=True)
            for k in range(count):
                Image.new("RGB", size, (200, 30 + 30 * k, 90)).save(folder / label / f"{k}.png")
        return folder

    return write


@pytest.fixture
def workplace(tmp_path, monkeypatch, photos, tutorial):
    """A folder to be in, with a pack, a generator, a checkpoint and photographs."""
    monkeypatch.chdir(tmp_path)
    photos("cat", "dog", size=(60, 60))
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=8, channels=3, num_classes=2, widths=(8, 8, 8, 8)).freeze()
    DirectionPack(F.normalize(torch.randn(3, 8), dim=1), generator=generator).save_pretrained("pack")
    SNGAN(latent_dim=8, channels=1, widths=(8, 8, 8, 8)).freeze().save_pretrained("gen")
    torch.save({f"main.{name}": tensor for name, tensor in tutorial.state_dict().items()}, "checkpoint.pt")
    return tmp_path
