"""Folders of anything, through check, augment, invert and train-encoder: right, or named and left out, or refused."""

import contextlib
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ganaug.data import images_in_folder
from ganaug.errors import UserError
from ganaug.folder_report import check_folder
from ganaug.folders import image_files, open_image
from ganaug.generators import SNGAN, Encoder
from ganaug.inversion import InvertedFolder, invert_folder
from ganaug.packs import DirectionPack
from ganaug.training import train_pack_encoder
from ganaug.transforms import augment_folder

MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F", "HSV"]
KINDS = ["png", "PNG", "jpg", "jpeg", "tif", "gif", "bmp", "webp", "ppm", "txt", "npy", ""]
NAMES = st.sampled_from(["a", "b b", "ä", "._a", ".hidden", "1", "01", "x.y", "-n", "%s", "Zz"])
FOLDERS = st.sampled_from(
    ["0", "1", "2", "cat", ".git", "__MACOSX", "@eaDir", "train", "test", "0/deep", "1/.thumbs", ""]
)
DAMAGE = st.sampled_from([None, None, None, None, "cut", "empty", "flip", "text"])
FILE = st.tuples(
    FOLDERS,
    NAMES,
    st.sampled_from(KINDS),
    st.sampled_from(MODES),
    st.tuples(st.integers(1, 40), st.integers(1, 40)) | st.sampled_from([(20_000, 1), (1, 20_000)]),
    st.integers(0, 9),
    DAMAGE,
    st.integers(0, 2**31),
)


def write(root, folder, name, kind, mode, size, turn, damage, seed):
    """A picture of noise, if its format holds it, else a file of text."""
    path = root / folder / (f"{name}.{kind}" if kind else name)
    path.parent.mkdir(parents=True, exist_ok=True)
    rng, exif = np.random.default_rng(seed), Image.Exif()
    exif[0x0112] = turn
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    if mode in ("I;16", "I", "F"):
        grey = pixels[..., 0].astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode])
        picture = Image.fromarray(grey * 200)
    else:
        picture = picture.convert(mode)
    try:
        picture.save(path, exif=exif)
    except (OSError, ValueError, KeyError, TypeError):  # a format that does not hold such a picture
        path.write_text("no picture")
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_bytes(b"this is no picture")
    elif damage == "flip" and content:
        place = seed % len(content)
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])


def tiny_pack():
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=4, channels=3, num_classes=3, widths=(4, 4, 4, 4)).freeze()
    encoder = Encoder(latent_dim=4, image_size=32, channels=3, num_classes=3, width=4, hidden=4).freeze()
    return DirectionPack(torch.eye(4)[:2], generator=generator, encoder=encoder, name="tiny")


PACK = tiny_pack()
QUICK = {"steps": 2, "batch_size": 4, "width": 4, "hidden": 4}


def state(root):
    return {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}


@contextlib.contextmanager
def a_sentence():
    """Errors are the user's to mend, of one or two sentences that hold no traceback."""
    try:
        yield
    except UserError as error:
        assert str(error).strip() and "Traceback" not in str(error)


def walk(files):
    root = Path(tempfile.mkdtemp())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for file in files:
                with contextlib.suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
                    write(root / "photos", *file)
            look(root, trains=sum(file[-1] for file in files) % 10 == 0)  # five seconds each
    finally:
        shutil.rmtree(root)


def look(root, *, trains):
    photos = root / "photos"
    before, report = state(photos), check_folder(photos)
    readable = []
    for file in image_files(photos):
        with contextlib.suppress(UserError):
            image = open_image(file)
            assert image.mode in ("L", "RGB") and min(image.size) >= 1
            readable.append(file)
    assert report.images == len(readable) and len(report.damaged) == len(image_files(photos)) - len(readable)
    assert {photos / name for name in report.damaged} | set(readable) == set(image_files(photos))
    options = {"pack": PACK, "device": "cpu", "show_progress": False, "on_error": "skip"}
    with a_sentence():
        done = augment_folder(photos, root / "out", 0, magnitude=1.0, **options)
        assert done.written == len(list((root / "out").rglob("*.png"))) and done.kept == 0
        assert done.written + len(done.skipped) == sum(file.parent != photos for file in image_files(photos))
        for file in (root / "out").rglob("*.png"):
            assert Image.open(file).mode in ("L", "RGB")
    with a_sentence():
        found = images_in_folder(photos, size=32, channels=3, on_error="skip")
        assert found.shape == (len(readable), 3, 32, 32)
        if trains:
            trained = train_pack_encoder(tiny_pack(), found, device="cpu", show_progress=False, **QUICK)
            assert trained.has_encoder and trained.domain is not None
    assert state(photos) == before, "nothing of the user's is changed"
    with a_sentence():
        invert_folder(photos, **options)
        assert InvertedFolder(photos, PACK).latents.shape[1] == 4
        (photos / "latents.safetensors").unlink()
    assert state(photos) == before


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(FILE, min_size=1, max_size=8))
def test_folders_of_anything(files):
    walk(files)


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(FILE, min_size=1, max_size=5))
def test_five_hundred_folders_of_anything(files):
    walk(files)
