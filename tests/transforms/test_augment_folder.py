"""A folder of images, augmented on disk."""

import numpy as np
import pytest
import torch
from PIL import Image

from ganaug.errors import FileError, TransformError
from ganaug.transforms import LatentShift, augment_folder


@pytest.fixture
def photos(tmp_path):
    """Three class subfolders of two pictures each, no two of a size."""
    rng = np.random.default_rng(0)
    for k in range(6):
        place = tmp_path / "photos" / f"class{k % 3}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (30 + k, 40 + k, 3), dtype=np.uint8)).save(place / f"{k}.png")
    return tmp_path / "photos"


def ten_classes(root):
    for k in range(10):
        (root / f"c{k}").mkdir(parents=True)
        Image.new("RGB", (24, 24), (20 * k, 90, 120)).save(root / f"c{k}" / "a.png")
    return root


def pixels(folder):
    return {file.relative_to(folder).as_posix(): np.asarray(Image.open(file)) for file in folder.rglob("*.png")}


def test_each_image_is_shifted_itself_as_often_as_wanted(photos, inverting_pack, tmp_path):
    out = tmp_path / "runs" / "out"
    count = augment_folder(
        photos, out, "background", pack=inverting_pack, copies=2, magnitude=(1, 3), device="cpu", show_progress=False
    )
    before, after = pixels(photos), pixels(out)
    assert count == len(after) == 12
    assert {name.rsplit("_", 1)[0] for name in after} == {name.removesuffix(".png") for name in before}
    for name, picture in before.items():
        first, second = (after[name.replace(".png", f"_{k}.png")] for k in range(2))
        assert first.shape == second.shape == picture.shape and first.dtype == np.uint8
        assert (first != picture).any() and (first != second).any()
    assert [path.name for path in out.parent.iterdir()] == ["out"], "nothing is left beside it"


def test_it_is_latent_shift_on_each_image_in_order(photos, inverting_pack, tmp_path):
    options = {"pack": inverting_pack, "magnitude": (1, 3), "num_ops": 2, "blend": "replace"}
    augment_folder(photos, tmp_path / "out", "any", seed=5, device="cpu", show_progress=False, **options)
    shift, after = LatentShift("any", p=1, source="invert", **options), pixels(tmp_path / "out")
    torch.manual_seed(5)
    for name, picture in sorted(pixels(photos).items()):
        expected = shift(torch.tensor(picture).permute(2, 0, 1))
        assert (after[name.replace(".png", "_0.png")] == expected.permute(1, 2, 0).numpy()).all(), name


def test_subfolders_are_the_classes_where_they_are_as_many(pack, tmp_path):
    photos, outs = ten_classes(tmp_path / "photos"), [tmp_path / "first", tmp_path / "again", tmp_path / "other"]
    for out, seed in zip(outs, (0, 0, 1), strict=True):
        assert augment_folder(photos, out, "stroke", pack=pack, seed=seed, device="cpu", show_progress=False) == 10
    first, again, other = map(pixels, outs)
    assert all((first[name] == again[name]).all() and (first[name] != other[name]).any() for name in first)


def test_the_folder_appears_as_a_whole_or_not_at_all(photos, inverting_pack, tmp_path):
    (photos / "class2" / "9.png").write_text("no picture")
    with pytest.raises(OSError, match="cannot identify image file"):
        augment_folder(photos, tmp_path / "out", 0, pack=inverting_pack, show_progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_what_does_not_fit_is_named_before_anything_is_written(photos, pack, inverting_pack, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    for out, message in (
        (full, "is not empty. Choose another folder"),
        (full / "mine.txt", "is a file"),
        (photos / "more", "lies inside .* taken for a class"),
    ):
        with pytest.raises(FileError, match=message):
            augment_folder(photos, out, 0, pack=inverting_pack, show_progress=False)
    inverting_pack.encoder = None
    for options, message in (
        ({}, "has 3 class subfolders, but pack 'tiny' draws 10 classes"),
        ({"source": "invert"}, "needs a pack with an encoder"),
        ({"copies": 0}, "at least 1, got 0"),
        ({"num_ops": 2}, "from 1 to the number of directions"),
    ):
        with pytest.raises(TransformError, match=message):
            augment_folder(photos, tmp_path / "out", 0, pack=pack, show_progress=False, **options)
    assert {path.name for path in tmp_path.iterdir()} == {"full", "photos"}
