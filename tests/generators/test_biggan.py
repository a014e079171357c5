import json

import pytest
import torch
from pytorch_pretrained_biggan import BigGAN as PublishedBigGANDeep
from pytorch_pretrained_biggan import BigGANConfig

from ganaug.checkpoints import convert_checkpoint
from ganaug.errors import GeneratorError
from ganaug.generators import BigGAN, BigGANDeep, Generator
from ganaug.generators.biggan import looks_like_biggan, looks_like_biggan_deep
from ganaug.packs import DirectionPack
from ganaug.transforms import LatentShift

DEEP_CONFIG = {
    "z_dim": 6,
    "class_embed_dim": 6,
    "channel_width": 8,
    "num_classes": 5,
    "layers": [[False, 16, 16], [True, 16, 8], [False, 8, 4], [True, 4, 2], [False, 2, 1], [True, 1, 1]],
    "attention_layer_position": 4,
    "eps": 1e-4,
    "n_stats": 51,
}


def biggan(**options):
    """A random generator whose weights have spectral norm 1, as those of a checkpoint have when it is folded in."""
    torch.manual_seed(0)
    sizes = {"latent_dim": 16, "image_size": 32, "num_classes": 5, "ch": 4, "shared_dim": 6, "attention": [16]}
    generator = BigGAN(**{**sizes, **options})
    with torch.no_grad():
        for name, tensor in generator.state_dict().items():
            if name.endswith(".means"):
                tensor.normal_(0, 0.3)
            elif name.endswith(".variances"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(".gamma"):
                tensor.fill_(0.7)
            elif name.endswith(".weight") and name != "shared.weight":
                tensor.div_(torch.linalg.matrix_norm(tensor.flatten(1), ord=2))
    return generator.freeze()


def biggan_checkpoint(generator):
    """The generator as BigGAN-PyTorch saves it: every weight three times as large, beside its first singular vector."""
    state = {}
    for name, tensor in generator.state_dict().items():
        stem, _, kind = name.rpartition(".")
        if kind in ("means", "variances"):
            state[f"{stem}.stored_{'mean' if kind == 'means' else 'var'}"] = tensor[0].clone()
        elif kind == "weight" and stem != "shared":
            state[name] = 3 * tensor
            state[f"{stem}.u0"] = torch.linalg.svd(tensor.flatten(1)).U[:, :1].mT.clone()
            state[f"{stem}.sv0"] = torch.tensor([7.0])
        else:
            state[name] = tensor.clone()
    return state


def published_deep(**changes):
    """The package's generator with random weights, singular vectors of their own and random statistics."""
    torch.manual_seed(0)
    network = PublishedBigGANDeep(BigGANConfig.from_dict({**DEEP_CONFIG, **changes}))
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_means"):
                tensor.normal_(0, 0.3)
            elif name.endswith("running_vars"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("gamma"):
                tensor.fill_(0.7)
            elif name in ("generator.bn.weight", "generator.bn.bias"):
                tensor.normal_(1, 0.3)
        for _ in range(5):
            network.train()(torch.randn(2, network.config.z_dim), torch.eye(5)[:2], 1.0)
    return network.eval().requires_grad_(False)


def deep(**options):
    return BigGANDeep.from_checkpoint(published_deep().state_dict(), config=DEEP_CONFIG, **options)


def relative_error(images, expected):
    return ((images - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("truncation", [0.01, 0.4, 0.58, 0.75, 1.0])
@pytest.mark.parametrize("config", [None, DEEP_CONFIG])
def test_biggan_deep_draws_the_images_of_the_published_package(truncation, config, fused):
    network = published_deep()
    generator = BigGANDeep.from_checkpoint(network.state_dict(), config=config, truncation=truncation)
    generator = generator.fused() if fused else generator
    latents, labels = generator.sample_latents(4), torch.tensor([0, 4, 2, 2])
    expected = network(latents, torch.eye(5)[labels], truncation)
    assert expected.shape == (4, 3, 32, 32) and expected.std() > 0.1
    assert relative_error(generator(latents, labels), expected) < 1e-5


@pytest.mark.parametrize(
    "changes",
    [
        {"attention_layer_position": 0},
        {"attention_layer_position": -1},
        {"n_stats": 2, "eps": 1e-2},
        {"layers": [[True, 16, 8], [False, 8, 4], [False, 4, 2], [True, 2, 1]], "attention_layer_position": 2},
    ],
)
def test_biggan_deep_of_other_sizes(changes):
    network = published_deep(**changes)
    generator = BigGANDeep.from_checkpoint(network.state_dict(), config=network.config.to_dict(), truncation=0.3)
    latents, labels = generator.sample_latents(3), torch.tensor([1, 2, 3])
    expected = network(latents, torch.eye(5)[labels], 0.3)
    assert relative_error(generator(latents, labels), expected) < 1e-5
    assert expected.shape[2] == generator.image_size


def test_truncations_have_statistics_of_their_own():
    latents, labels = torch.randn(1, 6), torch.tensor([1])
    low, high = (deep(truncation=truncation)(latents, labels) for truncation in (0.4, 0.41))
    assert not torch.allclose(low, high, atol=1e-3)


@pytest.mark.parametrize("size", [32, 64, 128, 256, 512])
@pytest.mark.parametrize("hierarchical", [False, True])
def test_biggan_draws_images_of_its_size(size, hierarchical):
    parts = size.bit_length() - 2
    generator = biggan(image_size=size, latent_dim=2 * parts, ch=1, attention=[], hierarchical=hierarchical)
    latents, labels = generator.sample_latents(2), generator.sample_labels(2)
    assert generator(latents, labels).shape == (2, 3, size, size)
    converted = BigGAN.from_checkpoint(biggan_checkpoint(generator))
    assert (converted.image_size, converted.latent_dim) == (size, 2 * parts)
    assert converted.hierarchical == hierarchical


def test_generators_of_published_sizes():
    """The count that BigGAN-PyTorch prints; the package's, but for the 125 channels of its images that nobody sees."""
    with torch.device("meta"):
        networks = BigGAN(), BigGANDeep(), PublishedBigGANDeep(BigGANConfig())
    plain, deep_ours, deep_published = (sum(p.numel() for p in network.parameters()) for network in networks)
    assert plain == 70_433_988
    assert deep_ours == deep_published - 125 * (9 * 128 + 1)


@pytest.mark.parametrize("options", [{}, {"hierarchical": False}, {"image_size": 64, "latent_dim": 15}])
def test_a_biggan_checkpoint_gives_its_sizes_and_its_images(options):
    generator = biggan(**options)
    converted = BigGAN.from_checkpoint(biggan_checkpoint(generator))
    assert converted.config == generator.config
    latents, labels = generator.sample_latents(4), generator.sample_labels(4)
    expected = generator(latents, labels)
    assert expected.std() > 0.1 and relative_error(converted(latents, labels), expected) < 1e-5
    assert not converted.training and not any(p.requires_grad for p in converted.parameters())


def test_where_eps_comes_from():
    state = biggan_checkpoint(biggan())
    assert BigGAN.from_checkpoint(state, eps=0.5).config["eps"] == 0.5
    ported = {name: tensor for name, tensor in state.items() if not name.endswith("sv0")}
    assert BigGAN.from_checkpoint(ported).config["eps"] == 1e-4
    bare = {name: tensor for name, tensor in ported.items() if not name.endswith("u0")}
    generator = BigGAN.from_checkpoint(bare)
    assert generator.config["eps"] == 1e-5 and torch.equal(generator.linear.weight, state["linear.weight"])


@pytest.mark.parametrize("make", [biggan, deep])
def test_labels_and_every_part_of_the_latent_change_the_image(make):
    generator = make()
    latents = torch.randn(1, generator.latent_dim)
    images = generator(latents.expand(5, -1), torch.arange(5))
    assert len({image.numpy().tobytes() for image in images}) == 5
    images = generator(latents + torch.eye(generator.latent_dim), torch.zeros(generator.latent_dim).long())
    assert len({image.numpy().tobytes() for image in images}) == generator.latent_dim


@pytest.mark.parametrize("make", [biggan, deep])
def test_a_saved_biggan_draws_the_very_same_images(make, tmp_path):
    generator = make(truncation=0.75)
    generator.save_pretrained(tmp_path / "g")
    again = Generator.from_pretrained(tmp_path / "g")
    assert type(again) is type(generator) and again.truncation == 0.75
    latents, labels = generator.sample_latents(2), generator.sample_labels(2)
    torch.testing.assert_close(again(latents, labels), generator(latents, labels))
    assert again.weights_sha256() == generator.weights_sha256()


@pytest.mark.parametrize("make", [biggan, deep])
def test_truncated_latents_stay_within_their_bounds(make):
    latents = make(truncation=0.4).sample_latents(5000, rng=torch.Generator().manual_seed(0))
    again = make(truncation=0.4).sample_latents(5000, rng=torch.Generator().manual_seed(0))
    assert torch.equal(latents, again) and 0.79 < latents.abs().max() <= 0.8
    assert latents.std().item() == pytest.approx(0.4 * 0.8796, abs=0.005)  # a normal cut at 2 has deviation 0.8796
    whole = make().sample_latents(5000, rng=torch.Generator().manual_seed(0))
    assert torch.equal(whole, torch.randn(whole.shape, generator=torch.Generator().manual_seed(0)))


def test_layouts_are_told_apart():
    plain, deep_state = biggan_checkpoint(biggan()), published_deep().state_dict()
    assert looks_like_biggan(plain) and not looks_like_biggan_deep(plain)
    assert looks_like_biggan_deep(deep_state) and not looks_like_biggan(deep_state)
    assert not looks_like_biggan({}) and not looks_like_biggan_deep({})
    with pytest.raises(GeneratorError, match=r"layout of BigGAN-PyTorch's G_ema.pth: found embeddings.weight \(6, 5\)"):
        BigGAN.from_checkpoint(deep_state)
    with pytest.raises(GeneratorError, match=r"not the layout of pytorch-pretrained-biggan's .*: found no tensors"):
        BigGANDeep.from_checkpoint({})


PLAIN_DAMAGE = [
    ("blocks.1.0.conv2.weight", None, "missing blocks.1.0.conv2.weight"),
    ("blocks.1.0.conv2.u0", None, r"blocks.1.0.conv2.u0 is missing, expected torch.float32 of 16 values"),
    ("blocks.1.0.conv2.u0", torch.ones(1, 3), r"is torch.float32 \(1, 3\), expected torch.float32 of 16 values"),
    ("blocks.1.0.conv2.weight", torch.zeros(16, 16, 3, 3), "can't be divided by its singular value, .* as 0.0"),
    ("blocks.0.0.bn1.stored_var", None, "missing blocks.0.0.bn1.variances"),
    ("blocks.0.0.bn1.bn.stored_var", torch.ones(16), "unexpected blocks.0.0.bn1.bn.variances"),
    ("blocks.0.0.bn1.gain.weight", torch.ones(16, 6), "blocks.0.0.bn1.gain.weight is|but latent_dim|expected"),
    ("output_layer.2.bias", torch.ones(4), r"output_layer.2.bias is torch.float32 \(4,\), expected .* \(3,\)"),
    ("spy", torch.ones(1), "unexpected spy"),
    ("shared.u0", torch.ones(1, 5), "unexpected shared.u0"),
    ("blocks.3.0.conv1.weight", torch.ones(2, 2, 3, 3), "blocks.3.0.conv1.u0 is missing|expected"),
    ("blocks.0.0.conv1.weight", None, r"the checkpoint has 2 BigGAN blocks; generators of \[3, 4, 5, 6, 7\] blocks"),
]


@pytest.mark.parametrize(("name", "tensor", "message"), PLAIN_DAMAGE, ids=str)
def test_damage_to_a_biggan_checkpoint_is_named(name, tensor, message):
    state = biggan_checkpoint(biggan())
    state.pop(name, None)
    if tensor is not None:
        state[name] = tensor
    with pytest.raises(GeneratorError, match=message):
        BigGAN.from_checkpoint(state)


DEEP_DAMAGE = [
    ("generator.layers.2.conv_1.weight_orig", None, "missing layers.2.convs.1.weight"),
    ("generator.layers.2.conv_0.weight_orig", None, "no convolution generator.layers.2.conv_0.weight_orig"),
    ("generator.layers.2.conv_1.weight_v", None, "generator.layers.2.conv_1.weight_v is missing"),
    ("generator.layers.2.bn_1.running_vars", torch.ones(51, 3), r"layers.2.norms.1.variances is .* \(51, 3\)"),
    ("generator.gen_z.bias", torch.ones(5), r"linear.bias is torch.float32 \(5,\)"),
    ("generator.conv_to_rgb.bias", torch.ones(5), r"to_image.bias is torch.float32 \(5,\)"),
    ("generator.spy", torch.ones(1), "unexpected spy"),
]


@pytest.mark.parametrize(("name", "tensor", "message"), DEEP_DAMAGE, ids=str)
def test_damage_to_a_biggan_deep_checkpoint_is_named(name, tensor, message):
    state = published_deep().state_dict()
    state.pop(name, None)
    if tensor is not None:
        state[name] = tensor
    with pytest.raises(GeneratorError, match=message):
        BigGANDeep.from_checkpoint(state)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z_dim": 128, "n_stats": 7}, "is not the checkpoint's: it says z_dim 128, not 6; n_stats 7, not 51"),
        ({"layers": DEEP_CONFIG["layers"][:-1]}, "unexpected layers.6"),
        ({"layers": [[True, 16, 5]]}, r"layers should list \(doubles, before, after\)"),
        ({"layers": [16, 8]}, r"layers should list \(doubles, before, after\)"),
        ({"layers": [[True, "16", 8]]}, r"layers should list \(doubles, before, after\)"),
        ({"eps": "small"}, "eps should be a number of at least 0, got 'small'"),
    ],
)
def test_a_config_of_another_model_is_refused(changes, message):
    with pytest.raises(GeneratorError, match=message):
        BigGANDeep.from_checkpoint(published_deep().state_dict(), config={**DEEP_CONFIG, **changes})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 48}, r"image_size should be one of \[32, 64, 128, 256, 512\], got 48"),
        ({"latent_dim": 15}, "splits into 4 equal parts, but latent_dim is 15: choose a multiple of 4"),
        ({"attention": [64]}, r"attention should list resolutions out of \[8, 16, 32\], got \[64\]"),
        ({"ch": 1}, "attention needs 8 feature maps or more, got 4"),
        ({"ch": 0}, "should be at least 1, got 0"),
        ({"truncation": 0}, "truncation should be a number above 0 and at most 1, got 0"),
        ({"num_classes": 0}, "BigGAN is class-conditional"),
    ],
)
def test_impossible_sizes_of_biggan_are_named(options, message):
    with pytest.raises(GeneratorError, match=message):
        biggan(**options)


def test_convert_knows_both_layouts(tmp_path):
    generator, latents, labels = biggan(), torch.randn(3, 16), torch.tensor([0, 4, 2])
    torch.save(biggan_checkpoint(generator), tmp_path / "G_ema.pth")
    converted = convert_checkpoint(tmp_path / "G_ema.pth")
    assert converted.architecture == "biggan"
    torch.testing.assert_close(converted(latents, labels), generator(latents, labels), atol=1e-4, rtol=1e-4)

    (tmp_path / "deep").mkdir()
    network = published_deep()
    torch.save(network.state_dict(), tmp_path / "deep" / "pytorch_model.bin")
    (tmp_path / "deep" / "config.json").write_text(json.dumps(DEEP_CONFIG))
    deep = convert_checkpoint(tmp_path / "deep" / "pytorch_model.bin")
    assert deep.architecture == "biggan-deep" and deep.image_size == 32
    (tmp_path / "deep" / "config.json").write_text(json.dumps({**DEEP_CONFIG, "num_classes": 6}))
    with pytest.raises(GeneratorError, match=r"pytorch_model\.bin"):
        convert_checkpoint(tmp_path / "deep" / "pytorch_model.bin")


def test_latentshift_draws_the_truncated_latents_of_the_generator():
    generator = biggan(truncation=0.3)
    pack = DirectionPack(torch.eye(16)[:2], generator=generator)
    shift = LatentShift(0, pack=pack, p=1.0, magnitude=0, source="sample", return_params=True)
    _, params = shift(torch.rand(50, 3, 32, 32), torch.arange(50) % 5)
    assert 0.3 < params["latents"].abs().max() <= 0.6
