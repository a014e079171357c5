"""How layouts enter themselves in the registry, and the way of a stranger who adds an architecture and its layout."""

from itertools import combinations

import pytest
import torch
from torch import nn

from ganaug.checkpoints import Layout, convert_checkpoint, register
from ganaug.checkpoints import layout as registry
from ganaug.errors import GeneratorError
from ganaug.generators import ARCHITECTURES, Generator, load_weights
from ganaug.generators import generator as generators


@pytest.fixture(autouse=True)
def registries(monkeypatch):
    """What a test enters goes again."""
    monkeypatch.setattr(registry, "REGISTRY", dict(registry.REGISTRY))
    monkeypatch.setattr(generators, "ARCHITECTURES", dict(ARCHITECTURES))


def stranger():
    """All that a new architecture and its layout take."""

    class Plain(Generator):
        architecture = "plain"

        def __init__(self, *, latent_dim=4, image_size=8, slope=1.0):
            super().__init__(latent_dim=latent_dim, image_size=image_size, channels=1)
            self.slope = slope
            self.dense = nn.Linear(latent_dim, image_size**2)

        def synthesize(self, latents, labels):
            return (self.slope * self.dense(latents)).tanh().unflatten(1, (1, self.image_size, self.image_size))

    def build(state, *, slope=1.0, origin="the checkpoint"):
        found = registry.renamed(
            state, {"fc.w": ("dense.weight", 2), "fc.b": ("dense.bias", 1)}, layout="Plain", origin=origin
        )
        pixels, latent_dim = found["dense.weight"].shape
        with torch.device("meta"):
            generator = Plain(latent_dim=latent_dim, image_size=round(pixels**0.5), slope=slope)
        return load_weights(generator, found, origin=origin)

    register(
        Layout(title="Plain (a/stranger)", architecture="plain", build=build, has=("fc.w",), pattern=r"fc\.(w:2|b:1)")
    )
    return Plain


def test_a_strangers_architecture_and_layout_convert_save_and_load(tmp_path):
    kind = stranger()
    torch.manual_seed(0)
    state = {"fc.w": torch.randn(64, 4), "fc.b": torch.randn(64)}
    torch.save({"g_ema": state}, tmp_path / "x.pt")
    z = torch.randn(3, 4)
    expected = (0.5 * (z @ state["fc.w"].T + state["fc.b"])).tanh().reshape(3, 1, 8, 8)
    for arch in ("auto", "plain"):
        generator = convert_checkpoint(tmp_path / "x.pt", arch=arch, slope=0.5)
        assert type(generator) is kind
        torch.testing.assert_close(generator(z), expected)
    generator.save_pretrained(tmp_path / "g")
    loaded = Generator.from_pretrained(tmp_path / "g")
    assert type(loaded) is kind and torch.equal(loaded(z), generator(z))


def test_what_does_not_fit_a_strangers_layout_is_named(tmp_path):
    stranger()
    path = tmp_path / "x.pt"
    torch.save({"fc.w": torch.randn(64, 4), "fc.b": torch.randn(64, 1)}, path)
    with pytest.raises(GeneratorError, match=r"x\.pt does not fit the layout of Plain: fc\.b is \(64, 1\), expected"):
        convert_checkpoint(path)
    with pytest.raises(GeneratorError, match="plain has no option truncation for conversion; it has slope"):
        convert_checkpoint(path, truncation=0.5)
    torch.save({"own.fc.w": torch.randn(64, 4), "own.fc.b": torch.randn(64)}, path)
    with pytest.raises(GeneratorError, match=r"Known: DCGAN .*, Plain \(a/stranger\), MLP") as caught:
        convert_checkpoint(path)
    assert "Nearest: Plain (a/stranger), but these begin with 'own.'." in str(caught.value)


def test_a_title_that_is_taken_is_refused_and_a_file_that_is_read_again_is_not():
    stranger()
    known = registry.REGISTRY["Plain (a/stranger)"]
    stranger()
    again = registry.REGISTRY["Plain (a/stranger)"]
    assert again is not known

    def build(state):
        pytest.fail("a layout that was refused is not built")

    other = Layout(title=again.title, architecture="sngan", build=build, has=(), pattern="")
    with pytest.raises(GeneratorError, match=r"both register a layout 'Plain .*another title"):
        register(other)
    assert registry.REGISTRY[again.title] is again


def test_a_new_layout_of_linear_layers_comes_before_the_one_that_reads_any(tmp_path):
    kind = stranger()
    known = registry.REGISTRY["Plain (a/stranger)"]

    def build(state):
        return known.build({"fc.w": state["0.weight"], "fc.b": state["0.bias"]})

    register(
        Layout(
            title="Two (a/stranger)", architecture="plain", build=build, has=("0.weight", "2.weight"), pattern=r"\d.*"
        )
    )
    state = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64)).state_dict()
    torch.save(state, tmp_path / "x.pt")
    assert type(convert_checkpoint(tmp_path / "x.pt")) is kind


def test_every_layout_becomes_a_known_architecture_and_is_told_by_names_of_its_own():
    known = registry.layouts()
    assert {layout.architecture for layout in known} == ARCHITECTURES.keys() - {"module"}
    assert [layout.rank for layout in known] == sorted({layout.rank for layout in known})
    for one, other in combinations((layout for layout in known if layout.has), 2):
        assert not set(one.has) <= set(other.has) and not set(other.has) <= set(one.has)
