"""Image files as people see them, and which folders are classes."""

import os
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from ganaug.class_names import match_classes
from ganaug.errors import DataError
from ganaug.folder_report import check_folder
from ganaug.folders import LabelledFolder, find_classes, image_files, open_image, read_image, sound


@pytest.fixture
def ramp():
    """A grey picture, dark on the left, 12 wide and 8 high."""
    return np.tile(np.arange(12, dtype=np.uint8) * 20, (8, 1))


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_images_are_turned_as_their_exif_says(tmp_path, turn, kind):
    upright = Image.fromarray(np.add.outer(np.arange(40) * 2, np.arange(60) * 3).astype(np.uint8)).convert("RGB")
    stored = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }[turn]
    picture, exif = upright, Image.Exif()
    for how in stored:
        picture = picture.transpose(how)
    exif[0x0112] = turn
    picture.save(tmp_path / f"a.{kind}", exif=exif, **({"quality": 95} if kind in ("jpg", "webp") else {}))
    seen = open_image(tmp_path / f"a.{kind}")
    assert seen.size == (60, 40)
    assert np.abs(np.asarray(seen, int) - np.asarray(upright, int)).mean() < 4


def test_damaged_exif_leaves_an_image_as_it_is(tmp_path, ramp):
    Image.fromarray(ramp).save(tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff", quality=95)
    assert open_image(tmp_path / "a.jpg").size == (12, 8)
    assert "read all the same, but: Corrupt EXIF data" in check_folder(tmp_path).unusual["a.jpg"]
    wrong = Image.Exif()
    wrong[0x0112] = 11
    Image.fromarray(ramp).save(tmp_path / "b.jpg", exif=wrong)
    assert open_image(tmp_path / "b.jpg").size == (12, 8)
    assert "can't be read, so it is taken as it is stored" in check_folder(tmp_path).unusual["b.jpg"]


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("factor", [257, 100])
def test_sixteen_bits_are_scaled(tmp_path, ramp, kind, factor):
    Image.fromarray(ramp.astype(np.uint16) * factor).save(tmp_path / f"a.{kind}")
    expected = (ramp.astype(int) * factor + 128) // 257
    assert (np.asarray(open_image(tmp_path / f"a.{kind}")) == expected).all()
    assert read_image(tmp_path / f"a.{kind}", channels=3).shape == (3, 8, 12)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB", "1"])
def test_transparent_pixels_are_white_and_half_transparent_ones_mixed(tmp_path, mode):
    picture = Image.new("RGBA", (3, 1))
    picture.putdata([(200, 0, 0, 255), (0, 0, 0, 0), (0, 0, 0, 128)])
    if mode in ("RGBA", "LA"):
        picture.convert(mode).save(tmp_path / "a.png")
        seen = np.asarray(open_image(tmp_path / "a.png", channels=3), int)[0]
        assert (seen[1] == 255).all() and (abs(seen[2] - 127) <= 1).all()
        return
    opaque = Image.new("RGB", (2, 1))
    opaque.putdata([(250, 250, 250), (0, 0, 0)])
    stored = opaque.quantize(2) if mode == "P" else opaque.convert(mode)
    clear = {"P": int(np.asarray(stored).flat[1]), "L": 0, "RGB": (0, 0, 0), "1": 0}[mode]
    stored.save(tmp_path / "a.png", transparency=clear)
    first, second = np.asarray(open_image(tmp_path / "a.png", channels=1))[0]
    assert first >= 249 and second == 255, "black is what was transparent"


def test_a_transparent_value_of_sixteen_bits_is_white(tmp_path, ramp):
    Image.fromarray(ramp.astype(np.uint16) * 257).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    chunk = b"tRNS" + (20 * 257).to_bytes(2, "big")
    place = content.index(b"IDAT") - 4
    whole = (2).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content[:place] + whole + content[place:])
    seen = np.asarray(open_image(tmp_path / "a.png"))
    assert (seen[:, 1] == 255).all() and (seen[:, 2] == 40).all()


@pytest.mark.parametrize(
    ("mode", "kind"), [("CMYK", "jpg"), ("CMYK", "tif"), ("YCbCr", "jpg"), ("P", "png"), ("P", "gif"), ("RGB", "webp")]
)
def test_colours_come_out_as_they_are(tmp_path, mode, kind):
    Image.new("RGB", (16, 16), (210, 40, 90)).convert(mode).save(tmp_path / f"a.{kind}", quality=95)
    found = np.asarray(open_image(tmp_path / f"a.{kind}", channels=3)).mean((0, 1))
    assert np.abs(found - (210, 40, 90)).max() < 8


def test_grey_and_colour_as_asked(tmp_path, ramp):
    Image.fromarray(ramp).save(tmp_path / "grey.png")
    Image.new("RGB", (5, 4), (10, 20, 30)).save(tmp_path / "colour.png")
    assert [open_image(tmp_path / f"{name}.png").mode for name in ("grey", "colour")] == ["L", "RGB"]
    for channels in (1, 3):
        assert read_image(tmp_path / "colour.png", channels=channels).shape == (channels, 4, 5)
        assert read_image(tmp_path / "grey.png", channels=channels).dtype == torch.uint8


def test_of_several_frames_the_first(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    for kind in ("gif", "tif"):
        assert open_image(tmp_path / f"a.{kind}").getpixel((0, 0)) == (255, 0, 0)


def damaged(folder, ramp):
    """Files that are no images, by what should be said of each."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:9000])
    Image.fromarray(noise).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:40000])
    Image.fromarray(noise).save(folder / "bit.png")
    content = bytearray((folder / "bit.png").read_bytes())
    content[len(content) // 2] ^= 255
    (folder / "bit.png").write_bytes(content)
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("this is no picture")
    Image.fromarray(ramp.astype(np.float32)).save(folder / "float.tif")
    Image.fromarray(ramp.astype(np.int32) * 100_000).save(folder / "int.tif")
    return {
        "cut.jpg": "truncated",
        "cut.png": "truncated",
        "bit.png": "bit.png",
        "empty.png": "the file is empty",
        "text.jpg": "it is no image",
        "float.tif": "mode F",
        "int.tif": "32-bit",
    }


def test_damaged_files_are_named_with_what_is_wrong(tmp_path, ramp):
    told = damaged(tmp_path, ramp)
    for name, message in told.items():
        with pytest.raises(DataError, match=message) as caught:
            open_image(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    Image.fromarray(ramp).save(tmp_path / "good.png")
    with pytest.raises(DataError, match=r"7 of 8 images can't be read"):
        sound(image_files(tmp_path))
    with pytest.warns(UserWarning, match="7 images left out"):
        good, bad = sound(image_files(tmp_path), on_error="skip")
    assert [file.name for file in good] == ["good.png"] and {file.name for file in bad} == told.keys()
    with pytest.raises(DataError, match='"fail" or "skip", got "mend"'.replace('"mend"', "'mend'")):
        sound([], on_error="mend")


def test_a_program_that_is_named_as_a_picture_is_not_run(tmp_path, monkeypatch):
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/was_run\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    (tmp_path / "cat.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match=r"cat\.jpg can't be read as an image: .*PostScript is a program"):
        open_image(tmp_path / "cat.jpg")
    assert not (tmp_path / "was_run").exists()


def test_gigantic_images_are_refused_before_they_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("L", (12, 12)).save(tmp_path / "large.png")
    Image.new("L", (15, 15)).save(tmp_path / "larger.png")
    assert open_image(tmp_path / "large.png").size == (12, 12)
    with pytest.raises(DataError, match=r"larger.png can't be read as an image: .*exceeds limit"):
        open_image(tmp_path / "larger.png")
    (tmp_path / "text.png").mkdir()
    with pytest.raises(DataError, match="it is a folder"):
        open_image(tmp_path / "text.png")
    with pytest.raises(DataError, match=r"nowhere\.png does not exist"):
        open_image(tmp_path / "nowhere.png")


def test_what_waits_expands_or_is_a_program_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    Image.new("L", (13_000, 13_000)).save(tmp_path / "bomb.png", optimize=True)
    assert (tmp_path / "bomb.png").stat().st_size < 200_000
    # Pillow would hand it to Ghostscript.
    (tmp_path / "program.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    )
    told = {
        "pipe": "is a pipe, expected a regular file",
        "zero": "is a device, expected a regular file",
        "bomb": r"bytes would become 169,000,000 pixels",
        "program": "PostScript is a program, and is not run",
    }
    for name, why in told.items():
        with pytest.raises(DataError, match=rf"{name}\.png can't be read as an image: .*{why}\."):
            open_image(tmp_path / f"{name}.png")


def test_hidden_and_foreign_folders_are_no_classes(tmp_path, ramp):
    for name in ("cat", "dog", ".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git", "$RECYCLE.BIN"):
        (tmp_path / name / "deep").mkdir(parents=True)
        Image.fromarray(ramp).save(tmp_path / name / "deep" / "a.PNG")
        Image.fromarray(ramp).save(tmp_path / name / "._a.png")
    (tmp_path / "cat" / "@eaDir").mkdir()
    Image.fromarray(ramp).save(tmp_path / "cat" / "@eaDir" / "thumb.png")
    (tmp_path / "cat" / "notes.txt").write_text("mine")
    assert find_classes(tmp_path) == ["cat", "dog"]
    folder = LabelledFolder(tmp_path)
    assert folder.names() == ["cat/deep/a.PNG", "dog/deep/a.PNG"] and folder.targets == [0, 1]
    assert folder[1][0].size == (12, 8) and folder[1][1] == 1


def test_a_link_that_leads_back_up_ends(tmp_path, ramp):
    (tmp_path / "cat").mkdir()
    Image.fromarray(ramp).save(tmp_path / "cat" / "a.png")
    os.symlink(tmp_path, tmp_path / "cat" / "loop")
    assert [file.name for file in image_files(tmp_path / "cat")] == ["a.png"]


def test_what_has_no_classes_is_refused(tmp_path, ramp):
    with pytest.raises(DataError, match="has no class subfolders"):
        find_classes(tmp_path)
    for name in ("Train", "val"):
        (tmp_path / "parts" / name).mkdir(parents=True)
    with pytest.raises(DataError, match="Train, val, which are parts of a data set"):
        find_classes(tmp_path / "parts")
    (tmp_path / "parts" / "cat").mkdir()
    assert find_classes(tmp_path / "parts") == ["Train", "cat", "val"], "one of these may be a class"
    with pytest.raises(DataError, match=r"no images in .*Train; .*cat; .*val"):
        LabelledFolder(tmp_path / "parts")
    with pytest.raises(DataError, match="is not there"):
        LabelledFolder(tmp_path / "nowhere")
    Image.fromarray(ramp).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="is a file, not a folder"):
        LabelledFolder(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("found", "known", "expected"),
    [
        (["b", "a"], ["a", "b", "c"], [1, 0]),
        (["Cat", "DOG"], ["dog", "cat"], [1, 0]),
        (["10", "2", "0"], None, [10, 2, 0]),
        (["a", "A"], ["a", "A"], [0, 1]),
        (["A"], ["a", "b"], [0]),
    ],
)
def test_classes_are_matched_by_name(found, known, expected):
    count = 11 if known is None else len(known)
    assert match_classes(found, known, count, where="here", generator="it") == expected


@pytest.mark.parametrize(
    ("found", "known", "message"),
    [
        (
            ["zbird", "car"],
            ["bird", "car"],
            r"has the classes zbird, car; it has bird, car\. .* not have zbird",
        ),
        (["bird", "Bird"], ["bird", "car"], "Two of them are the same one"),
        (["cat", "dog"], None, "it does not say what its 2 classes are"),
        (["1", "2"], None, "does not say"),
        (["1", "01"], None, "does not say"),
        (["-1", "0"], None, "does not say"),
        (["01", "0"], None, "does not say"),
        (["9" * 5000, "0"], None, "does not say"),
        (["AB"], ["ab", "aB"], "not have AB"),
    ],
)
def test_others_are_refused_with_both_lists(found, known, message):
    with pytest.raises(DataError, match=message):
        match_classes(found, known, 2, where="here", generator="it")


def test_check_says_what_a_folder_holds(tmp_path, ramp):
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    told = damaged(tmp_path / "cat", ramp)
    Image.fromarray(ramp).save(tmp_path / "cat" / "good.png")
    Image.fromarray(ramp.astype(np.uint16)).save(tmp_path / "cat" / "deep.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(ramp).save(tmp_path / "cat" / "turned.jpg", exif=turned)
    info = PngImagePlugin.PngInfo()
    Image.new("RGBA", (9, 9)).save(tmp_path / "cat" / "clear.png", pnginfo=info)
    (tmp_path / "cat" / "notes.txt").write_text("mine")
    (tmp_path / ".hidden").mkdir()
    report = check_folder(tmp_path)
    assert report.images == 4 and report.classes == {"cat": 4, "dog": 0} and not report.is_sound
    assert report.damaged.keys() == {f"cat/{name}" for name in told}
    assert report.sizes == {(12, 8): 2, (8, 12): 1, (9, 9): 1} and sum(report.modes.values()) == 4
    assert "16 bits" in report.unusual["cat/deep.png"] and "EXIF" in report.unusual["cat/turned.jpg"]
    assert "white" in report.unusual["cat/clear.png"] and "cat/good.png" not in report.unusual
    assert report.left_out == [".hidden", "cat/notes.txt"] and report.problems == [
        "class dog has no image that can be read"
    ]
    for text in (*report.damaged, *report.unusual, "class cat: 4", ".hidden", "class dog has no"):
        assert text in report.table()
    assert '"is_sound": false' in report.to_json()


def test_what_lies_beside_the_classes_and_what_is_left_of_none_is_said(tmp_path, ramp):
    for name in ("cat/a.png", "loose.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(ramp).save(tmp_path / name)
    with pytest.warns(UserWarning, match=r"1 image beside the class subfolders of .* left out: loose\.png"):
        assert LabelledFolder(tmp_path).names() == ["cat/a.png"]
    assert check_folder(tmp_path).unusual == {"loose.png": "beside the classes, in none of them"}
    (tmp_path / "loose.png").unlink()
    (tmp_path / "cat" / "a.png").write_text("no picture")
    with pytest.warns(UserWarning, match="1 image left out"), pytest.raises(DataError, match=r"no image under .*"):
        LabelledFolder(tmp_path, on_error="skip")
