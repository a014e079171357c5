import pytest
import torch
from biggans import biggan, deep
from pytorch_pretrained_biggan import BigGAN as PublishedBigGANDeep
from pytorch_pretrained_biggan import BigGANConfig

from ganaug.errors import GeneratorError
from ganaug.generators import BigGAN, BigGANDeep, Generator
from ganaug.packs import DirectionPack
from ganaug.transforms import LatentShift


def test_generators_of_published_sizes():
    """The count that BigGAN-PyTorch prints; the package's, but for the 125 channels of its images that nobody sees."""
    with torch.device("meta"):
        networks = BigGAN(), BigGANDeep(), PublishedBigGANDeep(BigGANConfig())
    plain, deep_ours, deep_published = (sum(p.numel() for p in network.parameters()) for network in networks)
    assert plain == 70_433_988
    assert deep_ours == deep_published - 125 * (9 * 128 + 1)


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


def test_latentshift_draws_the_truncated_latents_of_the_generator():
    generator = biggan(truncation=0.3)
    pack = DirectionPack(torch.eye(16)[:2], generator=generator)
    shift = LatentShift(0, pack=pack, p=1.0, magnitude=0, source="sample", return_params=True)
    _, params = shift(torch.rand(50, 3, 32, 32), torch.arange(50) % 5)
    assert 0.3 < params["latents"].abs().max() <= 0.6
