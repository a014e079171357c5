"""What lies at a path, and what a mistyped one meant."""

import pytest
from PIL import Image

from ganaug.errors import GeneratorError, PackError
from ganaug.packs import DirectionPack, load_generator
from ganaug.places import did_you_mean, exists, is_folder, kind_of


@pytest.fixture
def runs(pack, tmp_path, monkeypatch):
    """A folder of runs, as they lie about, in the folder that one is in."""
    monkeypatch.chdir(tmp_path)
    pack.generator.save_pretrained(tmp_path / "runs" / "photos-gen")
    pack.save_pretrained(tmp_path / "runs" / "photos-sefa")
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "cat" / "0.png")
    (tmp_path / "unfinished").mkdir()
    for name in ("checkpoint.pt", "metrics.jsonl", "notes.txt"):
        (tmp_path / "unfinished" / name).touch()
    (tmp_path / "nothing").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("runs/photos-gen", "a generator"),
        ("runs/photos-sefa", "a pack"),
        ("photos", "a folder of images"),
        ("photos/cat", "a folder of images"),
        ("photos/cat/0.png", "an image"),
        ("unfinished", "an unfinished run of ganaug train (go on with --resume)"),
        ("unfinished/checkpoint.pt", "a checkpoint (ganaug convert reads it)"),
        ("unfinished/notes.txt", "a file"),
        ("runs", "a folder"),
        ("nothing", "an empty folder"),
    ],
)
def test_every_kind_is_told(runs, path, kind):
    assert kind_of(runs / path) == kind


def test_what_can_not_be_a_path_is_none(runs):
    assert not exists("") and not is_folder("") and not exists("x" * 5000) and not is_folder("x" * 5000)
    assert did_you_mean("") == did_you_mean("x" * 5000) == did_you_mean("/") == ""


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("runs/photo-gn", "Did you mean runs/photos-gen, which is a generator, not a pack?"),
        ("runs/photo-sefa", "Did you mean runs/photos-sefa, which is a pack?"),
        ("run/photos-sefa", "Did you mean runs/photos-sefa, which is a pack?"),
        ("Runs/Photos-SEFA", "Did you mean runs/photos-sefa, which is a pack?"),
        ("./runs/photos_sefa", "Did you mean runs/photos-sefa, which is a pack?"),
        ("phots", "Did you mean photos, which is a folder of images, not a pack?"),
        ("digit", "Did you mean digits?"),
        ("zzz", "Bundled packs: digits"),
    ],
)
def test_a_mistyped_pack_is_what_was_meant(runs, given, told, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PackError) as caught:
        DirectionPack.from_pretrained(given)
    assert told in str(caught.value) and given in str(caught.value) and "cache" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            "runs/photos-gen",
            "is a generator, not a pack. Find directions in it: ganaug train --generator runs",
        ),
        ("photos", "photos is a folder of images, not a pack"),
        ("nothing", "nothing is an empty folder, not a pack"),
        ("unfinished", "go on with --resume"),
        ("photos/cat/0.png", "is an image, not a pack"),
        ("", "an empty name"),
    ],
)
def test_what_is_no_pack_is_told_what_it_is(runs, given, told):
    with pytest.raises(PackError) as caught:
        DirectionPack.from_pretrained(given)
    assert told in str(caught.value)


def test_a_generator_is_found_like_a_pack(runs):
    sha256 = load_generator("runs/photos-gen").weights_sha256()
    assert load_generator("runs/photos-sefa").weights_sha256() == sha256
    for given, told in {
        "photos": "photos is a folder of images, not a generator's, nor a pack",
        "photos/cat/0.png": "is an image, not a generator's folder",
        "run-photos": "no generator 'run-photos'",
        "./runs/photo-gen": "Did you mean runs/photos-gen, which is a generator?",
        "": "no generator ''",
    }.items():
        with pytest.raises(GeneratorError) as caught:
            load_generator(given)
        assert told in str(caught.value)


@pytest.mark.parametrize("given", ["runs/photos-sefa", "./runs/photos-sefa", "runs/photos-sefa/", "ABSOLUTE"])
def test_a_pack_goes_by_what_loads_it(runs, given):
    given = str(runs / "runs" / "photos-sefa") if given == "ABSOLUTE" else given
    pack = DirectionPack.from_pretrained(given)
    assert DirectionPack.from_pretrained(pack.name).names == pack.names
    with pytest.raises(PackError, match=f"pack '{pack.name}' has no direction"):
        pack["sky"]
    card = (pack.save_pretrained(given) / "README.md").read_text()
    assert f'pack="{pack.name}"' in card


def test_a_folder_named_as_a_bundled_pack_is_spelled_apart(runs, pack):
    folder = pack.save_pretrained("digits")
    assert 'pack="./digits"' in (folder / "README.md").read_text()
    assert DirectionPack.from_pretrained("./digits").name == "./digits"
