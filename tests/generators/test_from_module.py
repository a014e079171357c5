import copy
import doctest
import pickle
from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ganaug.errors import GeneratorError
from ganaug.generators import Generator, ModuleGenerator
from ganaug.generators import generator as base
from ganaug.packs import DirectionPack
from ganaug.training import discover, find_directions, plan, train_encoder
from ganaug.transforms import LatentShift

SIZES = {"latent_dim": 5, "image_size": 8, "channels": 3}


class Network(nn.Module):
    """Images from vectors; ``finish`` makes of the last layer's outputs whatever a network may return."""

    def __init__(self, finish=torch.tanh):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(5, 3 * 8 * 8)
        self.finish = finish

    def forward(self, latents):
        return self.finish(self.linear(latents).unflatten(1, (3, 8, 8)))


class Maps(nn.Module):
    """Images in [0, 1] from maps and one-hot labels under a keyword, as class-conditional DCGANs are called."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.classes = nn.Linear(4, 5, bias=False)
        self.project, self.norm, self.draw = (
            nn.ConvTranspose2d(5, 8, 4),
            nn.BatchNorm2d(8),
            nn.ConvTranspose2d(8, 3, 4, 2, 1),
        )
        self.draw.weight.data *= 8

    def forward(self, z, *, c):
        x = self.project(z + self.classes(c)[:, :, None, None])
        return self.draw(self.norm(x).relu()).sigmoid()


class Classes(nn.Module):
    """Adds what the labels are embedded as to the latents; ``shared`` embeds them."""

    def __init__(self, take=lambda latents, labels: latents + labels):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.shared, self.take = Network(), nn.Embedding(4, 5), take

    def forward(self, latents, labels):
        return self.net(self.take(latents, labels))


def maps():
    return Generator.from_module(
        Maps(), **SIZES, num_classes=4, latent_shape="map", value_range=(0, 1), labels="one_hot", label_keyword="c"
    )


def refused(module, message, **options):
    with pytest.raises(GeneratorError, match=message):
        Generator.from_module(module, **{**SIZES, **options})


def test_the_example_runs():
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(Generator.from_module, "from_module", globs={"Generator": Generator})
    assert doctest.DocTestRunner().run(example) == (0, 4)


# -- what may be stated ------------------------------------------------------------------------------------------------


def test_a_network_becomes_frozen_and_draws_what_it_drew():
    network = Network().train()
    generator = Generator.from_module(network, **SIZES)
    latents = generator.sample_latents(2)
    assert isinstance(generator, ModuleGenerator) and generator.module is network
    assert torch.equal(generator(latents), network(latents))
    assert not network.training and not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(
    ("value_range", "finish"),
    [
        ((0, 1), torch.sigmoid),
        ((0, 255), lambda x: 255 * x.sigmoid()),
        ((-0.5, 0.5), lambda x: x.tanh() / 2),
        ((0, 1), lambda x: x.sigmoid().double()),
        ((0, 1), lambda x: x.sigmoid().half()),
    ],
)
def test_any_range_and_float_type_becomes_float32_from_minus_one_to_one(value_range, finish):
    module = Network(finish)
    generator = Generator.from_module(module, **SIZES, value_range=value_range)
    latents, (low, high) = 4 * torch.randn(3, 5), value_range
    images = generator(latents)
    assert images.dtype == torch.float32 and images.min() < -0.5 and images.max() > 0.5
    torch.testing.assert_close(images, 2 * (module(latents).float() - low) / (high - low) - 1)


def test_latents_may_go_in_as_maps(tutorial):
    generator = Generator.from_module(tutorial, latent_dim=6, image_size=16, channels=3, latent_shape="map")
    latents = torch.randn(3, 6)
    assert torch.equal(generator(latents), tutorial(latents[:, :, None, None]))


@pytest.mark.parametrize("keyword", [None, "labels"])
@pytest.mark.parametrize("form", ["index", "one_hot", "embedding"])
def test_labels_go_in_as_stated(form, keyword):
    take = {
        "index": lambda z, c: z * (1 + c[:, None]),
        "one_hot": lambda z, c: z + c @ torch.arange(20.0).reshape(4, 5),
        "embedding": lambda z, c: z + c,
    }[form]
    module = Classes(take)
    embedding = module.shared if form == "embedding" else None
    generator = Generator.from_module(
        module, **SIZES, num_classes=4, labels=form, embedding=embedding, label_keyword=keyword
    )
    latents, labels = torch.randn(4, 5), torch.tensor([3, 0, 1, 1])
    given = {"index": labels, "one_hot": torch.eye(4)[labels], "embedding": module.shared(labels)}[form]
    assert torch.equal(generator(latents, labels), module(latents, given))


def test_an_embedding_beside_the_network_is_part_of_the_generator():
    torch.manual_seed(1)
    embedding = nn.Embedding(4, 5)
    generator = Generator.from_module(Classes(), **SIZES, num_classes=4, labels="embedding", embedding=embedding)
    before = generator.weights_sha256()
    assert not embedding.weight.requires_grad
    embedding.weight.data += 1
    assert generator.weights_sha256() != before


def test_copies_and_pickles_draw_the_same():
    generator = maps()
    latents, labels = generator.sample_latents(3), generator.sample_labels(3)
    for again in (copy.deepcopy(generator), pickle.loads(pickle.dumps(generator))):
        assert again.module is not generator.module
        assert torch.equal(again(latents, labels), generator(latents, labels))


def test_a_network_of_ones_own_can_not_be_saved_and_says_what_to_do(tmp_path):
    with pytest.raises(GeneratorError, match=r"DirectionPack.from_pretrained\(path, generator=generator\)"):
        maps().save_pretrained(tmp_path / "g")


def test_a_pack_says_how_its_network_is_called(tmp_path):
    generator = maps()
    DirectionPack(torch.eye(5)[:2], generator=generator).save_pretrained(tmp_path / "own")
    stored = base.read_json(tmp_path / "own" / "config.json")["generator"]
    told = {"latent_shape": "map", "value_range": [0, 1], "labels": "one_hot", "label_keyword": "c"}
    assert stored.items() >= told.items()
    assert DirectionPack.from_pretrained(tmp_path / "own", generator=maps()).generator.config == generator.config


def test_a_pack_from_before_these_arguments_is_read(tmp_path):
    generator, path = Generator.from_module(Network(), **SIZES), tmp_path / "own" / "config.json"
    DirectionPack(torch.eye(5)[:2], generator=generator).save_pretrained(tmp_path / "own")
    config = base.read_json(path)
    for name in ("latent_shape", "value_range", "labels", "label_keyword"):
        del config["generator"][name]
    config["format_version"] = 1
    base.write_json(path, config)
    assert DirectionPack.from_pretrained(tmp_path / "own", generator=generator).generator is generator


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_discovery_and_augmentation_with_such_a_network(precision):
    generator = maps()
    settings = {"num_directions": 3, "batch_size": 4, "rca_samples": 8, "precision": precision, "device": "cpu"}
    pack = discover(generator, steps=2, show_progress=False, **settings)
    images, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 3, 1, 2])
    shifted, same = LatentShift(0, pack=pack, p=1)(images, labels)
    assert shifted.shape == images.shape and 0 <= shifted.min() < shifted.max() <= 1 and torch.equal(same, labels)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        drawn = generator(generator.sample_latents(8), generator.sample_labels(8))
    assert drawn.dtype == torch.float32 and -1 <= drawn.min() < -0.3 and 0.3 < drawn.max() <= 1


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent_shape": "vec"}, "latent_shape should be 'vector' or 'map', got 'vec'"),
        ({"labels": "text", "num_classes": 4}, "labels should be 'index' or 'one_hot' or 'embedding', got 'text'"),
        ({"labels": "one_hot"}, "num_classes is 0, which means that none do"),
        ({"label_keyword": "c"}, "num_classes is 0, which means that none do"),
        ({"embedding": nn.Embedding(4, 5)}, "num_classes is 0, which means that none do"),
        ({"labels": "embedding", "num_classes": 4}, r"go together: .* Got labels='embedding' and embedding=None"),
        ({"embedding": nn.Embedding(4, 5), "num_classes": 4}, "go together: .* Got labels='index' and embedding=Emb"),
        ({"label_keyword": "two words", "num_classes": 4}, "name of an argument .*, got 'two words'"),
        ({"value_range": (1, 0)}, r"value_range should be two numbers.*, got \(1, 0\)"),
        ({"value_range": 255}, "value_range should be two numbers.*, got 255"),
        ({"value_range": (0, float("inf"))}, r"value_range should be two numbers.*, got \(0, inf\)"),
    ],
)
def test_impossible_arguments_are_named(options, message):
    refused(Network(), message, **options)


def test_a_function_is_no_module():
    refused(torch.tanh, "module should be an nn.Module, got builtin_function_or_method. Wrap")


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (Network(), {"latent_dim": 6}, r"module\(latents\) with latents of shape \(2, 6\) failed .*Check latent_dim"),
        (Network(), {"latent_shape": "map"}, r"shape \(2, 5, 1, 1\) failed .*the other one is \"vector\""),
        (Maps().project, {"image_size": 4}, r"shape \(2, 5\) failed .*the other one is \"map\""),
        (Network(), {"num_classes": 4}, r"module\(latents, labels\) .* and labels of shape \(2,\) as \"index\" failed"),
        (
            Maps(),
            {"latent_shape": "map", "num_classes": 4, "labels": "one_hot", "label_keyword": "y"},
            r"module\(latents, y=labels\) .* failed \(TypeError: .*'y'.*Check .*label_keyword",
        ),
        (
            Maps(),
            {"latent_shape": "map", "num_classes": 3, "labels": "one_hot", "label_keyword": "c"},
            'as "one_hot" failed .*Check .*num_classes',
        ),
        (
            Classes(lambda z, c: z + nn.Embedding(4, 5)(c)),
            {"num_classes": 5},
            'as "index" failed .IndexError: .*Check .*num_classes',
        ),
    ],
)
def test_a_network_that_can_not_be_called_as_stated(module, options, message):
    refused(module, message, **options)


@dataclass
class Output:
    sample: torch.Tensor
    features: torch.Tensor


Pair = namedtuple("Pair", "image mask")


@pytest.mark.parametrize(
    ("finish", "message"),
    [
        (lambda x: (x, None), r"returned tuple of Tensor, NoneType, .* returns self.net\(...\)\[0\]"),
        (lambda x: Pair(x, x), r"returned Pair of Tensor, Tensor, .*\[0\]"),
        (lambda x: {"rgb": x}, r"returned dict of 'rgb', expected the images alone. Wrap it .*\[key\]"),
        (lambda x: Output(x, x), r"returned Output of sample, features, .* returns self.net\(...\).field"),
        (lambda x: None, "returned NoneType, expected the images alone"),
        (lambda x: (255 * x.sigmoid()).byte(), r"torch.uint8, expected floats: .*value_range=\(0, 255\)"),
        (lambda x: x.tanh() + 0j, "torch.complex64, expected floats: return their real part"),
        (lambda x: x > 0, "torch.bool, expected floats: return them with .float"),
        (lambda x: x.tanh().flatten(1), r"shape \(2, 192\) .*expected \(2, 3, 8, 8\).*four dimensions"),
        (lambda x: x[:1].tanh(), r"shape \(1, 3, 8, 8\) .*one image for each latent"),
        (lambda x: x.tanh().permute(0, 2, 3, 1), r"return images.permute\(0, 3, 1, 2\)"),
        (lambda x: x.tanh()[:, :, :4], "not square"),
        (lambda x: x.tanh()[:, :1], r"By that, channels=3 should be 1\."),
        (lambda x: x.tanh()[:, :, :4, :4], r"By that, image_size=8 should be 4\."),
        (lambda x: x.tanh()[:, :1, :4, :4], "By that, channels=3 should be 1 and image_size=8 should be 4"),
        (lambda x: x / 0, "NaN or Inf"),
        (lambda x: torch.linspace(-1, 1, 192).reshape(1, 3, 8, 8).expand(2, -1, -1, -1), "ignores its latents"),
    ],
)
def test_a_network_that_returns_something_else(finish, message):
    refused(Network(finish), message)


TANH, SIGMOID = torch.tanh, torch.sigmoid


@pytest.mark.parametrize(
    ("stated", "finish", "message"),
    [
        ((-1, 1), lambda x: (4 * x).sigmoid(), r"looks like value_range=\(0, 1\): pass that"),
        ((-1, 1), lambda x: 255 * SIGMOID(x), r"values from .*expected value_range=\(-1, 1\).*like .*\(0, 255\)"),
        ((0, 1), TANH, r"looks like value_range=\(-1, 1\)"),
        ((0, 1), lambda x: 255 * SIGMOID(x), r"looks like value_range=\(0, 255\)"),
        ((0, 255), SIGMOID, r"looks like value_range=\(0, 1\)"),
        ((0, 255), TANH, r"looks like value_range=\(-1, 1\)"),
        ((-1, 1), lambda x: 1.1 * (4 * x).tanh(), r"end it with .clamp\(-1, 1\)"),
        ((-1, 1), lambda x: 900 * x, "no usual range"),
    ],
)
def test_another_range_than_stated_is_guessed(stated, finish, message):
    refused(Network(finish), message, value_range=stated)


def test_labels_that_change_nothing_are_refused():
    message = "same latent with labels [0-3] and [0-3] gave the same image: the network ignores its labels"
    refused(Classes(lambda latents, labels: latents), message, num_classes=4)


class Normalised(Network):
    """Batch norm that does not listen to eval()."""

    def __init__(self, keeps_statistics):
        super().__init__()
        if keeps_statistics:
            self.register_buffer("mean", torch.zeros(5))
            self.register_buffer("var", torch.ones(5))
        else:
            self.mean = self.var = None

    def forward(self, latents):
        return super().forward(F.batch_norm(latents + 1, self.mean, self.var, training=True))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Network(lambda x: (x + 0.1 * torch.randn_like(x)).tanh()), "drawn twice .* differ by up to .*draws noise"),
        (Network(lambda x: (x + 0.1 * torch.randn(3, 8, 8)).tanh()), "drawn twice .*draws noise"),
        (Network(lambda x: F.dropout(x, 0.2).tanh()), "drawn twice .*F.dropout with training=self.training"),
        (Normalised(False), "in two batches .* differ by up to .*F.batch_norm with training=self.training"),
        (Normalised(True), r"changed the network's buffers \(module.mean; module.var\), which were put back"),
    ],
    ids=["noise", "noise for the batch", "dropout", "batch statistics", "running statistics"],
)
def test_a_network_that_still_behaves_as_in_training(module, message):
    before = copy.deepcopy(module.state_dict())
    random_state = torch.get_rng_state()
    refused(module, message)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_rounding_is_no_noise():
    rounding = Network(lambda x: (x + 1e-3 * torch.randn_like(x)).tanh())
    assert Generator.from_module(rounding, **SIZES).image_size == 8


def test_the_check_draws_four_images_two_at_a_time():
    seen = []
    module = Network()
    module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    generator = Generator.from_module(module, **SIZES)
    assert seen == [2, 2]
    generator.check()
    assert seen == [2, 2, 2]


def test_a_network_that_changed_since_is_found_by_discovery():
    generator = Generator.from_module(Network(), **SIZES)
    generator.module.finish = lambda x: 9 * x
    with pytest.raises(GeneratorError, match="values from"):
        discover(generator, num_directions=2, steps=1, device="cpu")


class Normalising(nn.Module):
    """A network that normalises its latents in place."""

    def __init__(self):
        super().__init__()
        self.net = nn.ConvTranspose2d(8, 3, 16)

    def forward(self, z):
        z /= z.norm(dim=1, keepdim=True)
        return self.net(z[:, :, None, None]).tanh()


def test_latents_stay_as_they_are():
    torch.manual_seed(0)
    generator = Generator.from_module(Normalising(), latent_dim=8, image_size=16, channels=3)
    latents = generator.sample_latents(2)
    before = latents.clone()
    generator(latents)
    assert torch.equal(latents, before)
    find_directions(generator, "ganspace", num_directions=2, samples=50, show_progress=False)


class Volume(nn.Module):
    """A network with a parameter of five dimensions, as rosinality's StyleGAN2 has them."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, 8, 3, 16, 16))

    def forward(self, z):
        return nn.functional.conv_transpose2d(z[:, :, None, None], self.weight[0]).tanh()


def test_weights_of_five_dimensions_are_no_obstacle():
    torch.manual_seed(0)
    generator = Generator.from_module(Volume(), latent_dim=8, image_size=16, channels=3)
    discover(generator, num_directions=2, steps=2, batch_size=2, rca_samples=4, device="cpu", show_progress=False)


def test_a_bare_network_is_told_how_to_become_a_generator():
    bare = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
    for use in (
        lambda: discover(bare, num_directions=2, steps=1),
        lambda: plan(bare),
        lambda: find_directions(bare, "random"),
        lambda: train_encoder(bare, steps=1),
        lambda: DirectionPack(torch.eye(4), generator=bare),
    ):
        with pytest.raises(GeneratorError, match=r"got a bare Sequential\. Make it one: Generator\.from_module"):
            use()
    with pytest.raises(GeneratorError, match=r"got str\. Generator\.from_pretrained loads one"):
        discover("digits")
