"""Folders of format 1: what is written, and what is refused."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from ganaug.errors import PackError
from ganaug.packs import DirectionPack
from ganaug.packs.format import PACK_FILES, checksum
from ganaug.packs.write import pack_config


def edit(folder, change):
    """Change what a folder's config.json says, as if it had been written so."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    config["checksum"] = checksum(config)
    path.write_text(json.dumps(config))


def test_a_saved_pack_comes_back_the_same(pack, folder):
    again = DirectionPack.from_pretrained(folder)
    assert torch.equal(again.directions, pack.directions)
    assert json.dumps(pack_config(again)) == json.dumps(pack_config(pack))
    latents, labels = torch.randn(2, 8), torch.tensor([3, 4])
    torch.testing.assert_close(again.generator(latents, labels), pack.generator(latents, labels))
    assert not any(parameter.requires_grad for parameter in again.generator.parameters())


def test_the_folder_holds_the_files_of_the_format(folder):
    assert {file.name for file in folder.iterdir()} == {
        "config.json",
        "directions.safetensors",
        "generator.safetensors",
        "README.md",
    }
    tensors = load_file(folder / "directions.safetensors")
    assert tensors["directions"].dtype == torch.float32 and tensors["directions"].shape == (6, 8)
    assert (folder / "directions.safetensors").stat().st_mode & 0o044, "others may read what the umask lets them"


def _replace(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def _directions(tensors):
    """Replace the directions' file and the hash that config.json holds of it."""

    def change(folder):
        import hashlib

        save_file(tensors, folder / "directions.safetensors")
        digest = hashlib.sha256((folder / "directions.safetensors").read_bytes()).hexdigest()
        edit(folder, lambda config: config.update(directions_sha256=digest))

    return change


def _config(**changes):
    return lambda folder: edit(folder, lambda config: config.update(changes))


def _cut(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-7])


# Pillow would hand it to Ghostscript.
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
UNIT = F.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(5)), dim=1)
DAMAGE = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    "config not JSON": (_replace("config.json", b"{"), "config.json is not valid JSON"),
    "config not UTF-8": (_replace("config.json", b"\xff\xfe{"), "config.json is not valid JSON"),
    "config a list": (_replace("config.json", b"[]"), "should hold a JSON object, found list"),
    "a newer format": (_config(format_version=3), "has format_version 3, this ganaug reads 1 and 2"),
    "a format that is no number": (_config(format_version=True), "has format_version True"),
    "a generator, not a pack": (
        _config(format_version=None, architecture="sngan"),
        "is a generator, not a pack",
    ),
    "no names": (_config(names=None), "should have an object as 'names', found None"),
    "ranges of another type": (_config(ranges="wide"), "should have a list as 'ranges', found 'wide'"),
    "too few ranges": (_config(ranges=[[-1, 1]]), "one range for each of the 6 directions, got 1"),
    "a range not around 0": (_config(ranges=[[1, 2]] * 6), "range of direction 0 should be an interval around 0"),
    "a huge range": (_config(ranges=[[-1, 1e300]] * 6), "two finite numbers"),
    "a range of truths": (_config(ranges=[[-1, True]] * 6), "two finite numbers"),
    "an infinite range": (_config(ranges=[[-1, float("inf")]] * 6), "not valid JSON: JSON has no Infinity"),
    "NaN in a safe range": (_config(safe_ranges=[[float("nan"), 1]] * 6), "not valid JSON: JSON has no NaN"),
    "another latent space": (_config(latent_space="w"), "should have 'z' as 'latent_space', found 'w'"),
    "another latent size": (_config(latent_dim=9), "should have 8 as 'latent_dim', found 9"),
    "another count": (_config(num_directions=5), "should have 6 as 'num_directions', found 5"),
    "config too deep": (_replace("config.json", b"[" * 10**5), "config.json is not valid JSON"),
    "a number too long": (_replace("config.json", b'{"a": ' + b"9" * 5000 + b"}"), "config.json is not valid JSON"),
    "config a folder": (
        lambda folder: [(folder / "config.json").unlink(), (folder / "config.json").mkdir()],
        "config.json is a folder",
    ),
    "a name that is an index": (_config(names={"17": 1}), "not a number (which is an index); got '17'"),
    "a name with spaces around": (_config(names={" x": 1}), "1 to 80 printable characters"),
    "a score's index too long": (_config(scores={"directions": {"9" * 5000: {}}}), "should map an index"),
    "a name for no direction": (_config(names={"x": 6}), "'x' should point to a direction from 0 to 5, got 6"),
    "a name with a line break": (_config(names={"x\ny": 1}), "1 to 80 printable characters"),
    "a name that means all": (_config(names={"any": 1}), 'not "any"'),
    "scores of no direction": (_config(scores={"directions": {"99": {}}}), "scores['directions'] should map an index"),
    "commands that are none": (
        _config(scores={"directions_commands": ["x"]}),
        "should map kinds of figures to commands",
    ),
    "no directions": (lambda folder: (folder / "directions.safetensors").unlink(), "directions.safetensors is missing"),
    "directions cut": (_cut("directions.safetensors"), "directions.safetensors is not a whole safetensors file"),
    "directions empty": (_replace("directions.safetensors", b""), "not a whole safetensors file"),
    "directions pickled": (_replace("directions.safetensors", pickle.dumps([1])), "not a whole safetensors file"),
    "a header too long": (_replace("directions.safetensors", b"\xff" * 64), "not a whole safetensors file"),
    "directions of another pack": (
        lambda folder: save_file({"directions": UNIT}, folder / "directions.safetensors"),
        "but config.json names",
    ),
    "another tensor": (_directions({"weights": UNIT}), "one tensor named 'directions', found ['weights']"),
    "an extra tensor": (_directions({"directions": UNIT, "b": UNIT.clone()}), "found ['b', 'directions']"),
    "one dimension": (
        _directions({"directions": UNIT[0].clone()}),
        "float32 of shape (K, latent_dim), got torch.float32 (8,)",
    ),
    "double precision": (_directions({"directions": UNIT.double()}), "got torch.float64"),
    "not unit rows": (_directions({"directions": UNIT * 2}), "unit rows; row 0 has length 2"),
    "NaN": (_directions({"directions": UNIT * float("nan")}), "unit rows; row 0 has length nan"),
    "a source of nothing known": (
        lambda folder: edit(folder, lambda config: config["generator"].update(source={"url": "x"})),
        "source should have distribution, version",
    ),
    "no picture": (_replace("preview.png", b"\x89PNG not"), "preview.png is not a PNG picture"),
    "a program as a picture": (
        _replace("preview.png", POSTSCRIPT),
        "preview.png is not a PNG picture: cannot identify",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_refused_by_name(folder, case):
    damage, message = DAMAGE[case]
    damage(folder)
    with pytest.raises(PackError) as caught:
        _ = DirectionPack.from_pretrained(folder).preview  # which is read when it is asked for
    assert message in str(caught.value) and str(folder) in str(caught.value)


KEYS = [
    "directions_sha256", "encoder", "generator", "latent_dim", "latent_space", "licence", "method", "names",
    "num_directions", "ranges", "safe_ranges", "scores",
]  # fmt: skip


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("key", KEYS)
def test_no_key_is_missed_in_silence(folder, key, version):
    edit(folder, lambda config: [config.pop(key), config.update(format_version=version)])
    with pytest.raises(PackError, match=f"config.json should have .*'{key}', found"):
        DirectionPack.from_pretrained(folder)


def test_these_are_all_keys_there_are(folder):
    assert {*KEYS, "format_version", "checksum"} == set(json.loads((folder / "config.json").read_text()))


@pytest.mark.parametrize("key", [*KEYS, "checksum", "format_version", "low"])
def test_a_key_that_stands_there_twice_is_refused(folder, key):
    text = (folder / "config.json").read_text()
    twice = text.replace("{", f'{{"{key}": 1, "{key}": 1,', 1)
    (folder / "config.json").write_text(twice)
    with pytest.raises(PackError, match=f"'{key}' stands there twice"):
        DirectionPack.from_pretrained(folder)


def leaves(value, path=()):
    """Every place of a JSON value where something stands that is neither an object nor a list."""
    if isinstance(value, dict):
        return [leaf for key, each in value.items() for leaf in leaves(each, (*path, key))]
    if isinstance(value, list):
        return [leaf for key, each in enumerate(value) for leaf in leaves(each, (*path, key))]
    return [path]


def other(value):
    """A value of the same type that differs as little as one damaged bit makes it differ."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 1) if value else "a"
    return value ^ 1 if isinstance(value, int) else value * (1 + 2**-30)


def test_whatever_changes_images_is_under_the_checksum(folder):
    whole = json.loads((folder / "config.json").read_text())
    changed = [leaf for leaf in leaves(whole) if leaf[0] not in ("licence", "method", "scores")]
    assert len(changed) > 30
    for leaf in changed:
        config = json.loads((folder / "config.json").read_text())
        place = config
        for key in leaf[:-1]:
            place = place[key]
        place[leaf[-1]] = other(place[leaf[-1]])
        (folder / "changed").mkdir()
        for file in folder.glob("*.*"):
            shutil.copy(file, folder / "changed")
        (folder / "changed" / "config.json").write_text(json.dumps(config))
        with pytest.raises(PackError):
            DirectionPack.from_pretrained(folder / "changed").load()
        shutil.rmtree(folder / "changed")


@pytest.mark.parametrize("name", ["encoder.safetensors", "domain.safetensors"])
def test_a_file_that_config_does_not_speak_of_is_refused(folder, name):
    save_file({"a": UNIT}, folder / name)
    with pytest.raises(PackError, match=f"holds {name}, of which config.json says nothing"):
        DirectionPack.from_pretrained(folder)


GENERATOR_DAMAGE = {
    "no generator": (lambda folder: (folder / "generator.safetensors").unlink(), "generator.safetensors is missing"),
    "generator cut": (_cut("generator.safetensors"), "generator.safetensors is not a whole safetensors file"),
    "another architecture": (
        lambda folder: edit(folder, lambda config: config["generator"].update(architecture="gan9000")),
        "unknown generator architecture 'gan9000'",
    ),
    "another width": (
        lambda folder: edit(folder, lambda config: config["generator"].update(widths=[8, 8, 8, 16])),
        "does not fit SNGAN",
    ),
    "an architecture that is no name": (
        lambda folder: edit(folder, lambda config: config["generator"].update(architecture=["sngan"])),
        "unknown generator architecture ['sngan']",
    ),
    "more memory than there is": (
        lambda folder: edit(folder, lambda config: config["generator"].update(widths=[2**20] * 4)),
        "does not fit SNGAN",
    ),
    "an argument it does not take": (
        lambda folder: edit(folder, lambda config: config["generator"].update(depth=3)),
        "config does not fit architecture 'sngan'",
    ),
}


@pytest.mark.parametrize("case", GENERATOR_DAMAGE)
def test_a_damaged_generator_is_refused_when_it_is_needed(folder, case):
    damage, message = GENERATOR_DAMAGE[case]
    damage(folder)
    pack = DirectionPack.from_pretrained(folder)
    assert pack.names, "what needs no generator still works"
    with pytest.raises(PackError) as caught:
        _ = pack.generator
    assert message in str(caught.value)


def test_a_failed_save_leaves_the_old_pack_whole(pack, folder):
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    pack.rename(0, "new")
    pack.preview = Image.new("CMYK", (4, 4))
    with pytest.raises(PackError, match="cannot write mode CMYK as PNG"):
        pack.save_pretrained(folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"scores": {"rca": float("nan")}},
            "the scores, method and encoder_method of pack 'tiny' should fit into JSON",
        ),
        ({"method": {"weights": torch.ones(1)}}, "Tensor is not JSON serializable"),
        ({"generator_origin": {"url": "x"}}, "source should have distribution"),
        ({"scores": {"directions": {}}}, "go in with pack.add_scores"),
    ],
)
def test_what_could_not_be_loaded_again_is_not_written(pack, tmp_path, change, message):
    vars(pack).update(change)
    with pytest.raises(PackError) as caught:
        pack.save_pretrained(tmp_path / "new")
    assert message in str(caught.value) and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a\n"}, "1 to 80 printable characters"),
        ({"name": "stroke"}, "directions 0 and 2 of pack 'tiny' are both named 'stroke'"),
        ({"range": (-1, 1, 2)}, "range of direction 0 should be two finite numbers"),
        ({"safe_range": (1, 2)}, "an interval around 0"),
        ({"safe_range": None}, "safe ranges of some directions and none of 1 others (the first: 0)"),
        ({"scores": {"label": float("inf")}}, "scores, method and encoder_method of pack 'tiny' should fit into JSON"),
    ],
)
def test_a_direction_that_could_not_be_loaded_again_is_not_written(pack, tmp_path, change, message):
    vars(pack[0]).update(change)
    with pytest.raises(PackError) as caught:
        pack.save_pretrained(tmp_path / "new")
    assert message in str(caught.value) and not (tmp_path / "new").exists()


def test_a_preview_goes_when_the_pack_has_none_but_never_someone_elses(pack, tmp_path):
    pack.preview = Image.new("RGB", (9, 9))
    folder = pack.save_pretrained(tmp_path / "tiny")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "preview.png").write_bytes(b"mine")
    pack.preview = None
    pack.save_pretrained(folder)
    assert DirectionPack.from_pretrained(folder).preview is None
    with pytest.raises(PackError, match=r"preview\.png would be overwritten"):
        pack.save_pretrained(tmp_path / "other")
    assert [(file.name, file.read_bytes()) for file in (tmp_path / "other").iterdir()] == [("preview.png", b"mine")]


@pytest.mark.parametrize("name", PACK_FILES)
def test_no_file_that_is_not_a_packs_is_replaced(pack, tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(PackError, match=rf"{name} would be overwritten"):
        pack.save_pretrained(tmp_path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, "{}")]


def test_a_failed_save_into_a_new_folder_leaves_nothing(pack, tmp_path):
    pack.preview = Image.new("CMYK", (4, 4))
    with pytest.raises(PackError, match="cannot write mode CMYK as PNG"):
        pack.save_pretrained(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_a_pack_can_be_saved_over_itself_and_keeps_files_that_are_not_its_own(pack, folder):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    pack.preview = Image.fromarray(pixels)
    pack.save_pretrained(folder)
    (folder / "notes.txt").write_text("mine")
    again = DirectionPack.from_pretrained(folder)
    again.rename(1, "size")
    again.save_pretrained(folder)
    last = DirectionPack.from_pretrained(folder)
    assert last.names["size"] == 1 and np.array_equal(np.asarray(last.preview), pixels)
    assert (folder / "notes.txt").read_text() == "mine"
    assert not [file for file in folder.iterdir() if file.name.startswith(".")]


def test_a_second_name_of_a_direction_is_dropped_with_a_word(folder):
    edit(folder, lambda config: config.update(names={"light": 3, "shade": 3, "stroke": 2}))
    with pytest.warns(UserWarning, match="direction 3 has two names; 'shade' is dropped for 'light'"):
        pack = DirectionPack.from_pretrained(folder)
    assert pack.names == {"light": 3, "stroke": 2}


def test_null_is_the_safe_range_of_a_direction_that_keeps_the_label_nowhere(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["safe_ranges"] == [[-1, 2], None, [-3, 3], None, [-4, 4], None]
    edit(folder, lambda config: config.update(safe_ranges=[None] * 6))
    pack = DirectionPack.from_pretrained(folder)
    assert pack.is_measured and not pack.usable()
    edit(folder, lambda config: config.update(safe_ranges=None))
    pack = DirectionPack.from_pretrained(folder)
    assert not pack.is_measured and len(pack.usable()) == 6


def test_figures_of_directions_stand_where_format_1_has_them(folder):
    scores = json.loads((folder / "config.json").read_text())["scores"]
    assert scores == {
        "rca": 0.9,
        "rca_command": "ganaug train r.toml",
        "directions": {"4": {"label": 0.99}},
        "directions_commands": {"label": "ganaug evaluate tiny"},
    }


def test_a_preview_is_read_when_it_is_asked_for_and_sized_before_it_is_decoded(pack, tmp_path):
    pack.preview = Image.new("RGB", (9, 5), "red")
    folder = pack.save_pretrained(tmp_path / "tiny")
    assert DirectionPack.from_pretrained(folder).preview.size == (9, 5)
    Image.new("RGBA", (8200, 8200)).save(folder / "preview.png", compress_level=1)
    loaded = DirectionPack.from_pretrained(folder)
    for ask in (lambda: loaded.preview, lambda: loaded.save_pretrained(tmp_path / "copy")):
        with pytest.raises(PackError, match=r"preview\.png would take 268,960,000 bytes .* 8200 x 8200 pixels"):
            ask()
    loaded.preview = None
    assert DirectionPack.from_pretrained(loaded.save_pretrained(tmp_path / "copy")).preview is None


@pytest.mark.parametrize("figure", [float("nan"), 10**40, "\ud800", json.loads("[" * 60 + "]" * 60)])
def test_scores_that_could_not_be_read_are_not_written_and_the_other_way_round(pack, tmp_path, figure):
    folder = pack.save_pretrained(tmp_path / "tiny")
    before = (folder / "config.json").read_bytes()
    pack.scores["figure"] = figure
    with pytest.raises(PackError, match="should fit into JSON"):
        pack.save_pretrained(folder)
    assert (folder / "config.json").read_bytes() == before
    edit(folder, lambda config: config["scores"].update(figure=figure))
    with pytest.raises(PackError, match=r"config\.json is not valid JSON"):
        DirectionPack.from_pretrained(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("file", ["generator", "encoder"])
def test_weights_that_are_no_numbers_are_named(inverting_pack, tmp_path, file, value):
    folder = inverting_pack.save_pretrained(tmp_path / "tiny")
    weights = load_file(folder / f"{file}.safetensors")
    name = next(name for name in weights if name.endswith("weight"))
    weights[name].flatten()[3] = value
    save_file(weights, folder / f"{file}.safetensors")
    with pytest.raises(PackError, match=rf"{file}\.safetensors has NaN or infinite values in {name}"):
        DirectionPack.from_pretrained(folder).load()
    save_file({**weights, name: weights[name].double()}, folder / f"{file}.safetensors")
    with pytest.raises(PackError, match=rf"{file}\.safetensors does not fit .*{name} is torch\.float64"):
        DirectionPack.from_pretrained(folder).load()


@pytest.mark.parametrize("edit_card", [lambda text: text + "\n## My notes\n", lambda text: text.replace("#", "##", 1)])
def test_a_card_that_was_edited_stays(pack, folder, edit_card):
    card = folder / "README.md"
    written = card.read_text()
    DirectionPack.from_pretrained(folder).save_pretrained(folder)
    assert card.read_text() == written, "one that was not is written again"
    card.write_text(edit_card(written))
    again = DirectionPack.from_pretrained(folder)
    again.rename(0, "new")
    with pytest.warns(UserWarning, match="was edited and stays as it is"):
        again.save_pretrained(folder)
    assert card.read_text() == edit_card(written) and DirectionPack.from_pretrained(folder).names["new"] == 0
    card.unlink()
    again.save_pretrained(folder)
    assert "new" in card.read_text()


def test_a_card_of_before_is_put_aside(pack, folder):
    card = folder / "README.md"
    for text, aside in (("# Mine", "README.old.md"), ("# Mine too", "README.old1.md")):
        card.write_text(text)
        with pytest.warns(UserWarning, match=f"is kept as {aside}"):
            pack.save_pretrained(folder)
        assert (folder / aside).read_text() == text and "library_name" in card.read_text()
    assert DirectionPack.from_pretrained(folder).names == pack.names
