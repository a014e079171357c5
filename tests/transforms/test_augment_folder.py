"""A folder of images, augmented on disk."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from ganaug.errors import DataError, FileError, PackError, TransformError
from ganaug.generators import SNGAN, Encoder
from ganaug.inversion import invert_folder
from ganaug.packs import DirectionPack
from ganaug.transforms import augment_folder
from ganaug.transforms.folder import PROGRESS_FILE


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
        (root / str(k)).mkdir(parents=True)
        Image.new("RGB", (24, 24), (20 * k, 90, 120)).save(root / str(k) / "a.png")
    return root


def pixels(folder):
    return {file.relative_to(folder).as_posix(): np.asarray(Image.open(file)) for file in folder.rglob("*.png")}


def test_each_image_is_shifted_itself_as_often_as_wanted(photos, inverting_pack, tmp_path):
    out = tmp_path / "runs" / "out"
    options = {"pack": inverting_pack, "copies": 2, "magnitude": (1, 3), "classes": []}
    done = augment_folder(photos, out, "background", device="cpu", show_progress=False, **options)
    before, after = pixels(photos), pixels(out)
    assert done.written == len(after) == 12 and (done.kept, done.skipped) == (0, {})
    assert {name.rsplit("_", 1)[0] for name in after} == {name.removesuffix(".png") for name in before}
    for name, picture in before.items():
        first, second = (after[name.replace(".png", f"_{k}.png")] for k in range(2))
        assert first.shape == second.shape == picture.shape and first.dtype == np.uint8
        assert (first != picture).any() and (first != second).any()
    assert [path.name for path in out.parent.iterdir()] == ["out"], "nothing is left beside it"


def test_what_is_drawn_depends_on_seed_and_name_alone(photos, inverting_pack, tmp_path):
    options = {"pack": inverting_pack, "magnitude": (1, 3), "num_ops": 2, "blend": "replace", "classes": []}
    options |= {"device": "cpu", "show_progress": False}
    augment_folder(photos, tmp_path / "all", "any", seed=5, **options)
    augment_folder(photos, tmp_path / "other", "any", seed=6, **options)
    (photos / "class0" / "0.png").unlink()
    torch.manual_seed(99)
    state = torch.get_rng_state()
    augment_folder(photos, tmp_path / "fewer", "any", seed=5, **options)
    assert torch.equal(torch.get_rng_state(), state), "torch's global generator stays as it is"
    whole, other, fewer = (pixels(tmp_path / name) for name in ("all", "other", "fewer"))
    assert len(fewer) == 5 and all((whole[name] == fewer[name]).all() for name in fewer)
    assert all((whole[name] != other[name]).any() for name in whole)


def test_new_images_are_of_the_classes_that_subfolders_are_called_after(pack, tmp_path):
    photos, outs = ten_classes(tmp_path / "photos"), [tmp_path / "first", tmp_path / "again", tmp_path / "other"]
    for out, seed in zip(outs, (0, 0, 1), strict=True):
        done = augment_folder(photos, out, "stroke", pack=pack, seed=seed, device="cpu", show_progress=False)
        assert done.written == 10
    first, again, other = map(pixels, outs)
    assert all((first[name] == again[name]).all() and (first[name] != other[name]).any() for name in first)


@pytest.mark.parametrize(
    ("named", "folders", "classes"),
    [
        (None, ["7", "10", "3"], None),
        (("cat", "dog", "Zebra"), ["zebra", "cat"], None),
        (("cat", "dog", "zebra"), ["katze", "tier"], ["katze", "hund", "tier"]),
    ],
)
def test_a_class_keeps_its_images_whatever_lies_beside_it(monkeypatch, tmp_path, named, folders, classes):
    """Not by place: what is drawn for a class is that class's, and the same, when other folders come and go."""
    generator = SNGAN(latent_dim=8, channels=3, num_classes=11 if named is None else 3, widths=(8, 8, 8, 8))
    generator.freeze().name_classes(named)
    pack, asked = DirectionPack(torch.eye(8)[:2], generator=generator), []
    synthesize = SNGAN.synthesize
    monkeypatch.setattr(SNGAN, "synthesize", lambda self, z, y: asked.append(y.tolist()) or synthesize(self, z, y))
    for name in folders:
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (24, 24), (90, 90, 120)).save(tmp_path / "photos" / name / "a.png")
    options = {"pack": pack, "classes": classes, "device": "cpu", "show_progress": False, "source": "sample"}
    augment_folder(tmp_path / "photos", tmp_path / "out", 0, **options)
    known = classes or (named and [name.lower() for name in named])
    right = [int(name) if known is None else known.index(name) for name in sorted(folders)]
    assert [labels[: len(right)] for labels in asked] == [right]


@pytest.mark.parametrize(
    ("named", "classes", "message"),
    [
        (None, None, "does not say what its 3 classes are"),
        (("bird", "car", "plane"), None, "has the classes class0, class1, class2; .* has bird, car, plane"),
        (("class0", "class1", "x"), None, "does not have class2"),
        (("a", "b", "c"), ["class0", "class1"], "should name the 3 classes .* got 2"),
        (("a", "b", "c"), ["class0", "class1", "Class2", "d"], "got 4"),
        (None, [], "need classes"),
    ],
)
def test_classes_that_the_generator_does_not_have_are_refused(photos, tmp_path, named, classes, message):
    generator = SNGAN(latent_dim=8, channels=3, num_classes=3, widths=(8, 8, 8, 8)).freeze().name_classes(named)
    pack = DirectionPack(torch.eye(8)[:2], generator=generator)
    with pytest.raises(DataError, match=message):
        augment_folder(photos, tmp_path / "out", 0, pack=pack, classes=classes, show_progress=False)
    assert not (tmp_path / "out").exists()


def test_interrupted_it_goes_on_with_the_same_result(photos, inverting_pack, tmp_path, monkeypatch):
    options = {"pack": inverting_pack, "classes": [], "copies": 2, "device": "cpu", "show_progress": False}
    augment_folder(photos, tmp_path / "whole", 0, **options)
    whole, calls = pixels(tmp_path / "whole"), []
    saved = Image.Image.save

    def breaking(self, *arguments, **keywords):
        calls.append(arguments)
        if len(calls) == 6:
            raise KeyboardInterrupt
        saved(self, *arguments, **keywords)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Image.Image, "save", breaking)
        augment_folder(photos, tmp_path / "out", 0, **options)
    assert (tmp_path / "out" / PROGRESS_FILE).exists() and 0 < len(pixels(tmp_path / "out")) < 12
    assert not list((tmp_path / "out").rglob("*.part"))
    for other in ({"seed": 1}, {"copies": 3}, {"magnitude": 2}):
        with pytest.raises(FileError, match="images of another call"):
            augment_folder(photos, tmp_path / "out", 0, **{**options, **other})
    done = augment_folder(photos, tmp_path / "out", 0, **options)
    assert done.written + done.kept == 12 and done.written > 0
    again = pixels(tmp_path / "out")
    assert again.keys() == whole.keys() and all((again[name] == whole[name]).all() for name in whole)
    done = augment_folder(photos, tmp_path / "out", 0, **options)
    assert (done.written, done.kept) == (0, 12), "finished, there is nothing to do"


def test_what_came_or_changed_since_is_made_by_the_same_call(photos, inverting_pack, tmp_path):
    options = {"pack": inverting_pack, "classes": [], "device": "cpu", "show_progress": False}
    augment_folder(photos, tmp_path / "out", 0, **options)
    before = pixels(tmp_path / "out")
    files = sorted(file for file in photos.rglob("*.png"))
    Image.open(files[0]).transpose(Image.Transpose.ROTATE_90).save(files[0])
    shutil.copy(files[1], files[1].with_name("new.png"))
    done = augment_folder(photos, tmp_path / "out", 0, **options)
    assert (done.written, done.kept) == (2, len(files) - 1)
    after = pixels(tmp_path / "out")
    changed = {name for name in after if name not in before or not np.array_equal(after[name], before[name])}
    assert len(changed) == 2 and any("new" in str(name) for name in changed)


def test_damaged_images_are_named_before_anything_is_written_or_left_out(photos, inverting_pack, tmp_path):
    (photos / "class2" / "9.png").write_text("no picture")
    (photos / "class1" / "8.jpg").touch()
    options = {"pack": inverting_pack, "classes": [], "device": "cpu", "show_progress": False}
    with pytest.raises(DataError, match=r"2 of 8 images can't be read: .*8\.jpg.*the file is empty.*9\.png"):
        augment_folder(photos, tmp_path / "out", 0, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    with pytest.warns(UserWarning, match="2 images left out"):
        done = augment_folder(photos, tmp_path / "out", 0, on_error="skip", **options)
    assert done.written == 6 and {path.name for path in done.skipped} == {"8.jpg", "9.png"}


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
            augment_folder(photos, out, 0, pack=inverting_pack, classes=[], show_progress=False)
    inverting_pack.encoder = None
    for options, message in (
        ({"source": "invert"}, "needs a pack with an encoder"),
        ({"copies": 0}, "at least 1, got 0"),
        ({"num_ops": 2}, "from 1 to the number of directions"),
    ):
        with pytest.raises(TransformError, match=message):
            augment_folder(photos, tmp_path / "out", 0, pack=pack, show_progress=False, **options)
    assert {path.name for path in tmp_path.iterdir()} == {"full", "photos"}


@pytest.mark.parametrize("change", ["relabelled", "removed", "one of the same name"])
def test_images_whose_sources_are_gone_are_named(photos, inverting_pack, tmp_path, change):
    options = {"pack": inverting_pack, "classes": [], "device": "cpu", "show_progress": False}
    augment_folder(photos, tmp_path / "out", 0, **options)
    before = pixels(tmp_path / "out")
    source = photos / "class0" / "0.png"
    if change == "relabelled":
        source.rename(photos / "class1" / "0.png")
    elif change == "removed":
        source.unlink()
    else:
        Image.open(source).save(source.with_suffix(".bmp"))
    with pytest.raises(FileError, match=r"class0.0_0\.png.*Delete them"):
        augment_folder(photos, tmp_path / "out", 0, **options)
    assert pixels(tmp_path / "out").keys() == before.keys()
    (tmp_path / "out" / "class0" / "0_0.png").unlink()
    augment_folder(photos, tmp_path / "out", 0, **options)


@pytest.mark.parametrize("size", [0, 50, -1])
def test_an_image_that_was_cut_off_is_made_again(photos, inverting_pack, tmp_path, size):
    options = {"pack": inverting_pack, "classes": [], "device": "cpu", "show_progress": False}
    augment_folder(photos, tmp_path / "out", 0, **options)
    file = tmp_path / "out" / "class0" / "0_0.png"
    whole = file.read_bytes()
    file.write_bytes(whole[:size])
    assert augment_folder(photos, tmp_path / "out", 0, **options).written == 1 and file.read_bytes() == whole


def test_images_are_not_augmented_into_their_own_folder(photos, inverting_pack):
    with pytest.raises(FileError, match="the folder of the images themselves"):
        augment_folder(photos, photos, 0, pack=inverting_pack, classes=[], device="cpu", show_progress=False)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_copy_is_the_same_to_the_last_bit_whatever_is_made_beside_it(photos, inverting_pack, tmp_path, dtype):
    rng, more = np.random.default_rng(1), tmp_path / "more" / "class0"
    shutil.copytree(photos, more.parent)
    for k in range(70):  # so that batches are others
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(more / f"-{k}.png")
    options = {"pack": inverting_pack, "classes": [], "dtype": dtype, "device": "cpu", "show_progress": False}
    augment_folder(photos, tmp_path / "few", 0, copies=1, **options)
    augment_folder(more.parent, tmp_path / "many", 0, copies=3, **options)
    few, many = pixels(tmp_path / "few"), pixels(tmp_path / "many")
    assert len(few) == 6 and all((few[name] == many[name]).all() for name in few)


def test_balanced_every_class_has_as_many_as_the_largest(photos, inverting_pack, tmp_path):
    for name in ("0.png", "3.png"):
        shutil.copy(photos / "class0" / name, photos / "class0" / f"again-{name}")
    shutil.copy(photos / "class0" / "0.png", photos / "class0" / "fifth.png")
    options = {"pack": inverting_pack, "classes": [], "balance": True, "device": "cpu", "show_progress": False}
    done = augment_folder(photos, tmp_path / "out", 0, **options)
    names = sorted(pixels(tmp_path / "out"))
    assert [sum(name.startswith(f"class{k}/") for name in names) for k in range(3)] == [5, 5, 5] and done.written == 15
    assert [name for name in names if name.startswith("class1/")] == [
        *(f"class1/1_{k}.png" for k in range(3)), *(f"class1/4_{k}.png" for k in range(2))
    ]  # fmt: skip
    assert augment_folder(photos, tmp_path / "out", 0, **options).kept == 15
    for k in range(2):
        shutil.copy(photos / "class0" / "0.png", photos / "class0" / f"new{k}.png")
    assert augment_folder(photos, tmp_path / "out", 0, **options).kept == 15
    assert len(pixels(tmp_path / "out")) == 21, "the others are filled up to the new largest class"


def test_of_a_data_set_with_parts_the_training_images_alone_are_augmented(photos, inverting_pack, tmp_path):
    root = tmp_path / "set"
    for part in ("train", "test"):
        shutil.copytree(photos, root / part)
    options = {"pack": inverting_pack, "classes": [], "device": "cpu", "show_progress": False}
    with pytest.raises(DataError, match="parts of a data set"):
        augment_folder(root, tmp_path / "out", 0, **options)
    with pytest.raises(FileError, match="lies inside"):
        augment_folder(root, root / "more", 0, split="train", **options)
    done = augment_folder(root, tmp_path / "out", 0, split="train", **options)
    assert done.beside == ("test",) and len(pixels(tmp_path / "out")) == done.written == 6
    with pytest.raises(DataError, match="should hold train/"):
        augment_folder(photos, tmp_path / "other", 0, split="train", **options)
    with pytest.raises(TransformError, match='should be "train"'):
        augment_folder(root, tmp_path / "other", 0, split="test", **options)


def test_stored_latents_are_used(photos, inverting_pack, tmp_path, monkeypatch):
    options = {"pack": inverting_pack, "classes": [], "device": "cpu", "show_progress": False}
    with pytest.raises(PackError, match=r"no stored latents .* of 6 images.*ganaug invert"):
        augment_folder(photos, tmp_path / "out", 0, latents="stored", **options)
    found = augment_folder(photos, tmp_path / "found", 0, **options)
    invert_folder(photos, **options)
    with pytest.raises(FileError, match="latents 'found', not 'stored"):
        augment_folder(photos, tmp_path / "found", 0, **options)
    assert augment_folder(photos, tmp_path / "found", 0, latents="find", **options).kept == 6
    Image.new("RGB", (50, 50), (90, 20, 10)).save(photos / "class0" / "new.png")
    seen, encode = [], Encoder.forward
    monkeypatch.setattr(Encoder, "forward", lambda self, x, y=None: seen.append(len(x)) or encode(self, x, y))
    done = augment_folder(photos, tmp_path / "stored", 0, **options)
    assert (found.stored, done.stored, done.images) == (0, 6, 7) and len(seen) == 1, "that of the new image is found"
    before, after = pixels(tmp_path / "found"), pixels(tmp_path / "stored")
    assert all((before[name] == after[name]).all() for name in before)


def test_a_large_photograph_is_decoded_again_and_not_held(photos, inverting_pack, tmp_path, monkeypatch):
    options = {"pack": inverting_pack, "classes": [], "device": "cpu", "show_progress": False}
    augment_folder(photos, tmp_path / "held", 0, **options)
    monkeypatch.setattr("ganaug.transforms.batches.LARGE", 0)
    augment_folder(photos, tmp_path / "again", 0, **options)
    held, again = pixels(tmp_path / "held"), pixels(tmp_path / "again")
    assert all((held[name] == again[name]).all() for name in held)
