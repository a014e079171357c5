import pytest
import torch

from ganaug.errors import GeneratorError
from ganaug.generators import StyleGAN3
from ganaug.training import discover

SMALL = {
    "z_dim": 4,
    "w_dim": 5,
    "image_size": 32,
    "channel_base": 128,
    "channel_max": 6,
    "num_layers": 4,
    "margin_size": 2,
}


R = {"conv_kernel": 1, "use_radial_filters": True}


def stylegan3(**options):
    torch.manual_seed(0)
    generator = StyleGAN3(**{**SMALL, **options})
    generator.w_avg.normal_()
    torch.nn.init.normal_(generator.fourier.affine.weight, std=0.1)
    return generator.freeze()


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize(
    "options", [{}, {"channels": 1, "num_classes": 3}, {**R, "latent_space": "w", "conv_clamp": None}]
)
def test_stylegan3_draws_images_of_its_size(size, options):
    generator = stylegan3(image_size=size, **options)
    assert generator.latent_dim == (5 if generator.latent_space == "w" else 4)
    images = generator(generator.sample_latents(3), generator.sample_labels(3))
    assert images.shape == (3, generator.channels, size, size)
    assert images.abs().max() <= 1 and images.std() > 0


@pytest.mark.parametrize(
    ("options", "parameters", "widths"),
    [
        ({}, 22_313_167, [512] * 7 + [323, 203, 128, 81, 51, 32, 32, 3]),
        (
            {**R, "channel_base": 65536, "channel_max": 1024},
            15_093_151,
            [1024] * 7 + [645, 406, 256, 161, 102, 64, 64, 3],
        ),
    ],
)
def test_configurations_t_and_r_have_the_published_codes_sizes(options, parameters, widths):
    with torch.device("meta"):
        generator = StyleGAN3(**options)
    assert sum(p.numel() for p in generator.parameters()) == parameters
    assert [signal.width for signal in generator.signals] == widths
    sizes = [36, 36, 52, 52, 84, 148, 148, 276, 276, 532, 1044, 1044, 1044, 1024, 1024]
    assert [signal.size for signal in generator.signals] == sizes


def test_an_image_of_w_is_that_of_the_z_it_comes_from():
    in_z, in_w = stylegan3(truncation=0.7), stylegan3(truncation=0.7, latent_space="w")
    rngs = [torch.Generator().manual_seed(3) for _ in range(2)]
    z, w = in_z.sample_latents(4, rng=rngs[0]), in_w.sample_latents(4, rng=rngs[1])
    assert (z.shape, w.shape) == ((4, 4), (4, 5))
    assert torch.equal(in_z.map(z), w) and torch.equal(in_w(w), in_z(z))


def test_moving_the_input_moves_the_image():
    generator = stylegan3(margin_size=32)  # far enough that no border is felt in the image
    latents = generator.sample_latents(2)
    images = generator(latents)
    generator.fourier.transform[:2, 2] = torch.tensor([2 / 16, -1 / 16])  # in pixels of the first layer
    moved = generator(latents)
    torch.testing.assert_close(moved[:, :, 2:, :-4], images[:, :, :-2, 4:], atol=1e-5, rtol=0)
    assert (moved - images).abs().max() > 0.01


@pytest.mark.parametrize(("options", "turns"), [({}, False), (R, True)])
def test_turning_the_input_turns_the_image_of_configuration_r_only(options, turns):
    generator = stylegan3(margin_size=32, **options)
    latents = generator.sample_latents(2)
    images = generator(latents)
    generator.fourier.transform[:2, :2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    turned = (generator(latents) - images.rot90(1, (2, 3))).abs().max() / images.std()
    assert turned < 1e-4 if turns else turned > 0.1


@pytest.mark.parametrize("options", [{**R, "latent_space": "w", "truncation": 0.5}, {"num_classes": 3}])
def test_a_saved_stylegan3_draws_the_very_same_images(tmp_path, options):
    generator = stylegan3(**options)
    latents, labels = generator.sample_latents(2), generator.sample_labels(2)
    generator.save_pretrained(tmp_path / "g")
    again = StyleGAN3.from_pretrained(tmp_path / "g")
    torch.testing.assert_close(again(latents, labels), generator(latents, labels))
    assert again.weights_sha256() == generator.weights_sha256()
    assert again.config == generator.config


def test_bfloat16_draws_nearly_the_same_images():
    generator = stylegan3()
    latents = generator.sample_latents(4)
    with torch.autocast("cpu", torch.bfloat16):
        images = generator(latents)
    assert (images.float() - generator(latents)).abs().mean() < 0.02


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 12}, "power of two of at least 8, got 12"),
        ({"num_critical": 4}, "num_critical should be less than num_layers, 4"),
        ({"num_critical": 0}, "num_critical should be an integer of at least 1"),
        ({"channel_base": 16}, "channel_base should be an integer of at least 32, got 16"),
        ({"conv_kernel": 2}, "conv_kernel should be odd and filter_size even; got conv_kernel=2"),
        ({"filter_size": 5}, "filter_size=5"),
        ({"first_cutoff": 16}, "first_cutoff should be a number of at least 1 and below 16"),
        ({"first_stopband": 1.5}, "first_stopband should be a number of at least 2 and below 32, got 1.5"),
        ({"last_stopband_rel": 0.5}, "last_stopband_rel should be"),
        ({"latent_space": "s"}, 'latent_space should be "z" or "w"'),
        ({"latent_space": "w", "num_classes": 2}, "class in w"),
        ({"truncation": -1}, "truncation should be"),
        ({"conv_clamp": 0}, "conv_clamp should be"),
        ({"w_dim": 0}, "w_dim should be"),
    ],
)
def test_impossible_arguments_are_named(options, message):
    with pytest.raises(GeneratorError, match=message):
        StyleGAN3(**{**SMALL, **options})


def test_directions_in_w_change_a_range_of_layers():
    torch.manual_seed(0)
    generator = StyleGAN3(**SMALL, latent_space="w", layers=(2, 4)).freeze()
    count = len(generator.blocks) + 2
    w, shift = generator.sample_latents(3), torch.zeros(3, 2 * generator.w_dim)
    shift[:, generator.directions_within] = 1
    assert torch.equal(*w.chunk(2, dim=1))
    before, after = (generator.layer_latents(latents, None) for latents in (w, w + shift))
    changed = [k for k in range(count) if not torch.equal(before[k], after[k])]
    assert changed == [2, 3]
    assert not torch.equal(generator(w), generator(w + shift))
    pack = discover(
        generator, num_directions=4, steps=2, batch_size=2, reconstructor="resnet18", rca_samples=4, show_progress=False
    )
    outside = pack.directions[:, : generator.w_dim]
    assert torch.equal(outside, torch.zeros_like(outside))
    with pytest.raises(GeneratorError, match=f"0 <= first < stop <= {count}, the number of layers"):
        StyleGAN3(**SMALL, latent_space="w", layers=(0, count + 1))
