"""How architectures enter themselves in the registry."""

import pytest

from ganaug import generators
from ganaug.errors import GeneratorError
from ganaug.generators import ARCHITECTURES, SNGAN, Generator, ModuleGenerator, build_generator


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """What a test enters goes again."""
    monkeypatch.setattr(generators.generator, "ARCHITECTURES", dict(ARCHITECTURES))
    return generators.generator.ARCHITECTURES


def test_a_class_with_a_name_of_its_own_enters_itself(registry):
    class Own(Generator):
        architecture = "own"

    class Variant(Own):
        pass

    assert registry["own"] is Own and registry.keys() - ARCHITECTURES.keys() == {"own"}
    assert Variant not in registry.values()


def test_a_name_that_is_taken_is_refused(registry):
    with pytest.raises(GeneratorError, match=r"Taken and ganaug\.generators\.sngan\.SNGAN are both of architecture"):

        class Taken(Generator):
            architecture = "sngan"

    assert registry["sngan"] is SNGAN


def test_a_class_that_is_defined_again_takes_its_place(registry):
    def define():
        class Again(Generator):
            architecture = "again"

        return Again

    first, second = define(), define()
    assert first is not second and registry["again"] is second


def test_keywords_of_a_class_still_reach_the_hub():
    class Tagged(Generator, tags=["mine"]):
        architecture = "tagged"

    assert "mine" in Tagged._hub_mixin_info.model_card_data.tags


def test_a_network_of_ones_own_is_entered_and_not_built_from_a_config(tmp_path):
    assert ARCHITECTURES["module"] is ModuleGenerator
    for name, hint in (("module", "made with Generator.from_module"), ("none", "Known: biggan, biggan-deep, dcgan")):
        with pytest.raises(GeneratorError, match=f"unknown generator architecture '{name}'. .*{hint}") as caught:
            build_generator({"architecture": name}, weights=tmp_path / "generator.safetensors")
        assert "module," not in str(caught.value)
