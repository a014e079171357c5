import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from ganaug.draws import draw_shifts
from ganaug.errors import PackError
from ganaug.generators import MLP, SNGAN, Generator, StyleGAN2
from ganaug.packs import DirectionPack, bundled_packs
from ganaug.packs.format import pack_config


@pytest.fixture
def folder(pack, tmp_path):
    return pack.save_pretrained(tmp_path / "tiny")


def edit(folder, change):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
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


def test_the_card_says_how_to_use_the_pack_and_what_was_measured(folder):
    card = (folder / "README.md").read_text()
    assert card.startswith("---\n") and "library_name: ganaug" in card and "license: apache-2.0" in card
    assert 'LatentShift(direction="background", pack="tiny"' in card
    assert "| 4 | background | -4 to 4 | 0.990 |" in card
    assert "| rca | 0.900 | `ganaug train r.toml` |" in card


@pytest.mark.parametrize("num_classes", [0, 10])
def test_the_code_on_the_card_runs(num_classes, tmp_path, monkeypatch):
    generator = SNGAN(latent_dim=8, num_classes=num_classes, widths=(8, 8, 8, 8)).freeze()
    pack = DirectionPack(
        torch.eye(8)[:3], generator=generator, names={"light": 2}, scores={"rca": 0.5}, license="unknown"
    )
    card = (pack.save_pretrained(tmp_path / "tiny") / "README.md").read_text()
    assert ("an unconditional" in card) == (not num_classes) and "license" not in card
    assert "| rca | 0.500 |  |" in card, "no empty code span where the command is not known"
    monkeypatch.chdir(tmp_path)
    scope = {"images": torch.rand(4, 3, 32, 32), "labels": torch.arange(4)}
    exec(card.split("```python\n")[1].split("```")[0], scope)
    assert scope["images" if num_classes else "shifted"].shape[1:] == (3, 32, 32)


def test_a_hostile_name_can_not_break_the_card(pack, tmp_path):
    pack.rename("background", None)
    pack.rename("stroke", None)
    pack.rename(0, "x | <script>alert(1)</script> ``` [a](http://b)")
    pack.scores["rca_command"] = "a | b `c` < d"
    card = (pack.save_pretrained(tmp_path / "tiny") / "README.md").read_text()
    assert "<script>" not in card and "| x &#124;" in card and card.count("```") == 2 and "[a]" not in card
    assert "`a \\| b 'c' < d`" in card
    assert "LatentShift(direction=0," in card, "a name that can't stand in code is replaced by its index"


def test_names_and_indices(pack):
    assert pack.index("background") == 4 and pack.index(3) == 3
    assert pack[4].name == "background" and pack[0].name is None and pack["stroke"] is pack[2]
    pack.rename(0, "light")
    pack.rename(4, None)
    pack.rename(2, "width")
    assert pack.names == {"light": 0, "width": 2}


@pytest.mark.parametrize(
    ("direction", "message"),
    [
        ("backgruond", "Did you mean background?"),
        ("nothing like it", "Its names: background, stroke; or use an index from 0 to 5"),
        (6, "directions 0 to 5, got index 6"),
        (-1, "got index -1"),
        (1.5, "a direction is a name or an index, got 1.5"),
        (True, "a direction is a name or an index, got True"),
    ],
)
def test_unknown_directions_are_named(pack, direction, message):
    with pytest.raises(PackError) as caught:
        pack.index(direction)
    assert message in str(caught.value)


def test_safe_ranges_decide_what_is_usable(pack):
    assert [direction.index for direction in pack.usable()] == [0, 2, 4] and pack[0].reach == (-1, 2)
    assert pack.is_measured
    with pytest.raises(PackError, match="direction 1 changes the label at every magnitude"):
        _ = pack[1].reach
    for direction in pack:
        direction.safe_range = None
    assert pack.usable() == list(pack) and pack[1].reach == (-6, 6) and not pack.is_measured


def test_bundled_packs_come_before_folders_of_the_same_name(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path / "digits")
    assert DirectionPack.from_pretrained("digits").num_directions != 6
    for folder in ("./digits", Path("digits"), tmp_path / "digits"):
        assert DirectionPack.from_pretrained(folder).num_directions == 6
    with pytest.raises(PackError, match=r"no folder 'org/name'\. Pass a bundled name or a Hub id as a string"):
        DirectionPack.from_pretrained(Path("org/name"))
    monkeypatch.chdir("digits")
    assert DirectionPack.from_pretrained(".").name == "digits"


@pytest.mark.parametrize("name", ["digits", "mnist", "faces"])
def test_bundled_packs_are_whole_named_and_scored(name):
    pack = DirectionPack.from_pretrained(name)
    assert pack.names and pack.preview is not None and 0.5 < pack.scores["rca"] <= 1
    card = (bundled_packs()[name] / "README.md").read_text()
    assert pack.scores["rca_command"] in card and "![" in card


def test_a_pack_whose_generator_is_not_installed_says_how_to_get_it(monkeypatch):
    pack = DirectionPack.from_pretrained("faces")
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(PackError, match=r'pip install --no-deps "gan-face-generate==1\.1\.1"'):
        _ = pack.generator


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
    "a newer format": (_config(format_version=2), "has format_version 2, this ganaug reads 1"),
    "a generator, not a pack": (
        _config(format_version=None, architecture="sngan"),
        "load a generator with Generator.from_pretrained",
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
        "config.json can't be read",
    ),
    "a name that is an index": (_config(names={"17": 1}), "not a number (which is an index); got '17'"),
    "a name with spaces around": (_config(names={" x": 1}), "1 to 80 printable characters"),
    "a score's index too long": (_config(scores={"directions": {"9" * 5000: {}}}), "should map an index"),
    "a name for no direction": (_config(names={"x": 6}), "'x' should point to a direction from 0 to 5, got 6"),
    "a name with a line break": (_config(names={"x\ny": 1}), "1 to 80 printable characters"),
    "a name that means all": (_config(names={"any": 1}), 'not "any"'),
    "scores of no direction": (_config(scores={"directions": {"99": {}}}), "scores['directions'] should map an index"),
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
        DirectionPack.from_pretrained(folder)
    assert message in str(caught.value) and str(folder) in str(caught.value)


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


def test_another_generator_is_refused_by_its_hash(folder, pack):
    torch.manual_seed(9)
    other = SNGAN(latent_dim=8, channels=3, num_classes=10, widths=(8, 8, 8, 8)).freeze()
    other.save_weights(folder / "generator.safetensors")
    with pytest.raises(PackError, match="belongs to a generator whose weights have SHA-256"):
        _ = DirectionPack.from_pretrained(folder).generator
    with pytest.raises(PackError, match="Directions of one generator mean nothing in another"):
        DirectionPack.from_pretrained(folder, generator=other)
    smaller = SNGAN(latent_dim=7, channels=3, widths=(8, 8, 8, 8)).freeze()
    with pytest.raises(PackError, match=r"directions of 8 dimensions, but its generator's latents have 7"):
        DirectionPack.from_pretrained(folder, generator=smaller)


def test_a_loaded_pack_does_not_follow_its_files(folder, pack):
    again = DirectionPack.from_pretrained(folder)
    assert again.generator is not None
    for name in ("directions.safetensors", "generator.safetensors"):
        with (folder / name).open("r+b") as file:
            file.seek(-32, 2)
            file.write(b"\x01" * 32)
    assert torch.equal(again.directions, pack.directions)
    assert again.generator.weights_sha256() == pack.generator.weights_sha256()


def test_the_generator_of_a_pack_is_frozen():
    generator = SNGAN(latent_dim=8, widths=(8, 8, 8, 8))
    pack = DirectionPack(torch.eye(8)[:2], generator=generator)
    before = generator.weights_sha256()
    pack.generator(torch.randn(4, 8))
    assert not generator.training and generator.weights_sha256() == before


def test_weights_of_a_distribution_stay_there(distribution, tutorial, tmp_path):
    pack = DirectionPack(torch.eye(6)[:2], generator_origin=distribution, license="mit")
    folder = pack.save_pretrained(tmp_path / "faces")
    assert not (folder / "generator.safetensors").exists()
    card = (folder / "README.md").read_text()
    assert 'pip install --no-deps "toy-faces==2.0"' in card and "license: mit" in card
    again, latents = DirectionPack.from_pretrained(folder), torch.randn(2, 6)
    torch.testing.assert_close(again.generator(latents), tutorial(latents[:, :, None, None]), rtol=1e-6, atol=1e-6)
    edit(folder, lambda config: config["generator"].update(sha256="0" * 64))
    with pytest.raises(PackError, match="weights have SHA-256 0000"):
        _ = DirectionPack.from_pretrained(folder).generator
    with pytest.raises(PackError, match="distribution gone, which is missing"):
        DirectionPack(torch.eye(6)[:2], generator_origin={**distribution, "distribution": "gone"}).load()


@pytest.mark.parametrize("name", ["nowhere", "./nowhere", "/nowhere/at/all", "a/b/c"])
def test_a_pack_that_is_nowhere_is_named(name):
    with pytest.raises(PackError, match="no bundled pack and no folder") as caught:
        DirectionPack.from_pretrained(name)
    assert name in str(caught.value) and "digits" in str(caught.value)


def test_a_failed_save_leaves_the_old_pack_whole(pack, folder):
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    pack.rename(0, "new")
    pack.preview = Image.new("CMYK", (4, 4))
    with pytest.raises(OSError, match="cannot write mode CMYK as PNG"):
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
    pack.save_pretrained(tmp_path / "other")
    assert (tmp_path / "other" / "preview.png").read_bytes() == b"mine"


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


def test_a_pack_of_your_own_network_needs_that_network(tmp_path):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, 3 * 8 * 8)

        def forward(self, latents):
            return self.linear(latents).tanh().unflatten(1, (3, 8, 8))

    torch.manual_seed(0)
    network = Network()
    generator = Generator.from_module(network, latent_dim=5, image_size=8, channels=3)
    DirectionPack(torch.eye(5)[:2], generator=generator).save_pretrained(tmp_path / "own")
    assert not (tmp_path / "own" / "generator.safetensors").exists()
    with pytest.raises(PackError, match=r"generator=Generator.from_module"):
        _ = DirectionPack.from_pretrained(tmp_path / "own").generator
    again = DirectionPack.from_pretrained(tmp_path / "own", generator=generator)
    assert again.generator is generator


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_draws_are_uniform_over_directions_and_never_too_small(distribution):
    rng = torch.Generator().manual_seed(0)
    indices, magnitudes = draw_shifts(8000, 4, max_magnitude=6, min_magnitude=0.5, distribution=distribution, rng=rng)
    counts = indices.bincount(minlength=4) / 8000
    assert (counts - 0.25).abs().max() < 0.02
    assert magnitudes.abs().min() == 0.5 and abs(magnitudes.mean()) < 0.2
    if distribution == "uniform":
        assert magnitudes.abs().max() <= 6
        assert (magnitudes.abs() == 0.5).float().mean() == pytest.approx(0.5 / 6, abs=0.015)
    else:
        assert magnitudes.std() == pytest.approx(6, abs=0.2)
    again = draw_shifts(8000, 4, distribution=distribution, rng=torch.Generator().manual_seed(0))
    assert torch.equal(again[0], indices) and torch.equal(again[1], magnitudes)


def test_an_unknown_distribution_is_named():
    with pytest.raises(ValueError, match="got 'cauchy'"):
        draw_shifts(3, 2, distribution="cauchy")


def test_the_same_weights_that_draw_in_another_way_are_another_generator(tmp_path):
    torch.manual_seed(0)
    arguments = {"latent_dim": 4, "hidden": (8,), "image_size": 8, "channels": 1}
    generator = MLP(**arguments, activation="relu").freeze()
    DirectionPack(torch.eye(4)[:2], generator=generator).save_pretrained(tmp_path / "pack")
    other = MLP(**arguments, activation="leaky_relu").freeze()
    other.load_state_dict(generator.state_dict())
    with pytest.raises(PackError, match="activation='leaky_relu' where the pack says 'relu'"):
        DirectionPack.from_pretrained(tmp_path / "pack", generator=other)


def test_directions_outside_the_layers_of_a_generator_are_refused():
    generator = StyleGAN2(z_dim=4, w_dim=4, image_size=8, widths=(4, 4), latent_space="w", layers=(1, 2)).freeze()
    with pytest.raises(PackError, match=r"layers=\(1, 2\) leave 4 of 8"):
        DirectionPack(torch.eye(8)[:2], generator=generator)
