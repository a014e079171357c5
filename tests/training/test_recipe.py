import json
from pathlib import Path

import pytest
import torch

from ganaug.errors import DiscoveryError, GeneratorError, SettingsError
from ganaug.generators import SNGAN
from ganaug.packs import DirectionPack, bundled_packs, load_generator
from ganaug.training import DiscoverySettings, make_pack, read_recipe, recipe_for_generator

RECIPES = sorted((Path(__file__).parents[2] / "training").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_bundled_pack_was_made_by_the_recipe_of_its_name(path):
    recipe = read_recipe(path)
    pack = DirectionPack.from_pretrained(path.stem)
    made_with = {key: value for key, value in pack.method.items() if key != "name"}
    assert DiscoverySettings.from_mapping(made_with) == recipe.settings
    assert pack.num_directions == recipe.settings.num_directions
    assert pack.license == recipe.license and pack.generator_origin == recipe.origin


def test_every_bundled_pack_has_a_recipe():
    assert set(bundled_packs()) == {path.stem for path in RECIPES}


def test_overrides_come_before_the_recipe(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('[pack]\ngenerator = "a"\nlicense = "mit"\n[discovery]\nsteps = 5\nseed = 3\n')
    recipe = read_recipe(path, ["steps=7", "schedule=cosine", "generator=b/c"])
    assert (recipe.name, recipe.generator, recipe.license) == ("r", "b/c", "mit")
    assert (recipe.settings.steps, recipe.settings.seed, recipe.settings.schedule) == (7, 3, "cosine")


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("[discovery", [], "is not valid TOML"),
        ("[discovery]\nsteps = 5\n", [], "names no generator"),
        ('[pack]\ngenerator = "a"\n[discovry]\n', [], "unknown discovry"),
        ('[pack]\ngenerator = "a"\n[discovery]\nstesp = 5\n', [], "unknown setting stesp"),
        ('[pack]\ngenerator = "a"\n', ["steps"], "given as key=value, got 'steps'"),
        ('[pack]\ngenerator = "a"\n', ["steps=many"], "steps should be an integer, got 'many'"),
    ],
)
def test_mistakes_in_a_recipe_are_named(tmp_path, text, overrides, message):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        read_recipe(path, overrides)


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(SettingsError, match="there is no recipe"):
        read_recipe(tmp_path / "none.toml")


def test_generators_come_from_packs_by_name_or_folder():
    by_name, by_folder = load_generator("digits"), load_generator(bundled_packs()["digits"])
    assert by_name.weights_sha256() == by_folder.weights_sha256()


def test_recipes_of_before_are_read(tmp_path, distribution):
    table = "\n".join(f'{key} = "{value}"' for key, value in distribution.items())
    path = tmp_path / "r.toml"
    path.write_text(f'[pack]\nlicence = "mit"\n[source]\n{table}\n[discovery]\nrecompute = "on"\ncompile = "off"\n')
    recipe = read_recipe(path)
    assert recipe.license == "mit" and recipe.origin == distribution and recipe.generator == ""
    assert recipe.settings == DiscoverySettings(recompute=True, compile=False)
    assert recipe.load_generator().image_size == 16


def test_a_generator_without_a_recipe_gets_one():
    recipe = recipe_for_generator("a/b", name="mine", words=["steps=3", "seed=2"])
    assert (recipe.name, recipe.generator, recipe.license, recipe.method) == ("mine", "a/b", "unknown", "reconstructor")
    assert recipe.settings == DiscoverySettings(steps=3, seed=2) and recipe.origin == {}
    assert recipe_for_generator("a/b", name="mine", words=["method=sefa"]).settings.to_dict() == {"num_directions": 64}
    with pytest.raises(SettingsError, match=r"unknown setting steps\. Known: num_directions"):
        recipe_for_generator("a/b", name="mine", words=["method=sefa", "steps=3"])
    with pytest.raises(SettingsError, match=r"method should be one of .*got 'magic'"):
        recipe_for_generator("a/b", name="mine", words=["method=magic"])


QUICK = ["num_directions=3", "batch_size=4", "steps=4", "reconstructor=lenet", "precision=float32"]


@pytest.fixture
def generator(tmp_path):
    torch.manual_seed(0)
    SNGAN(latent_dim=8, channels=1, widths=(8, 8, 8, 8)).freeze().save_pretrained(tmp_path / "generator")
    return str(tmp_path / "generator")


@pytest.fixture
def few_pairs(monkeypatch):
    """An RCA that nobody measured: :func:`make_pack` takes 10,000 pairs, and here they would only take time."""
    monkeypatch.setattr("ganaug.training.discovery.run.reconstructor_accuracy", lambda *_, **__: 0.5)


def test_a_recipe_becomes_a_finished_pack(tmp_path, generator, few_pairs):
    path = tmp_path / "mine.toml"
    path.write_text(f'[pack]\ngenerator = "{generator}"\nlicense = "mit"\n[discovery]\nsteps = 50\n')
    out = tmp_path / "runs" / "out"
    made = make_pack(read_recipe(path, QUICK), out, device="cpu", command="ganaug train x", show_progress=False)
    assert {file.name for file in out.iterdir()} >= {
        "config.json",
        "directions.safetensors",
        "generator.safetensors",
        "README.md",
        "preview.png",
        "metrics.jsonl",
        "checkpoint.pt",
    }
    config = json.loads((out / "config.json").read_text())
    assert config["licence"] == "mit" and config["method"]["steps"] == 4 and config["method"]["name"] == "reconstructor"
    assert config["scores"] == {"rca": 0.5, "rca_command": "ganaug train x"}
    pack = DirectionPack.from_pretrained(out)
    assert torch.equal(pack.directions, made.directions) and made.name == pack.name == str(out)
    again = make_pack(
        recipe_for_generator(generator, name="again", words=QUICK), tmp_path / "b", device="cpu", show_progress=False
    )
    assert torch.equal(again.directions, made.directions) and again.name == str(tmp_path / "b")
    assert again.scores == {"rca": 0.5}


def test_the_origin_of_a_generator_goes_into_the_pack(tmp_path, distribution):
    table = "\n".join(f'{key} = "{value}"' for key, value in distribution.items())
    path = tmp_path / "faces.toml"
    path.write_text(f'[origin]\n{table}\n[discovery]\nmethod = "random"\nnum_directions = 3\n')
    make_pack(read_recipe(path), tmp_path / "out", device="cpu", show_progress=False)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["generator"]["source"] == distribution
    assert not (tmp_path / "out" / "generator.safetensors").exists()
    assert DirectionPack.from_pretrained(tmp_path / "out").generator.image_size == 16


def test_a_stopped_recipe_goes_on(tmp_path, generator, few_pairs):
    recipe = recipe_for_generator(generator, name="mine", words=QUICK)
    out = tmp_path / "out"
    whole = make_pack(recipe, out, device="cpu", show_progress=False)
    (out / "config.json").unlink()
    with pytest.raises(DiscoveryError, match="holds the checkpoint of an earlier run"):
        make_pack(recipe, out, device="cpu", show_progress=False)
    resumed = make_pack(recipe, out, resume=True, device="cpu", show_progress=False)
    assert torch.equal(resumed.directions, whole.directions) and (out / "config.json").exists()


def test_nothing_is_overwritten_and_what_cannot_be_is_refused_at_once(tmp_path, generator):
    recipe = recipe_for_generator(generator, name="mine", words=["method=random", "num_directions=3"])
    make_pack(recipe, tmp_path / "out", device="cpu", show_progress=False)
    before = (tmp_path / "out" / "directions.safetensors").read_bytes()
    for method in ("random", "reconstructor"):
        again = recipe_for_generator(generator, name="mine", words=[f"method={method}", "num_directions=3"])
        with pytest.raises(DiscoveryError, match="holds a pack or a generator already"):
            make_pack(again, tmp_path / "out", show_progress=False)
    assert (tmp_path / "out" / "directions.safetensors").read_bytes() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(DiscoveryError, match="can't be written to"):
        make_pack(recipe, tmp_path / "file" / "x", show_progress=False)
    nowhere = recipe_for_generator(str(tmp_path / "nowhere"), name="mine")
    with pytest.raises(GeneratorError, match="no generator"):
        make_pack(nowhere, tmp_path / "new", show_progress=False)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "more", [{"resume": True}, {"tensorboard": True}, {}], ids=["resume", "tensorboard", "torchrun"]
)
def test_other_methods_have_no_checkpoints_event_files_nor_processes(tmp_path, generator, monkeypatch, more):
    recipe = recipe_for_generator(generator, name="mine", words=["method=random", "num_directions=3"])
    if not more:
        monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="are for method=reconstructor"):
        make_pack(recipe, tmp_path / "out", show_progress=False, **more)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", ["random", "coordinate", "sefa"])
def test_another_method_keeps_what_it_shares_with_the_recipes(tmp_path, method):
    path = tmp_path / "mine.toml"
    path.write_text('[pack]\ngenerator = "g"\n[discovery]\nnum_directions = 3\nsteps = 50\nseed = 4\n')
    shared = {"num_directions": 3} if method == "sefa" else {"num_directions": 3, "seed": 4}
    assert read_recipe(path, [f"method={method}"]).settings.to_dict() == shared
