from pathlib import Path

import pytest

from ganaug.errors import SettingsError
from ganaug.packs import bundled_packs, load_generator
from ganaug.settings import parse_settings
from ganaug.training import DiscoverySettings
from ganaug.training.recipe import read_recipe

RECIPES = sorted((Path(__file__).parents[2] / "training").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_bundled_pack_was_made_by_the_recipe_of_its_name(path):
    from ganaug.packs import DirectionPack

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
    path.write_text('[pack]\ngenerator = "a"\nlicence = "mit"\n[discovery]\nsteps = 5\nseed = 3\n')
    recipe = read_recipe(path, ["steps=7", "schedule=cosine", "generator=b/c"])
    assert (recipe.name, recipe.generator, recipe.license) == ("r", "b/c", "mit")
    assert (recipe.settings.steps, recipe.settings.seed, recipe.settings.schedule) == (7, 3, "cosine")


def test_recipes_of_before_spell_their_license_in_another_way(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('[pack]\ngenerator = "a"\nlicence = "mit"\n')
    assert read_recipe(path).license == "mit"


def test_values_are_read_as_in_toml_or_as_words():
    assert parse_settings(["a=1", "b=1e-3", "c=true", "d=word", 'e="quoted"', "f="]) == {
        "a": 1,
        "b": 1e-3,
        "c": True,
        "d": "word",
        "e": "quoted",
        "f": "",
    }


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
