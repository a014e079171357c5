"""torch's defaults set by somebody else change nothing: what ganaug creates and loads is float32 on a named device."""

from contextlib import contextmanager

import pytest
import torch
from PIL import Image

from ganaug.devices import own_defaults
from ganaug.draws import draw_shifts, seeded
from ganaug.evaluation import reconstruction_error
from ganaug.gallery import contact_sheet
from ganaug.generators import SNGAN, Generator
from ganaug.inversion import InvertedFolder, Latents, invert_folder
from ganaug.packs import DirectionPack
from ganaug.training import discover, train_encoder
from ganaug.transforms import LatentBank, LatentShift, RandomLatentShift

DEFAULTS = [(torch.float64, "cpu"), (torch.bfloat16, "cpu"), (torch.float16, "meta"), (torch.float32, "meta")]


@contextmanager
def set_by_somebody(dtype, device):
    try:
        torch.set_default_dtype(dtype)
        torch.set_default_device(device)
        yield
        assert (torch.get_default_dtype(), torch.get_default_device().type) == (dtype, device), "it stays theirs"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


def everything(folder, images, labels):
    """What users do, from a pack on disk, and all that comes of it."""
    pack = DirectionPack.from_pretrained(folder)
    found = [*pack.generator.state_dict().values(), *pack.encoder.state_dict().values()]
    for options in ({"source": "sample"}, {"source": "invert"}, {"source": "invert", "num_ops": 2}):
        shift = LatentShift([0, 2, 4], pack=pack, weights=[1, 2, 3], return_params=True, **options)
        torch.manual_seed(0)
        for given in ((images, labels), (images, labels.tolist()), (images[0], 3), (images[:, :1], labels)):
            (shifted, _), params = shift(*given)
            found += [shifted, *(value for value in params.values() if isinstance(value, torch.Tensor))]
        found += shift([*images[:2]], [1, 2])[0][0]
    found.append(shift(images, labels, Latents([[0.5] * 8] * len(images)))[1]["latents"])
    torch.manual_seed(0)
    found.append(RandomLatentShift("any", pack=pack, p=1.0, same_on_batch=True)(images))
    found += draw_shifts(5, 3, rng=seeded(1)) + draw_shifts(5, 3, distribution="normal", rng=seeded(1))
    return found


def check_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)


@pytest.mark.parametrize(("dtype", "device"), DEFAULTS)
def test_packs_and_transforms_are_as_ever(inverting_pack, tmp_path, dtype, device):
    inverting_pack.save_pretrained(tmp_path / "pack")
    images, labels = torch.rand(4, 3, 32, 32), torch.arange(4)
    expected = everything(tmp_path / "pack", images, labels)
    with set_by_somebody(dtype, device):
        found = everything(tmp_path / "pack", images, labels)
    check_same(found, expected)


def made(root, pack, generator):
    """What ganaug makes: banks, latents of folders, directions, encoders, figures, pictures."""
    bank = LatentBank.build(pack, "any", 20, root / "bank.safetensors", show_progress=False, device="cpu")
    torch.manual_seed(0)
    black = torch.zeros(4, 3, 32, 32, dtype=torch.uint8, device="cpu")
    served = LatentShift(bank=LatentBank(bank.path))(black, [0, 1, 2, 3])
    invert_folder(root / "photos", pack, classes=[], refine_steps=2, show_progress=False, device="cpu")
    stored = InvertedFolder(root / "photos", pack, transforms=LatentShift("any", pack=pack, source="invert"))
    budget = {"steps": 2, "batch_size": 4, "device": "cpu", "show_progress": False}
    learned = discover(generator, num_directions=3, rca_samples=8, out=root / "run", **budget)
    encoder = train_encoder(generator, width=4, hidden=8, **budget)
    pixels = contact_sheet(pack, indices=[0, 1], seeds=[0, 1]).tobytes()
    sheet = torch.tensor(list(pixels), dtype=torch.uint8, device="cpu")
    error = reconstruction_error(pack, samples=8)
    return [
        bank.images, bank.magnitudes, served[0], stored.latents, learned.directions, *encoder.state_dict().values(),
        sheet, torch.tensor(error, dtype=torch.float64, device="cpu"),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "device"), DEFAULTS)
def test_what_is_made_is_as_ever(inverting_pack, tmp_path, dtype, device):
    generator = SNGAN(latent_dim=6, channels=1, num_classes=3, widths=(4, 4, 4, 4)).freeze()
    results = []
    for name, defaults in (("usual", (torch.float32, "cpu")), ("theirs", (dtype, device))):
        for k in range(3):
            place = tmp_path / name / "photos" / f"class{k}"
            place.mkdir(parents=True)
            Image.new("RGB", (40, 30), (60 * k, 90, 200)).save(place / "0.png")
        with set_by_somebody(*defaults):
            results.append(made(tmp_path / name, inverting_pack, generator))
    check_same(*results)


@pytest.mark.parametrize(("dtype", "device"), DEFAULTS)
def test_generators_of_ones_own_and_saved_ones(conditional_generator, tmp_path, dtype, device):
    conditional_generator.save_pretrained(tmp_path / "generator")

    class Shade(torch.nn.Module):
        def forward(self, latents):
            return torch.tanh(latents[:, :, None, None].expand(-1, -1, 8, 8)) * torch.ones(8)

    with set_by_somebody(dtype, device):
        loaded = Generator.from_pretrained(tmp_path / "generator")
        own = Generator.from_module(Shade(), latent_dim=3, image_size=8, channels=3)
        latents = loaded.sample_latents(2), own.sample_latents(2)
    assert all(one.dtype == torch.float32 and one.device.type == "cpu" for one in latents)
    assert loaded.weights_sha256() == conditional_generator.weights_sha256()


def test_an_error_inside_leaves_the_defaults_as_they_were():
    @own_defaults
    def fail():
        assert torch.zeros(1).dtype == torch.float32 and torch.zeros(1).device.type == "cpu"
        raise ValueError("told")

    with set_by_somebody(torch.float64, "meta"), pytest.raises(ValueError, match="told"):
        fail()
