import pytest
import torch
from biggans import DEEP_CONFIG, biggan, biggan_checkpoint, published_deep, relative_error

from ganaug.checkpoints import biggan_pytorch, pytorch_pretrained_biggan
from ganaug.checkpoints.layout import layouts
from ganaug.errors import GeneratorError


def converted_deep(**options):
    return pytorch_pretrained_biggan.build(published_deep().state_dict(), config=DEEP_CONFIG, **options)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("truncation", [0.01, 0.4, 0.58, 0.75, 1.0])
@pytest.mark.parametrize("config", [None, DEEP_CONFIG])
def test_biggan_deep_draws_the_images_of_the_published_package(truncation, config, fused):
    network = published_deep()
    generator = pytorch_pretrained_biggan.build(network.state_dict(), config=config, truncation=truncation)
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
    generator = pytorch_pretrained_biggan.build(network.state_dict(), config=network.config.to_dict(), truncation=0.3)
    latents, labels = generator.sample_latents(3), torch.tensor([1, 2, 3])
    expected = network(latents, torch.eye(5)[labels], 0.3)
    assert relative_error(generator(latents, labels), expected) < 1e-5
    assert expected.shape[2] == generator.image_size


def test_truncations_have_statistics_of_their_own():
    latents, labels = torch.randn(1, 6), torch.tensor([1])
    low, high = (converted_deep(truncation=truncation)(latents, labels) for truncation in (0.4, 0.41))
    assert not torch.allclose(low, high, atol=1e-3)


def test_layouts_are_told_apart():
    plain, deep_state = biggan_checkpoint(biggan()), published_deep().state_dict()
    for state, title in ((plain, "BigGAN (ajbrock/"), (deep_state, "BigGAN-deep (pytorch-"), ({}, None)):
        found = [layout.title for layout in layouts() if layout.reads(state)]
        assert len(found) == (title is not None) and all(one.startswith(title) for one in found)
    with pytest.raises(GeneratorError, match=r"layout of BigGAN-PyTorch's G_ema.pth: found embeddings.weight \(6, 5\)"):
        biggan_pytorch.build(deep_state)
    with pytest.raises(GeneratorError, match=r"not the layout of pytorch-pretrained-biggan's .*: found no tensors"):
        pytorch_pretrained_biggan.build({})


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
        pytorch_pretrained_biggan.build(state)


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
        pytorch_pretrained_biggan.build(published_deep().state_dict(), config={**DEEP_CONFIG, **changes})
