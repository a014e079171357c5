"""Latents stored beside the images, so that epochs only shift and draw."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from ganaug.errors import DataError, FileError, PackError
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
    path = invert_folder(folder, inverting_pack, classes=[], dtype="float32", show_progress=False, batch_size=4)
    stored = load_file(path)
    assert path == folder / "latents.safetensors" and stored["latents"].shape == (6, 8)
    for row, file in enumerate(sorted(folder.rglob("*.png"))):
        latents, read = invert(inverting_pack, as_seen(file))
        torch.testing.assert_close(stored["latents"][row], latents[0], atol=1e-4, rtol=1e-3)
        assert stored["labels"][row] == read[0], "the encoder reads"


def test_epochs_shift_without_the_encoder(folder, inverting_pack, monkeypatch):
    invert_folder(folder, inverting_pack, classes=[], show_progress=False)
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
    invert_folder(folder, inverting_pack, classes=[], show_progress=False)
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
    path = invert_folder(folder, inverting_pack, classes=[], show_progress=False)
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
    with pytest.raises(PackError, match=r"latents of other images than .*0.png; class0/9.png. .* --update"):
        InvertedFolder(folder, inverting_pack)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(PackError, match=r"not a whole safetensors file .* Move it away"):
        InvertedFolder(folder, inverting_pack)
    inverting_pack.encoder = None
    with pytest.raises(PackError, match="has no encoder"):
        invert_folder(folder, inverting_pack, classes=[], show_progress=False)


@pytest.mark.parametrize("how", ["content", "touched", "resized"])
def test_latents_of_images_that_were_edited_since_are_refused_by_name(folder, inverting_pack, how):
    path = invert_folder(folder, inverting_pack, classes=[], show_progress=False)
    before, file = load_file(path), folder / "class1" / "4.png"
    told = file.stat()
    if how == "content":  # as many bytes as before
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    elif how == "resized":
        Image.new("RGB", (64, 64), (90, 200, 10)).save(file)
    os.utime(file, ns=(told.st_atime_ns, told.st_mtime_ns + 10**9))
    if how == "touched":
        assert InvertedFolder(folder, inverting_pack).latents.shape == (6, 8), "the same content"
        return
    with pytest.raises(PackError, match=r"changed since their latents were found: class1/4.png\. .* --update"):
        InvertedFolder(folder, inverting_pack)
    if how == "resized":
        invert_folder(folder, inverting_pack, classes=[], update=True, show_progress=False)
        after = load_file(path)
        assert (after["latents"] != before["latents"]).any(1).tolist() == [False, False, False, True, False, False]
        assert torch.equal(InvertedFolder(folder, inverting_pack).latents, after["latents"])


def test_an_update_finds_what_is_new_and_forgets_what_is_gone(folder, inverting_pack, monkeypatch):
    path = invert_folder(folder, inverting_pack, classes=[], show_progress=False)
    before = dict(
        zip([f"class{k // 2}/{k // 2 + 3 * (k % 2)}.png" for k in range(6)], load_file(path)["latents"], strict=True)
    )
    (folder / "class0" / "0.png").unlink()
    Image.new("RGB", (50, 50), (90, 20, 10)).save(folder / "class0" / "new.png")
    seen, encode = [], Encoder.forward
    monkeypatch.setattr(Encoder, "forward", lambda self, x, y=None: seen.append(len(x)) or encode(self, x, y))
    invert_folder(folder, inverting_pack, classes=[], update=True, batch_size=1, show_progress=False)
    dataset = InvertedFolder(folder, inverting_pack)
    assert seen == [1], "one image is new"
    for name, latents in zip(dataset.names(), dataset.latents, strict=True):
        assert name == "class0/new.png" or torch.equal(latents, before[name])


def test_a_file_of_another_tool_is_left_alone(folder, inverting_pack):
    theirs = folder / "latents.safetensors"
    for write in (lambda: save_file({"z": torch.ones(3)}, theirs), lambda: theirs.write_text("mine")):
        write()
        content = theirs.read_bytes()
        with pytest.raises(FileError, match="not a file of latents that ganaug has written"):
            invert_folder(folder, inverting_pack, classes=[], update=True, show_progress=False)
        assert theirs.read_bytes() == content


def test_damaged_images_are_named_or_left_out(folder, inverting_pack):
    (folder / "class2" / "9.png").write_text("no picture")
    with pytest.raises(DataError, match=r"1 of 7 images can't be read: .*9\.png"):
        invert_folder(folder, inverting_pack, classes=[], show_progress=False)
    assert not (folder / "latents.safetensors").exists()
    with pytest.warns(UserWarning, match="1 image left out"):
        invert_folder(folder, inverting_pack, classes=[], on_error="skip", show_progress=False)
    dataset = InvertedFolder(folder, inverting_pack)
    assert len(dataset) == 6 and len(dataset.latents) == 6 and len(dataset.drawn_as) == 6


def test_subfolders_are_matched_with_classes_by_name(folder, inverting_pack):
    names = [f"other{k}" for k in range(10)]
    names[2], names[7], names[5] = "class0", "CLASS1", "class2"
    with pytest.raises(DataError, match="does not say what its 10 classes are"):
        invert_folder(folder, inverting_pack, show_progress=False)
    invert_folder(folder, inverting_pack, classes=names, show_progress=False)
    assert InvertedFolder(folder, inverting_pack).drawn_as == [2, 2, 7, 7, 5, 5]


def test_transforms_of_image_and_target_alone_as_torchvision_takes_them(folder, inverting_pack):
    invert_folder(folder, inverting_pack, classes=[], show_progress=False)
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


@pytest.mark.parametrize(("name", "wrong"), [("latents", float("nan")), ("labels", -1), ("labels", 10**6)])
def test_an_update_finds_damaged_latents_anew(folder, inverting_pack, name, wrong):
    options = {"pack": inverting_pack, "classes": [], "device": "cpu", "show_progress": False, "check_domain": False}
    path = invert_folder(folder, **options)
    whole, tensors = path.read_bytes(), load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors[name][0] = wrong
    save_file(tensors, path, metadata)
    with pytest.raises(PackError, match="--update"):
        InvertedFolder(folder, inverting_pack)
    invert_folder(folder, update=True, **options)
    assert path.read_bytes() == whole and len(InvertedFolder(folder, inverting_pack))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_shifted_at_once_after_collation(folder, inverting_pack, workers, monkeypatch):
    invert_folder(folder, inverting_pack, classes=[], show_progress=False)
    shift = LatentShift("background", pack=inverting_pack, p=1, magnitude=2, dtype="float32")
    square = v2.Compose([v2.PILToTensor(), v2.Resize([32, 32])])
    one_by_one = InvertedFolder(folder, inverting_pack, transforms=v2.Compose([square, shift]))
    dataset = InvertedFolder(folder, inverting_pack, transform=square, with_latents=True)

    def refuse(*arguments):
        raise AssertionError("the encoder was used")

    monkeypatch.setattr(Encoder, "forward", refuse)
    images, labels, drawn_as, latents = next(iter(DataLoader(dataset, batch_size=6, num_workers=workers)))
    shifted = shift(images, drawn_as, latents)[0]
    assert labels.tolist() == [0, 0, 1, 1, 2, 2] and drawn_as.tolist() == dataset.drawn_as
    assert not torch.equal(shifted, images)
    for image, (expected, _) in zip(shifted, (one_by_one[index] for index in range(6)), strict=True):
        assert (image.int() - expected.int()).abs().max() <= 1
    with pytest.raises(ValueError, match="Pass one of them"):
        InvertedFolder(folder, inverting_pack, transforms=shift, with_latents=True)
