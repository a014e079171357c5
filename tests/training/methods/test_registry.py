"""The registry, and the way of a stranger who adds a method in one file: this one."""

import html
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

import ganaug.training.methods
from ganaug.errors import SettingsError
from ganaug.generators import SNGAN
from ganaug.packs import DirectionPack
from ganaug.settings import Settings, setting
from ganaug.training import METHODS, DiscoverySettings, find_directions, fresh_rca, make_pack, method, read_recipe


@dataclass(frozen=True, kw_only=True)
class LastSettings(Settings):
    """Settings of the throw-away method: see the fields."""

    num_directions: int = setting(2, "K, at most the latent's dimensions")
    turned: bool = setting(False, "whether directions point the other way")


@pytest.fixture
def last():
    """``last``: the last axes of the latent space. Registered as a file in ``methods/`` would, and forgotten."""
    before = dict(METHODS)

    @method("last", LastSettings)
    def find(generator, settings: LastSettings, device, show_progress) -> Tensor:
        sign = -1.0 if settings.turned else 1.0
        return sign * torch.eye(generator.latent_dim)[-settings.num_directions :]

    yield find
    METHODS.clear()
    METHODS.update(before)


def tiny() -> SNGAN:
    torch.manual_seed(0)
    return SNGAN(latent_dim=8, channels=1, widths=(8, 8, 8, 8)).freeze()


def test_every_file_of_the_folder_is_imported_and_registers_what_it_finds():
    folder = Path(ganaug.training.methods.__file__).parent
    names = {file.stem for file in folder.glob("*.py")} - {"__init__"}
    assert names and all(f"ganaug.training.methods.{name}" in sys.modules for name in names)
    assert {"reconstructor", "sefa", "ganspace", "contrastive", "random", "coordinate"} <= METHODS.keys()
    assert METHODS["reconstructor"].settings is DiscoverySettings


def test_a_name_that_is_taken_is_refused(last):
    with pytest.raises(SettingsError, match=r"registers as method 'last', which .*last.<locals>.find has"):

        @method("last", LastSettings)
        def other(generator, settings, device, show_progress) -> Tensor:
            return torch.eye(generator.latent_dim)


def test_a_methods_only_file_is_its_own(last):
    pack = find_directions(tiny(), "last", num_directions=3, turned=True)
    assert isinstance(pack, DirectionPack) and torch.equal(pack.directions, -torch.eye(8)[5:])
    assert pack.method == {"name": "last", "num_directions": 3, "turned": True}
    with pytest.raises(SettingsError, match="turned should be true or false, got 'right'"):
        find_directions(tiny(), "last", turned="right")


def test_a_new_method_goes_from_recipe_to_pack(last, tmp_path):
    tiny().save_pretrained(tmp_path / "generator")
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        f'[pack]\ngenerator = "{tmp_path / "generator"}"\n[discovery]\nnum_directions = 4\nsteps = 5\nseed = 1\n'
    )
    chosen = read_recipe(recipe, ["method=last", "turned=true"])
    assert chosen.settings == LastSettings(num_directions=4, turned=True)
    make_pack(chosen, tmp_path / "out", device="cpu", show_progress=False)
    pack = DirectionPack.from_pretrained(tmp_path / "out")
    assert torch.equal(pack.directions, -torch.eye(8)[4:]) and pack.method["name"] == "last"


def test_a_methods_paper_is_credited_on_the_cards_of_its_packs(last, tmp_path):
    @method("cited", LastSettings, paper="Latent Spaces (Ada and Bob, 2030), https://example.org/1")
    def find(generator, settings, device, show_progress) -> Tensor:
        return torch.eye(generator.latent_dim)[:2]

    find_directions(tiny(), "cited").save_pretrained(tmp_path / "pack")
    again = DirectionPack.from_pretrained(tmp_path / "pack")
    again.save_pretrained(tmp_path / "copy")
    card = html.unescape((tmp_path / "copy" / "README.md").read_text())
    assert "found by the method `cited` (Latent Spaces (Ada and Bob, 2030), https://example.org/1)." in card


@pytest.mark.parametrize("rows", [[[1.0] + [0.0] * 7], torch.eye(8)[:1], torch.eye(8)[:2, :7], None])
def test_what_a_method_should_not_return_is_refused(last, rows):
    @method("wrong", LastSettings)
    def find(generator, settings, device, show_progress) -> Tensor:
        return rows

    with pytest.raises(SettingsError, match=r"method 'wrong' should find directions of shape \(2, 8\), and returned"):
        find_directions(tiny(), "wrong", num_directions=2)


def test_a_method_may_give_a_whole_pack(last):
    @method("whole", LastSettings)
    def find(generator, settings, device, show_progress) -> DirectionPack:
        return DirectionPack(torch.eye(8)[:1], generator=generator, names={"first": 0}, method={"name": "own"})

    pack = find_directions(tiny(), "whole")
    assert pack.index("first") == 0 and pack.method == {"name": "own"}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        pytest.param(  # RCA is measured on 10,000 pairs
            "reconstructor", {"steps": 2, "batch_size": 4, "reconstructor": "lenet"}, marks=pytest.mark.slow
        ),
        ("sefa", {}),
        ("ganspace", {"samples": 200, "batch_size": 50}),
        ("contrastive", {"steps": 2, "batch_size": 3}),
        ("random", {"seed": 3}),
        ("coordinate", {}),
    ],
)
def test_every_method_gives_a_pack_of_unit_directions(name, settings):
    pack = find_directions(tiny(), name, num_directions=5, device="cpu", show_progress=False, **settings)
    assert pack.directions.shape == (5, 8)
    torch.testing.assert_close(pack.directions.norm(dim=1), torch.ones(5))
    defaults = METHODS[name].settings().to_dict()
    paper = {"paper": METHODS[name].paper} if METHODS[name].paper else {}
    assert pack.method == {"name": name, **defaults, "num_directions": 5, **settings, **paper}


def test_baselines_are_orthonormal_and_the_axes():
    rows = find_directions(tiny(), "random", num_directions=4, seed=1).directions
    torch.testing.assert_close(rows @ rows.T, torch.eye(4), atol=1e-5, rtol=0)
    assert not torch.equal(rows, find_directions(tiny(), "random", num_directions=4, seed=2).directions)
    assert torch.equal(find_directions(tiny(), "coordinate", num_directions=4).directions, torch.eye(8)[:4])
    with pytest.raises(SettingsError, match="9 coordinate directions don't fit in 8 latent dimensions"):
        find_directions(tiny(), "coordinate", num_directions=9)


def test_unknown_methods_and_settings_are_named():
    with pytest.raises(SettingsError, match=r"method should be one of .*reconstructor.*; got 'magic'"):
        find_directions(tiny(), "magic")
    with pytest.raises(SettingsError, match=r"unknown setting steps\. Known: num_directions"):
        find_directions(tiny(), "sefa", steps=3)


def test_a_fresh_reconstructor_judges_any_pack():
    pack = find_directions(tiny(), "random", num_directions=4)
    rca = fresh_rca(pack, steps=2, batch_size=4, samples=64, device="cpu", show_progress=False)
    assert 0 <= rca <= 1
    again = fresh_rca(pack, steps=2, batch_size=4, samples=64, device="cpu", show_progress=False)
    assert again == rca and "rca" not in pack.scores, "the pack is as it was"
