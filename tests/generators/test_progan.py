import pytest
import torch

from ganaug.errors import GeneratorError
from ganaug.generators import ProGAN
from ganaug.generators.layers import pixel_norm

WIDTHS = (12, 8, 8, 6)


def progan(**options):
    torch.manual_seed(0)
    return ProGAN(**{"latent_dim": 8, "image_size": 32, "widths": WIDTHS, **options}).freeze()


@pytest.mark.parametrize(("widths", "size"), [(WIDTHS, 32), ((8,), 4), ((8, 6, 4), 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_progan_draws_images_of_its_size(widths, size, channels):
    generator = progan(widths=widths, image_size=size, channels=channels)
    images = generator(10 * generator.sample_latents(3))
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() <= 1 and images.std() > 0


def test_progan_of_the_paper_has_the_papers_size():
    with torch.device("meta"):
        generator = ProGAN()
    lower_to_rgb = sum(3 * width + 3 for width in (512, 512, 512, 512, 256, 128, 64, 32))  # counted there too
    assert sum(p.numel() for p in generator.parameters()) == 23_079_115 - lower_to_rgb
    assert generator.stages[-1].conv2.out_channels == 16 and len(generator.stages) == 8


def test_only_the_direction_of_a_latent_counts():
    generator, z = progan(), torch.randn(2, 8)
    torch.testing.assert_close(generator(3 * z), generator(z))
    torch.testing.assert_close(pixel_norm(z).square().mean(1), torch.ones(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 48}, "power of two of at least 4, got 48"),
        ({"image_size": 2}, "power of two of at least 4, got 2"),
        ({"widths": (8, 8)}, r"4 positive integers for 32 pixels.*got \(8, 8\)"),
        ({"widths": (8, 8, 0, 8)}, "4 positive integers"),
        ({"channels": 2}, "channels should be 1"),
    ],
)
def test_impossible_sizes_are_named(options, message):
    with pytest.raises(GeneratorError, match=message):
        progan(**options)
