import pytest
from PIL import Image


def test_augment_keeps_classes_sizes_and_counts(run, pack_folder, photos, tmp_path):
    words = ("augment", photos("0", "1", count=2, size=(20, 28)), tmp_path / "out")
    words += ("--pack", pack_folder, "--direction", "colour", "--copies", 3)
    assert "12 images" in run(*words)
    files = sorted((tmp_path / "out").rglob("*.png"))
    assert len(files) == 12 and {file.parent.name for file in files} == {"0", "1"}
    assert {Image.open(file).size for file in files} == {(20, 28)}
    assert len({file.read_bytes() for file in files}) == 12, "every augmented image is another one"
    assert "0 images in" in run(*words) and "beside 12 that were there" in run(*words)
    assert "of another call: seed 0, not 1" in run(*words, "--seed", 1, code=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("mine")
    assert "is not empty" in run(*words[:2], tmp_path / "mine", *words[3:], code=1)
    blocked = run(*words[:2], tmp_path / "mine" / "a.txt" / "out", *words[3:], code=1)
    assert "a.txt is a file, not a folder" in " ".join(blocked.split())


def test_augment_along_any_direction_at_once(run, pack_folder, photos, tmp_path):
    folder, pixels = photos("0", "1"), set()
    for count in (1, 2):
        out = tmp_path / f"out{count}"
        words = ("--pack", pack_folder, "--direction", "any", "--magnitude", 2, "--num-ops", count)
        run("augment", folder, out, *words)
        pixels.add((out / "0" / "0_0.png").read_bytes())
    assert len(pixels) == 2
    words = ("--pack", pack_folder, "--direction", 0, "--num-ops", 2)
    assert "from 1 to the number of directions" in run("augment", folder, tmp_path / "out", *words, code=1)


def test_augment_along_several_directions(run, pack_folder, photos, tmp_path):
    """Not along the last one alone."""
    folder, pixels = photos("0", "1"), {}
    for chosen in ((0,), (1,), (0, 1)):
        out = tmp_path / f"out{chosen}"
        words = [word for direction in chosen for word in ("--direction", direction)]
        run("augment", folder, out, "--pack", pack_folder, "--magnitude", 2, "--num-ops", len(chosen), *words)
        pixels[chosen] = (out / "0" / "0_0.png").read_bytes()
    assert len(set(pixels.values())) == 3


def test_nothing_of_the_users_is_overwritten(run, pack_folder, photos, tmp_path):
    folder, kept = photos("0", "1"), tmp_path / "out.part" / "mine.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    words = ("--pack", pack_folder, "--direction", 0)
    run("augment", folder, tmp_path / "out", *words)
    assert kept.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".", "out"))) == ["out", "out.part"]
    text = run("augment", folder, folder / "more", *words, code=1)
    assert "lies inside" in text and not (folder / "more").exists()


def test_augment_matches_classes_by_name(run, pack_folder, photos, tmp_path):
    words = ("augment", photos("only"), tmp_path / "out", "--pack", pack_folder, "--direction", 0)
    assert "has the classes only" in run(*words, code=1)
    assert "should name the 2 classes" in run(*words, "--classes", "only", code=1)
    assert "1 image in" in run(*words, "--classes", "other, only")


def test_augment_loses_nothing(run, pack_folder, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    for label in ("0", "1"):
        (photos / label).mkdir(parents=True)
        for ending in ("png", "jpg"):
            Image.new("RGB", (32, 32)).save(photos / label / f"a.{ending}")
    words = ("augment", photos, out, "--pack", pack_folder, "--direction", 0)
    (photos / "1" / "b.png").write_text("no picture")
    assert "b.png can't be read as an image" in run(*words, code=1) and not out.exists()
    (photos / "1" / "b.png").unlink()
    run(*words)
    names = {str(file.relative_to(out)) for file in out.rglob("*.png")}
    assert names == {f"{label}/a.{ending}_0.png" for label in ("0", "1") for ending in ("png", "jpg")}


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (("augment", "IN", "OUT", "--direction", "colour", "--source", "invert"), "/pack' has none", 1),
        (("augment", "IN", "OUT", "--direction", "colour", "--magnitude", "5,1"), "low <= high", 2),
        (("augment", "IN", "OUT", "--direction", "color"), "Did you mean colour", 1),
        (("augment", "IN", "OUT", "--direction", "0", "--copies", "0"), "x>=1", 2),
        (("augment", "IN", "OUT", "--direction", "0", "--device", "nonsense"), "'nonsense' can't be used here", 2),
        (("invert", "IN", "--batch-size", "0"), "x>=1", 2),
        (("invert", "IN", "--refine-steps", "-1"), "x>=0", 2),
        (("invert", "IN"), "has no encoder", 1),
    ],
)
def test_mistakes_on_the_command_line_are_one_message(run, pack_folder, photos, tmp_path, words, message, code):
    places = {"IN": photos("0"), "OUT": tmp_path / "out"}
    text = run(*(places.get(word, word) for word in words), "--pack", pack_folder, code=code)
    assert message in " ".join(text.split())
    assert not (tmp_path / "out").exists()


def test_warnings_are_a_line_without_code(run, pack_folder, photos, tmp_path):
    text = run("augment", photos("0", "1"), tmp_path / "out", "--pack", pack_folder, "--direction", 0, "--magnitude", 9)
    assert "Warning: magnitude=9.0 goes beyond the ranges" in text and ".py" not in text
