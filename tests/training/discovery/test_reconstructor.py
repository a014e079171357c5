import pytest
import torch
from torch.nn import functional as F

from ganaug.generators import DCGAN, SNGAN
from ganaug.training import Reconstructor
from ganaug.training.discovery.reconstructor import UnfoldedConv2d, default_reconstructor


@pytest.mark.parametrize(
    ("kind", "channels", "size", "width"),
    [
        ("lenet", 1, 16, 1),
        ("lenet", 1, 28, 1),
        ("lenet", 1, 32, 2),
        ("lenet", 3, 64, 1),
        ("resnet18", 3, 32, 1),
        ("resnet18", 1, 64, 1),
    ],
)
def test_says_which_direction_and_how_far(kind, channels, size, width):
    reconstructor = Reconstructor(kind, channels, 7, width=width)
    logits, magnitudes = reconstructor(*torch.rand(2, 4, channels, size, size))
    assert logits.shape == (4, 7) and magnitudes.shape == (4,)


@pytest.mark.parametrize("kind", ["lenet", "resnet18"])
def test_sees_both_images_and_their_order(kind):
    reconstructor = Reconstructor(kind, 1, 5).eval()
    first, second = torch.rand(2, 3, 1, 32, 32)
    logits = reconstructor(first, second)[0]
    assert not torch.allclose(logits, reconstructor(second, first)[0])
    assert not torch.allclose(logits, reconstructor(first, first)[0])


def test_unknown_kind_is_named():
    with pytest.raises(ValueError, match="got 'vgg' of width 1"):
        Reconstructor("vgg", 3, 5)


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (2, 1), (4, 2), (3, 2), (8, 1), (16, 2)])
def test_unfolded_convolution_equals_a_convolution_gradients_included(size, stride):
    torch.manual_seed(0)
    conv = UnfoldedConv2d(5, 6, 3, stride, 1, bias=False)
    x = torch.randn(2, 5, size, size, requires_grad=True)
    ours, theirs = conv(x), F.conv2d(x, conv.weight, stride=stride, padding=1)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn_like(theirs)
    for mine, reference in zip(
        torch.autograd.grad((ours * weights).sum(), (x, conv.weight)),
        torch.autograd.grad((theirs * weights).sum(), (x, conv.weight)),
        strict=True,
    ):
        torch.testing.assert_close(mine, reference)


def test_grey_small_images_get_lenet_and_the_rest_resnet18():
    assert default_reconstructor(SNGAN(channels=1, widths=(8, 8, 8, 8))) == "lenet"
    assert default_reconstructor(SNGAN(channels=3, widths=(8, 8, 8, 8))) == "resnet18"
    assert default_reconstructor(DCGAN(channels=1, width=4, image_size=64)) == "resnet18"
