"""Transforms, banks, inversion and folders on a device: the same as on the CPU, and one wait a call."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from pretended import Elsewhere, counting, sent

from ganaug.inversion import InvertedFolder, Latents, invert, invert_folder
from ganaug.transforms import LatentBank, LatentShift, RandomLatentShift, augment_folder


def moved(value, device):
    if isinstance(value, torch.Tensor):  # the pretended device holds no tensors of a subclass
        return value if isinstance(value, Latents) else value.to(device)
    if isinstance(value, dict):
        return {key: moved(each, device) for key, each in value.items()}
    return type(value)(moved(each, device) for each in value) if isinstance(value, (tuple, list)) else value


def flat(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [leaf for each in value for leaf in flat(each)]
    return [value]


ONE_HOT = torch.eye(10)[[0, 3, 9, 1, 1, 7]]
SAMPLES = {
    "images and labels": lambda images, labels: (images, labels),
    "floats": lambda images, labels: (images / 255, labels),
    "half": lambda images, labels: ((images / 255).half(), labels),
    "a list of labels": lambda images, labels: (images, labels.tolist()),
    "soft labels": lambda images, labels: (images / 255, ONE_HOT),
    "one-hot labels": lambda images, labels: (images, ONE_HOT.long()),
    "one image": lambda images, labels: (images[0], labels[0]),
    "one image, a number": lambda images, labels: (images[0] / 255, 3),
    "grey images": lambda images, labels: (images[:, :1] / 255, labels),
    "larger images": lambda images, labels: (images.repeat(1, 1, 2, 2) / 255, labels),
    "stored latents": lambda images, labels: (images / 255, labels, Latents(torch.ones(6, 8))),
    "a dictionary": lambda images, labels: {"image": images, "label": labels, "weight": torch.rand(6)},
}


@pytest.mark.parametrize(
    "options",
    [
        {"source": "sample"},
        {"source": "invert"},
        {"source": "invert", "blend": "replace"},
        {"source": "auto"},
        {"direction": "any", "num_ops": 3},
        {"direction": ["background", 2], "weights": [1, 3], "source": "invert"},
        {"classes": list("jihgfedcba")},
    ],
    ids=str,
)
@pytest.mark.parametrize("home", ["cpu", "there"])
@pytest.mark.parametrize("sample", SAMPLES)
def test_latent_shift_does_there_what_it_does_here_and_waits_once(
    inverting_pack, device, images, labels, sample, options, home
):
    generator = copy.deepcopy(inverting_pack.generator)
    if "classes" in options:
        generator.name_classes(list("abcdefghij"))
    networks = generator, copy.deepcopy(inverting_pack.encoder)
    if home == "there":
        networks = tuple(network.to(device) for network in networks)
    pack = copy.copy(inverting_pack)
    pack._generator, pack._encoder, pack._replicas = *networks, {}
    options = {"direction": "background", **options}
    shift = LatentShift(pack=pack, p=0.6, dtype="float32", return_params=True, **options)
    here = SAMPLES[sample](images, labels)
    torch.manual_seed(3)
    expected = shift(here)
    assert bool(expected[1]["replace"].any())
    there = moved(here, device)
    pack.networks(device)
    torch.manual_seed(3)
    with counting() as waits:
        found = shift(there)
    assert sum(waits.values()) <= 1, waits
    assert not sent, sent
    for one, other in zip(flat(found), flat(expected), strict=True):
        if isinstance(other, torch.Tensor):
            torch.testing.assert_close(
                one.cpu().float(), other.float(), rtol=0, atol=1e-5 if other.is_floating_point() else 0
            )
        else:
            assert one == other
    shifted = found[0]["image"] if isinstance(there, dict) else found[0][0]
    assert isinstance(shifted, Elsewhere) and shifted.dtype == flat(here)[0].dtype


WRONG = {
    "labels": lambda images, labels: (images, labels + 8),
    "ignored labels": lambda images, labels: (images, labels - 1),
    "images": lambda images, labels: (images.float(), labels),
    "soft labels": lambda images, labels: (images, ONE_HOT * 2),
    "one-hot labels": lambda images, labels: (images, ONE_HOT.long() * 2),
    "latents": lambda images, labels: (images, labels, Latents(torch.full((6, 8), torch.nan))),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_refused_here_is_refused_there_in_the_same_words(inverting_pack, device, images, labels, wrong):
    shift = LatentShift("background", pack=inverting_pack, p=1)
    said = []
    for where in ("cpu", device):
        with pytest.raises(ValueError) as caught:
            shift(moved(WRONG[wrong](images, labels), where))
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_kornia_transforms_shift_there_what_they_shift_here(inverting_pack, device, images):
    shift = RandomLatentShift("any", pack=inverting_pack, p=0.7, dtype="float32")
    torch.manual_seed(1)
    expected = shift(images / 255)
    torch.manual_seed(1)
    found = shift((images / 255).to(device))
    assert found.device == device
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-5)


def test_a_bank_built_there_is_the_one_built_here_and_serves_there(pack, device, images, labels, tmp_path):
    for name, where in (("here", "cpu"), ("there", device)):
        LatentBank.build(pack, "any", 40, tmp_path / name, device=where, dtype="float32", show_progress=False)
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()
    shift = LatentShift(bank=tmp_path / "there", p=0.5)
    torch.manual_seed(0)
    expected = shift(images, labels)[0]
    torch.manual_seed(0)
    assert torch.equal(shift(images.to(device), labels.to(device))[0].cpu(), expected)


@pytest.mark.parametrize("refine_steps", [0, 3])
def test_inversion_finds_there_what_it_finds_here(inverting_pack, device, images, refine_steps):
    seen = images / 127.5 - 1
    expected = invert(inverting_pack, seen, refine_steps=refine_steps)
    found = invert(inverting_pack, seen.to(device), refine_steps=refine_steps)
    for one, other in zip(found, expected, strict=True):
        assert one.device == device
        torch.testing.assert_close(one.cpu(), other, rtol=1e-4, atol=1e-4)


def test_folders_are_inverted_and_augmented_there_as_here(inverting_pack, device, images, tmp_path):
    for name in ("here", "there"):
        for k, image in enumerate(images):
            place = tmp_path / name / str(k % 10)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(place / f"{k}.png")
    found = []
    for name, where in (("here", "cpu"), ("there", device)):
        options = {"pack": inverting_pack, "dtype": "float32", "device": where, "classes": [], "show_progress": False}
        augment_folder(tmp_path / name, tmp_path / f"out {name}", "background", **options)
        pictures = [np.asarray(Image.open(file)) for file in sorted((tmp_path / f"out {name}").rglob("*.png"))]
        invert_folder(tmp_path / name, **options)
        found.append((pictures, InvertedFolder(tmp_path / name, inverting_pack).latents))
    assert all(np.array_equal(one, other) for one, other in zip(found[0][0], found[1][0], strict=True))
    torch.testing.assert_close(found[1][1], found[0][1], rtol=0, atol=1e-5)
