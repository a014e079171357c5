import json

import pytest
import torch
from biggans import DEEP_CONFIG, biggan, biggan_checkpoint, published_deep, relative_error

from ganaug.checkpoints import biggan_pytorch, convert_checkpoint
from ganaug.errors import GeneratorError


@pytest.mark.parametrize("size", [32, 64, 128, 256, 512])
@pytest.mark.parametrize("hierarchical", [False, True])
def test_biggan_draws_images_of_its_size(size, hierarchical):
    parts = size.bit_length() - 2
    generator = biggan(image_size=size, latent_dim=2 * parts, ch=1, attention=[], hierarchical=hierarchical)
    latents, labels = generator.sample_latents(2), generator.sample_labels(2)
    assert generator(latents, labels).shape == (2, 3, size, size)
    converted = biggan_pytorch.build(biggan_checkpoint(generator))
    assert (converted.image_size, converted.latent_dim) == (size, 2 * parts)
    assert converted.hierarchical == hierarchical


@pytest.mark.parametrize("options", [{}, {"hierarchical": False}, {"image_size": 64, "latent_dim": 15}])
def test_a_biggan_checkpoint_gives_its_sizes_and_its_images(options):
    generator = biggan(**options)
    converted = biggan_pytorch.build(biggan_checkpoint(generator))
    assert converted.config == generator.config
    latents, labels = generator.sample_latents(4), generator.sample_labels(4)
    expected = generator(latents, labels)
    assert expected.std() > 0.1 and relative_error(converted(latents, labels), expected) < 1e-5
    assert not converted.training and not any(p.requires_grad for p in converted.parameters())


def test_where_eps_comes_from():
    state = biggan_checkpoint(biggan())
    assert biggan_pytorch.build(state, eps=0.5).config["eps"] == 0.5
    ported = {name: tensor for name, tensor in state.items() if not name.endswith("sv0")}
    assert biggan_pytorch.build(ported).config["eps"] == 1e-4
    bare = {name: tensor for name, tensor in ported.items() if not name.endswith("u0")}
    generator = biggan_pytorch.build(bare)
    assert generator.config["eps"] == 1e-5 and torch.equal(generator.linear.weight, state["linear.weight"])


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
        biggan_pytorch.build(state)


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
