import pytest
import torch
from torch import nn

from ganaug.checkpoints import convert_checkpoint
from ganaug.errors import GeneratorError
from ganaug.generators import MLP


def trained(*layers):
    """A network with batch-norm statistics, gains and offsets of its own."""
    torch.manual_seed(0)
    network = nn.Sequential(*layers)
    for norm in (layer for layer in network if isinstance(layer, nn.BatchNorm1d)):
        nn.init.normal_(norm.weight, 1, 0.3)
        nn.init.normal_(norm.bias, 0, 0.3)
    network(torch.randn(64, network[0].in_features))
    return network.eval().requires_grad_(False)


def pytorch_gan(channels=1, size=8):
    """The layers of PyTorch-GAN's gan.py, narrower: eps 0.8, and no batch norm in the first."""
    return trained(
        *(nn.Linear(6, 8), nn.LeakyReLU(0.2)),
        *(nn.Linear(8, 12), nn.BatchNorm1d(12, 0.8), nn.LeakyReLU(0.2)),
        *(nn.Linear(12, 16), nn.BatchNorm1d(16, 0.8), nn.LeakyReLU(0.2)),
        *(nn.Linear(16, channels * size**2), nn.Tanh()),
    )


def save(network, path, prefix):
    torch.save({f"{prefix}{name}": tensor for name, tensor in network.state_dict().items()}, path)
    return path


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 8), (3, 12)])
def test_an_mlp_of_pytorch_gan_draws_the_images_of_its_own_code(tmp_path, channels, size):
    network = pytorch_gan(channels, size)
    generator = convert_checkpoint(save(network, tmp_path / "g.pth", "model."))
    assert isinstance(generator, MLP)
    z = torch.randn(5, 6)
    wanted = network(z).view(5, channels, size, size)
    for drawn in (generator(z), generator.fused()(z)):
        torch.testing.assert_close(drawn, wanted, rtol=1e-5, atol=1e-6)
    assert not any(isinstance(module, nn.BatchNorm1d) for module in generator.fused().modules())


@pytest.mark.parametrize("prefix", ["", "main.", "net."])
def test_what_a_checkpoint_does_not_say_is_told(tmp_path, prefix):
    network = trained(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 27), nn.Tanh())
    path = save(network, tmp_path / "g.pth", prefix)
    z = torch.randn(5, 6)
    wanted = network(z).view(5, 3, 3, 3)
    torch.testing.assert_close(convert_checkpoint(path, activation="relu")(z), wanted)
    for other in ({}, {"activation": "relu", "batch_norm_eps": 0.8}):
        assert not torch.allclose(convert_checkpoint(path, **other)(z), wanted, atol=1e-3)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 1)], "makes 1 values of 64, which is no square image"),
        ([nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 50)], "makes 50 values of 6, which is no square image"),
        ([nn.Linear(6, 8), nn.Linear(8, 64)], r"no activation between its linear layers net\.0 and net\.1"),
        ([nn.Linear(6, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 64)], r"unexpected net\.2\.bias"),
        ([nn.Linear(6, 8), nn.ReLU(), nn.Linear(9, 64)], r"layers\.2\.weight is torch.float32 \(64, 9\), expected"),
    ],
    ids=["discriminator", "not square", "no activation", "batch norm behind", "other width"],
)
def test_what_is_no_mlp_of_images_is_refused(tmp_path, layers, message):
    with pytest.raises(GeneratorError, match=message):
        convert_checkpoint(save(nn.Sequential(*layers), tmp_path / "g.pth", "net."))
