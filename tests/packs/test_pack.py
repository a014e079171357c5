import copy
import pickle

import pytest
import torch

from ganaug.errors import PackError
from ganaug.generators import SNGAN
from ganaug.packs import Direction, DirectionPack, bundled_packs


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


@pytest.mark.parametrize("name", ["digits", "mnist", "faces"])
def test_bundled_packs_are_whole_named_and_scored(name):
    pack = DirectionPack.from_pretrained(name)
    assert pack.names and pack.preview is not None and 0.5 < pack.scores["rca"] <= 1
    card = (bundled_packs()[name] / "README.md").read_text()
    assert pack.scores["rca_command"] in card and "![" in card


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": {"a\n": 0}}, "1 to 80 printable characters"),
        ({"names": {"a": 1, "b": 1}}, "'a' and 'b' point to direction 1: keep one"),
        ({"ranges": [(-1, 1)]}, "one range for each of the 2 directions, got 1"),
        ({"safe_ranges": [(-1, 1)]}, "one safe range (or null) for each of the 2 directions, got 1"),
        ({"safe_ranges": [(1, 2)] * 2}, "an interval around 0"),
        ({"generator_origin": {"url": "x"}}, "source should have distribution"),
        ({"scores": {"directions": {"0": {"label": 1.0}}}}, "go in with pack.add_scores"),
    ],
)
def test_what_does_not_fit_the_directions_is_refused_at_once(arguments, message):
    with pytest.raises(PackError) as caught:
        DirectionPack(torch.eye(4)[:2], **arguments)
    assert message in str(caught.value)


def test_a_pack_is_a_sequence_of_its_directions(pack):
    assert len(pack) == 6 and [direction.index for direction in pack] == list(range(6))
    direction = pack["background"]
    assert isinstance(direction, Direction) and direction is pack[4] and direction is list(pack)[4]
    assert torch.equal(direction.vector, pack.directions[4])
    assert (direction.label, pack[0].label) == ("4 background", "0")
    assert (direction.range, direction.safe_range, direction.scores) == ((-6, 6), (-4, 4), {"label": 0.99})
    assert pack[1].safe_range == (0, 0) and not pack[1].is_usable and direction.is_usable
    with pytest.raises(PackError, match="Did you mean background"):
        pack["backgruond"]


def test_directions_with_a_name_come_first_in_order_of_index(pack):
    assert [direction.index for direction in pack.named_first()] == [2, 4, 0, 1, 3, 5]


def test_names_are_changed_by_renaming_alone(pack):
    with pytest.raises(TypeError):
        pack.names["light"] = 0
    pack.rename("stroke", "background")
    assert pack.names == {"background": 2} and pack[4].name is None, "a name goes from one direction to another"
    with pytest.raises(PackError, match="1 to 80 printable characters"):
        pack.rename(0, "17")


def test_figures_of_a_direction_are_kept_beside_their_command(pack):
    pack.add_scores("stroke", {"width": 0.5}, command="a")
    pack.add_scores(2, {"label": 0.9, "width": 0.6}, command="b")
    assert pack[2].scores == {"width": 0.6, "label": 0.9} and pack.commands == {"label": "b", "width": "b"}
    assert pack.scores == {"rca": 0.9, "rca_command": "ganaug train r.toml"}


def test_making_a_pack_loads_and_hashes_nothing(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the constructor should neither load nor hash a network")

    monkeypatch.setattr("ganaug.generators.network.FrozenNetwork.weights_sha256", refuse)
    monkeypatch.setattr("ganaug.packs.pack.read_generator", refuse)
    DirectionPack(torch.eye(8)[:2], generator=SNGAN(latent_dim=8, widths=(8, 8, 8, 8)))
    DirectionPack(torch.eye(8)[:2], generator_origin={"repo": "org/x", "revision": "main"})


def test_load_loads_both_networks_and_returns_the_pack(inverting_pack, tmp_path, monkeypatch):
    folder = inverting_pack.save_pretrained(tmp_path / "tiny")
    pack = DirectionPack.from_pretrained(folder)
    assert pack.num_classes == 10 and pack.has_encoder and pack.load() is pack
    for file in folder.glob("*.safetensors"):
        file.unlink()
    assert pack.generator.weights_sha256() == inverting_pack.generator.weights_sha256()
    assert pack.encoder.weights_sha256() == inverting_pack.encoder.weights_sha256()


def test_an_encoder_given_before_the_generator_is_compared_when_it_is_loaded(
    inverting_pack, grey_pack, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    inverting_pack.generator.save_pretrained(tmp_path / "org" / "generator")
    origin = {"repo": "org/generator", "revision": "main"}
    pack = DirectionPack(torch.eye(8)[:2], generator_origin=origin, encoder=grey_pack.encoder)
    with pytest.raises(PackError, match="the encoder has channels 1, but pack 'unnamed' has 3"):
        pack.load()
    DirectionPack(torch.eye(8)[:2], generator_origin=origin, encoder=inverting_pack.encoder).load()


def test_copies_share_networks_and_nothing_else(inverting_pack):
    copied = copy.deepcopy(inverting_pack)
    assert copied.generator is inverting_pack.generator and copied.encoder is inverting_pack.encoder
    copied.rename(0, "light")
    copied.add_scores(4, {"label": 0.1}, command="")
    copied[4].safe_range = None
    assert "light" not in inverting_pack.names and inverting_pack[4].scores == {"label": 0.99}
    assert inverting_pack[4].safe_range == (-4, 4)
    assert copied[3].vector.data_ptr() == copied.directions[3].data_ptr() != inverting_pack[3].vector.data_ptr()


def test_a_pickled_pack_holds_each_vector_once_and_no_replica(inverting_pack):
    inverting_pack.networks("cpu")
    inverting_pack._replicas[torch.device("meta")] = inverting_pack.networks("cpu")
    pickled = pickle.dumps(inverting_pack)
    again = pickle.loads(pickled)
    assert not again._replicas and inverting_pack._replicas
    assert again.names == inverting_pack.names and torch.equal(again.directions, inverting_pack.directions)
    for direction, before in zip(again, inverting_pack, strict=True):
        assert torch.equal(direction.vector, before.vector) and direction.scores == before.scores
        assert direction.vector.data_ptr() == again.directions[direction.index].data_ptr()
