"""Latents stored beside the images, so that epochs only shift and draw."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torchvision.transforms import v2

from ganaug.errors import PackError
from ganaug.generators import Encoder
from ganaug.inversion import InvertedFolder, invert, invert_folder
from ganaug.transforms import LatentShift


@pytest.fixture
def folder(tmp_path):
    """Three class subfolders of two pictures each, no two of a size."""
    rng = np.random.default_rng(0)
    for k in range(6):
        place = tmp_path / "photos" / f"class{k % 3}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (30 + k, 40 + k, 3), dtype=np.uint8)).save(place / f"{k}.png")
    return tmp_path / "photos"


def as_seen(path):
    picture = v2.functional.pil_to_tensor(Image.open(path))
    return v2.functional.resize(picture, [32, 32], antialias=True).float()[None] / 127.5 - 1


def test_latents_of_all_images_in_their_order(folder, inverting_pack):
    path = invert_folder(folder, inverting_pack, show_progress=False, batch_size=4)
    stored = load_file(path)
    assert path == folder / "latents.safetensors" and stored["latents"].shape == (6, 8)
    for row, file in enumerate(sorted(folder.rglob("*.png"))):
        latents, read = invert(inverting_pack, as_seen(file))
        torch.testing.assert_close(stored["latents"][row], latents[0], atol=1e-4, rtol=1e-3)
        assert stored["labels"][row] == read[0], "three subfolders are not ten classes, so the encoder reads"


def test_epochs_shift_without_the_encoder(folder, inverting_pack, monkeypatch):
    invert_folder(folder, inverting_pack, show_progress=False)
    shift = LatentShift("background", pack=inverting_pack, p=1, source="invert", magnitude=2)
    fresh = [shift(v2.functional.pil_to_tensor(Image.open(file))) for file in sorted(folder.rglob("*.png"))]
    dataset = InvertedFolder(folder, inverting_pack, transforms=v2.Compose([v2.PILToTensor(), shift]))

    def refuse(*arguments):
        raise AssertionError("the encoder was used")

    monkeypatch.setattr(Encoder, "forward", refuse)
    for index in range(6):
        image, label = dataset[index]
        assert label == index // 2, "the folder's own class"
        assert image.dtype == torch.uint8 and (image.int() - fresh[index].int()).abs().max() <= 1


def test_without_transforms_it_is_an_image_folder(folder, inverting_pack):
    invert_folder(folder, inverting_pack, show_progress=False)
    image, label = InvertedFolder(folder, inverting_pack)[5]
    assert isinstance(image, Image.Image) and label == 2


def test_refined_latents_draw_nearer_images(folder, grey_pack):
    images = torch.cat([as_seen(file).mean(1, keepdim=True) for file in sorted(folder.rglob("*.png"))])
    errors = []
    for steps in (0, 40):
        latents = load_file(invert_folder(folder, grey_pack, refine_steps=steps, show_progress=False))["latents"]
        errors.append((grey_pack.generator(latents) - images).abs().mean())
    assert errors[1] < errors[0]


def test_what_does_not_fit_is_named(folder, inverting_pack, grey_pack):
    with pytest.raises(PackError, match=r"there is no .*latents.safetensors. Make it: ganaug invert"):
        InvertedFolder(folder, inverting_pack)
    path = invert_folder(folder, inverting_pack, show_progress=False)
    with pytest.raises(PackError, match="of another generator than pack 'grey'"):
        InvertedFolder(folder, grey_pack)
    stored, metadata = load_file(path), safe_open(path, framework="pt").metadata()
    for name, tensor in (
        ("latents", stored["latents"][:5]),
        ("latents", stored["latents"] * float("nan")),
        ("labels", stored["labels"] + 50),
    ):
        save_file({**stored, name: tensor.contiguous()}, path, metadata=metadata)
        with pytest.raises(PackError, match="one finite latent and one class for each image"):
            InvertedFolder(folder, inverting_pack)
    save_file(stored, path, metadata=metadata)
    (folder / "class0" / "0.png").rename(folder / "class0" / "9.png")
    with pytest.raises(PackError, match=r"latents of other images than .* again"):
        InvertedFolder(folder, inverting_pack)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(PackError, match="not a whole safetensors file"):
        InvertedFolder(folder, inverting_pack)
    inverting_pack.encoder = None
    with pytest.raises(PackError, match="has no encoder"):
        invert_folder(folder, inverting_pack, show_progress=False)


def test_transforms_of_image_and_target_alone_as_torchvision_takes_them(folder, inverting_pack):
    invert_folder(folder, inverting_pack, show_progress=False)
    shift = LatentShift("background", pack=inverting_pack, p=1, magnitude=2)
    chain = v2.Compose([v2.PILToTensor(), shift, v2.Resize([16, 16])])
    dataset = InvertedFolder(folder, inverting_pack, transform=chain, target_transform=lambda label: f"class {label}")
    image, target = dataset[3]
    assert image.shape == (3, 16, 16) and target == "class 1"
    assert torch.equal(image, chain(Image.open(dataset.samples[3][0]).convert("RGB")))
    only = InvertedFolder(folder, inverting_pack, target_transform=lambda label: -label)
    assert isinstance(only[5][0], Image.Image) and only[5][1] == -2
    for one in ({"transform": chain}, {"target_transform": str}):
        with pytest.raises(ValueError, match=r"transforms, which gets \(image, class, latents\), or the other two"):
            InvertedFolder(folder, inverting_pack, transforms=chain, **one)
