"""Whatever a pack can hold comes back from its folder as it was."""

import json
import tempfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ganaug.generators import MLP
from ganaug.packs import DirectionPack

SIZE = 6

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
NAMES = TEXT.map(str.strip).filter(lambda name: name and name.isprintable() and name != "any" and not name.isdecimal())
ENDS = st.floats(0, 1e5, allow_nan=False)
INTERVALS = st.tuples(ENDS.map(lambda end: -end), ENDS).filter(lambda ends: ends[0] != ends[1])
FIGURES = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**9), 10**9)
KEYS = TEXT.filter(lambda key: key not in ("directions", "directions_commands"))
JSON = st.recursive(
    st.none() | st.booleans() | FIGURES | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
METHODS = st.builds(
    lambda name, settings: {**settings, **name},
    st.sampled_from(["reconstructor", "sefa", "ganspace", "contrastive", "random", "converted", "mine"]).map(
        lambda name: {"name": name}
    )
    | st.just({}),
    st.dictionaries(TEXT | st.sampled_from(["label_weight", "direction_matrix", "file", "sha256"]), JSON, max_size=4),
)


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(0)
    return MLP(latent_dim=SIZE, hidden=(4,), image_size=4, channels=1).freeze()


@st.composite
def packs(draw):
    """Arguments of a pack, and the figures of its directions."""
    count = draw(st.integers(1, 5))
    directions = torch.randn(count, SIZE, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    names = draw(st.lists(NAMES, unique=True, max_size=count))
    arguments = {
        "directions": F.normalize(directions, dim=1),
        "names": dict(zip(names, draw(st.permutations(range(count))), strict=False)),
        "ranges": draw(st.lists(INTERVALS, min_size=count, max_size=count)),
        "safe_ranges": draw(st.none() | st.lists(INTERVALS | st.just((0.0, 0.0)), min_size=count, max_size=count)),
        "scores": draw(st.dictionaries(KEYS, FIGURES, max_size=4)),
        "method": draw(METHODS),
        "license": draw(st.sampled_from(["mit", "apache-2.0", "unknown"])),
    }
    figures = st.dictionaries(TEXT, FIGURES, max_size=3)
    return arguments, draw(st.lists(figures, min_size=count, max_size=count)), draw(TEXT)


@settings(max_examples=25, deadline=None)
@given(packs())
def test_a_pack_comes_back_from_its_folder_as_it_was(generator, drawn):
    arguments, rows, command = drawn
    pack = DirectionPack(generator=generator, **arguments)
    for direction, figures in zip(pack, rows, strict=True):
        pack.add_scores(direction.index, figures, command=command)
    with tempfile.TemporaryDirectory() as folder:
        again = DirectionPack.from_pretrained(pack.save_pretrained(f"{folder}/pack"))
        assert again.generator.weights_sha256() == generator.weights_sha256()
    assert torch.equal(again.directions, pack.directions)
    assert again.names == pack.names == arguments["names"]
    for direction, before in zip(again, pack, strict=True):
        for fact in ("index", "name", "range", "safe_range", "label", "is_usable"):
            assert getattr(direction, fact) == getattr(before, fact)
        assert direction.scores == before.scores == rows[direction.index]
    assert [direction.index for direction in again.usable()] == [direction.index for direction in pack.usable()]
    for fact in ("scores", "commands", "license", "is_measured"):
        assert getattr(again, fact) == getattr(pack, fact)
    assert json.dumps(again.method) == json.dumps(pack.method)
