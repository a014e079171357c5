import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ganaug.errors import GeneratorError
from ganaug.generators import DCGAN, SNGAN, Generator


def sngan(**options):
    torch.manual_seed(0)
    return SNGAN(**{"latent_dim": 8, "widths": (8, 8, 8, 8), **options}).freeze()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("num_classes", [0, 5])
@pytest.mark.parametrize(("widths", "size"), [((8, 8, 8, 8), 32), ((16, 8, 8, 4, 4), 64), ((8, 4), 8)])
def test_sngan_draws_images_of_the_size_its_widths_give(channels, num_classes, widths, size):
    generator = sngan(channels=channels, num_classes=num_classes, widths=widths)
    images = generator(generator.sample_latents(3), generator.sample_labels(3))
    assert images.shape == (3, channels, size, size) and generator.image_size == size
    assert images.abs().max() <= 1 and images.std() > 0


def test_sngan_of_the_paper_has_the_papers_size():
    dense, block, to_image = 129 * 4096, 2 * (257 * 256 + 8 * 256 * 256) + 4 * 256, 3 * (9 * 256 + 1)
    assert sum(p.numel() for p in SNGAN().parameters()) == dense + 3 * block + 2 * 256 + to_image


@pytest.mark.parametrize(
    ("widths", "bottom_size", "size"),
    [((512, 256, 128, 64), 6, 48), ((1024, 512, 256, 128, 64), 4, 64), ((1024, 1024, 512, 256, 128, 64), 4, 128)],
)
def test_the_papers_larger_sngans_are_widths_and_a_bottom_size(widths, bottom_size, size):
    with torch.device("meta"):
        generator = SNGAN(widths=widths, bottom_size=bottom_size)
        assert generator(torch.empty(1, 128)).shape == (1, 3, size, size)
    assert generator.image_size == size


@pytest.mark.parametrize(
    "generator",
    [
        SNGAN(latent_dim=8, channels=1, widths=(24, 16, 16, 8)),
        SNGAN(latent_dim=8, channels=3, num_classes=4, widths=(24, 16, 8)),
        DCGAN(latent_dim=8, width=4, image_size=32),
    ],
    ids=["sngan", "conditional sngan", "dcgan"],
)
def test_a_fused_generator_draws_the_same_images_with_the_same_gradients(generator):
    generator.train()
    with torch.no_grad():
        for norm in (module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)):
            for parameter in norm.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        generator(3 * torch.randn(64, 8), generator.sample_labels(64))
    generator.freeze()
    weights, state = generator.weights_sha256(), torch.get_rng_state()
    fused = generator.fused()
    assert torch.equal(torch.get_rng_state(), state), "fusing draws nothing"
    latents, labels = torch.randn(5, 8), generator.sample_labels(5)
    drawn = []
    for network in (generator, fused):
        leaf = latents.clone().requires_grad_()
        images = network(leaf, labels)
        images.square().sum().backward()
        drawn.append((images.detach(), leaf.grad))
    (images, gradients), (same_images, same_gradients) = drawn
    assert images.std() > 0.01
    torch.testing.assert_close(same_images, images, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(same_gradients, gradients, atol=1e-4 * gradients.abs().max().item(), rtol=1e-4)
    assert not any(parameter.requires_grad for parameter in fused.parameters())
    norms = [sum(isinstance(module, nn.BatchNorm2d) for module in one.modules()) for one in (generator, fused)]
    assert generator.weights_sha256() == weights and (norms[1] < norms[0] or generator.num_classes)


@pytest.mark.parametrize("size", [8, 32, 64])
def test_dcgan_draws_images_of_its_size(size):
    generator = DCGAN(latent_dim=6, width=4, image_size=size).freeze()
    assert generator(generator.sample_latents(2)).shape == (2, 3, size, size)


def test_labels_change_the_image(conditional_generator):
    latents = torch.randn(1, 8).expand(10, -1)
    images = conditional_generator(latents, torch.arange(10))
    assert len({image.numpy().tobytes() for image in images}) == 10


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_may_be_integers_of_any_width(conditional_generator, dtype):
    latents, labels = torch.randn(4, 8), torch.tensor([0, 9, 3, 3])
    assert torch.equal(conditional_generator(latents, labels.to(dtype)), conditional_generator(latents, labels))


def test_draws_follow_their_random_generator(conditional_generator):
    rngs = [torch.Generator().manual_seed(4) for _ in range(2)]
    first, second = (conditional_generator.sample_latents(5, rng=rng) for rng in rngs)
    assert torch.equal(first, second) and first.shape == (5, 8)
    labels = conditional_generator.sample_labels(500)
    assert labels.unique().tolist() == list(range(10))
    assert sngan().sample_labels(3) is None


@pytest.mark.parametrize("options", [{"channels": 1}, {"num_classes": 4}, {"widths": (16, 8, 8)}])
def test_a_saved_generator_draws_the_very_same_images(tmp_path, options):
    generator = sngan(**options)
    generator.save_pretrained(tmp_path / "g")
    for cls in (Generator, SNGAN):
        again = cls.from_pretrained(tmp_path / "g")
        latents, labels = generator.sample_latents(2), generator.sample_labels(2)
        assert type(again) is SNGAN
        torch.testing.assert_close(again(latents, labels), generator(latents, labels))
        assert not again.training and not any(p.requires_grad for p in again.parameters())
    assert again.weights_sha256() == generator.weights_sha256()


def test_a_loaded_generator_does_not_follow_its_file(tmp_path):
    sngan().save_pretrained(tmp_path / "g")
    again = Generator.from_pretrained(tmp_path / "g")
    path = tmp_path / "g" / "generator.safetensors"
    with path.open("r+b") as file:
        file.seek(-400, 2)
        file.write(b"\x01" * 400)
    assert again.weights_sha256() == sngan().weights_sha256()


def test_an_option_that_is_not_known_is_named(tmp_path):
    sngan().save_pretrained(tmp_path / "g")
    with pytest.raises(TypeError, match="options that it does not know: revison"):
        Generator.from_pretrained(tmp_path / "g", revison="v1")


def test_loading_as_another_architecture_is_refused(tmp_path):
    sngan().save_pretrained(tmp_path / "g")
    with pytest.raises(GeneratorError, match="holds a SNGAN, not a DCGAN"):
        DCGAN.from_pretrained(tmp_path / "g")


def test_the_hash_tells_weights_apart_and_nothing_else(tmp_path):
    generator, other = sngan(), sngan()
    assert generator.weights_sha256() == other.to(memory_format=torch.channels_last).weights_sha256()
    other.to_image.bias.data[0] += 1e-6
    assert generator.weights_sha256() != other.weights_sha256()


def _tensors(change):
    def damage(folder):
        tensors = load_file(folder / "generator.safetensors")
        change(tensors)
        save_file(tensors, folder / "generator.safetensors")

    return damage


def _config(**changes):
    def damage(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def _cut(folder):
    path = folder / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-5])


DAMAGE = {
    "cut": (_cut, "generator.safetensors is not a whole safetensors file"),
    "no weights": (lambda folder: (folder / "generator.safetensors").unlink(), "generator.safetensors is missing"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    "bad config": (lambda folder: (folder / "config.json").write_text("{"), "config.json is not valid JSON"),
    "missing tensor": (_tensors(lambda t: t.pop("dense.bias")), "missing dense.bias"),
    "extra tensor": (_tensors(lambda t: t.update(spy=torch.ones(1))), "unexpected spy"),
    "misshaped": (
        _tensors(lambda t: t.update({"dense.bias": torch.ones(2)})),
        r"dense.bias is torch.float32 \(2,\), expected torch.float32 \(128,\)",
    ),
    "half precision": (_tensors(lambda t: t.update({"dense.bias": t["dense.bias"].half()})), r"torch.float16 \(128,\)"),
    "other weights": (_tensors(lambda t: t["dense.bias"].add_(1)), "but the config names"),
    "architecture": (
        _config(architecture="gan9000"),
        "unknown generator architecture 'gan9000'. Known: biggan, biggan-deep, dcgan",
    ),
    "unknown argument": (_config(depth=4), "config does not fit architecture 'sngan'"),
    "config a list": (
        lambda folder: (folder / "config.json").write_text("[]"),
        "should hold a JSON object, found list",
    ),
    "config too deep": (
        lambda folder: (folder / "config.json").write_text("[" * 10**5),
        "config.json is not valid JSON",
    ),
    "NaN": (_config(latent_dim=float("nan")), "config.json is not valid JSON: JSON has no NaN"),
    "bad argument": (_config(channels=2), r"channels should be 1 \(grey\) or 3 \(colour\), got 2"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_refused_by_name(tmp_path, case):
    sngan().save_pretrained(tmp_path / "g")
    damage, message = DAMAGE[case]
    damage(tmp_path / "g")
    with pytest.raises(GeneratorError, match=message):
        Generator.from_pretrained(tmp_path / "g")


@pytest.mark.parametrize(
    ("latents", "labels", "message"),
    [
        (torch.zeros(2, 9), torch.zeros(2).long(), r"latents should have shape \(N, 8\), got \(2, 9\)"),
        (torch.zeros(8), torch.zeros(1).long(), r"latents should have shape \(N, 8\), got \(8,\)"),
        (torch.zeros(2, 8), None, r"needs labels of shape \(2,\) with integers from 0 to 9; none were given"),
        (torch.zeros(2, 8), torch.zeros(3).long(), r"got torch.int64 of shape \(3,\)"),
        (torch.zeros(2, 8), torch.zeros(2), "got torch.float32"),
        (torch.zeros(2, 8), torch.tensor([0, 10]), "got values from 0 to 10"),
    ],
)
def test_wrong_latents_and_labels_are_named(conditional_generator, latents, labels, message):
    with pytest.raises(GeneratorError, match=message):
        conditional_generator(latents, labels)


def test_labels_for_an_unconditional_generator_are_refused():
    with pytest.raises(GeneratorError, match="unconditional"):
        sngan()(torch.zeros(2, 8), torch.zeros(2).long())


class Own(Generator):
    """An architecture of the user's own; ``finish`` makes of the last layer's outputs whatever it may return."""

    def __init__(self, finish, **options):
        super().__init__(**{"latent_dim": 5, "image_size": 8, "channels": 3, **options})
        torch.manual_seed(0)
        self.linear = nn.Linear(5, 3 * 8 * 8)
        self.register_buffer("drawn", torch.zeros(1))
        self.finish = finish

    def synthesize(self, latents, labels):
        return self.finish(self.linear(latents).unflatten(1, (3, 8, 8)))


def test_a_check_leaves_no_trace():
    generator, state = Own(lambda x: (x + 1e-3 * torch.randn_like(x)).tanh()).freeze(), torch.get_rng_state()
    assert generator.check() is generator
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("finish", "message"),
    [
        (
            lambda x: x.tanh()[:, :, :4],
            r"returned torch.float32 \(2, 3, 4, 8\) .*expected floats of shape \(2, 3, 8, 8\)",
        ),
        (lambda x: (x.tanh(),), "returned tuple"),
        (torch.sigmoid, r"expected \[-1, 1\]. Rescale its output: for \[0, 1\] return 2 \* x - 1"),
        (lambda x: 127 * x.tanh() + 128, r"for \[0, 255\]"),
        (lambda x: x / 0, "NaN or Inf"),
        (lambda x: torch.linspace(-1, 1, x.numel() // 2).reshape(1, 3, 8, 8).expand_as(x), "ignores its latents"),
    ],
)
def test_a_generator_that_breaks_its_promises_is_refused(finish, message):
    with pytest.raises(GeneratorError, match=message):
        Own(finish).freeze().check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent_dim": 6}, r"latents of shape \(2, 6\) failed \(.*\). Check latent_dim"),
        ({"latent_dim": 6, "num_classes": 2}, r"and labels of shape \(2,\) failed \(.*\). Check latent_dim and num_"),
    ],
)
def test_a_generator_that_can_not_be_called_as_said_is_refused(options, message):
    with pytest.raises(GeneratorError, match=message):
        Own(torch.tanh, **options).freeze().check()


@pytest.mark.parametrize("in_place", [True, False])
def test_a_generator_whose_buffers_change_is_refused_and_its_buffers_put_back(in_place):
    def count(x):
        generator.drawn = generator.drawn.add_(1) if in_place else generator.drawn + 1
        return x.tanh()

    generator = Own(count).freeze()
    with pytest.raises(GeneratorError, match=r"changed the network's buffers \(drawn\), which were put back"):
        generator.check()
    assert generator.drawn == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent_dim": 0}, "latent_dim should be an integer of at least 1, got 0"),
        ({"num_classes": -1}, "num_classes should be an integer of at least 0, got -1"),
        ({"channels": 4}, "got 4"),
        ({"widths": (8,)}, "widths should be 2 to 13 positive integers"),
        ({"shortcut_kernel": 2}, "shortcut_kernel should be 1 or 3, got 2"),
    ],
)
def test_impossible_sizes_are_named(options, message):
    with pytest.raises(GeneratorError, match=message):
        sngan(**options)
    with pytest.raises(GeneratorError, match="power of two of at least 8, got 48"):
        DCGAN(image_size=48)
    with pytest.raises(GeneratorError, match="width should be at least 1, got 0"):
        DCGAN(width=0)
