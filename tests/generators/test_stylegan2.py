import pytest
import torch
from torch.nn import functional as F

from ganaug.errors import GeneratorError, PackError
from ganaug.generators import Encoder, StyleGAN2
from ganaug.packs import DirectionPack
from ganaug.training import find_directions
from ganaug.training.methods.contrastive import contrastive
from ganaug.transforms import LatentShift

WIDTHS = (12, 8, 6)


SMALL = {"z_dim": 6, "w_dim": 8, "image_size": 16, "widths": WIDTHS, "mapping_layers": 3}


def stylegan2(**options):
    torch.manual_seed(0)
    generator = StyleGAN2(**{**SMALL, **options})
    generator.w_avg.normal_()
    for block in generator.blocks:
        for layer in block.layers:
            layer.noise.normal_(std=0.2)
    return generator.freeze()


@pytest.mark.parametrize(("widths", "size"), [(WIDTHS, 16), ((8,), 4), ((8, 8, 6, 4), 32)])
@pytest.mark.parametrize("options", [{}, {"channels": 1, "num_classes": 3}, {"latent_space": "w", "clamp": 256}])
def test_stylegan2_draws_images_of_its_size(widths, size, options):
    generator = stylegan2(widths=widths, image_size=size, **options)
    assert generator.latent_dim == (8 if generator.latent_space == "w" else 6)
    images = generator(generator.sample_latents(3), generator.sample_labels(3))
    assert images.shape == (3, generator.channels, size, size)
    assert images.abs().max() <= 1 and images.std() > 0


def test_stylegan2_of_the_paper_has_the_papers_size():
    with torch.device("meta"):
        generator = StyleGAN2()
    noise_strengths = 17  # one number each, which the noise has taken in here
    assert sum(p.numel() for p in generator.parameters()) == 30_370_060 - noise_strengths


def test_an_image_of_w_is_that_of_the_z_it_comes_from():
    in_z = stylegan2(truncation=0.7)
    in_w = StyleGAN2(**{**SMALL, "truncation": 0.7, "latent_space": "w"}).freeze()
    in_w.load_state_dict(in_z.state_dict())
    rngs = [torch.Generator().manual_seed(3) for _ in range(2)]
    z, w = in_z.sample_latents(4, rng=rngs[0]), in_w.sample_latents(4, rng=rngs[1])
    assert (z.shape, w.shape) == ((4, 6), (4, 8))
    assert torch.equal(in_z.map(z), w) and torch.equal(in_w(w), in_z(z))


def test_truncation_pulls_towards_the_mean():
    generator, z = stylegan2(), torch.randn(4, 6)
    whole = generator.map(z) - generator.w_avg
    for psi in (0.5, 0.0):
        generator.truncation = psi
        torch.testing.assert_close(generator.map(z) - generator.w_avg, psi * whole)
    images = generator(z)
    torch.testing.assert_close(images, images[:1].expand(4, -1, -1, -1))


def test_latents_for_a_range_of_layers_are_drawn_as_one_w():
    whole, part = (
        stylegan2(latent_space="w", truncation=0.7),
        stylegan2(latent_space="w", truncation=0.7, layers=(2, 4)),
    )
    rngs = [torch.Generator().manual_seed(3) for _ in range(2)]
    w, twice = whole.sample_latents(4, rng=rngs[0]), part.sample_latents(4, rng=rngs[1])
    assert torch.equal(twice, torch.cat([w, w], 1)) and torch.equal(part(twice), whole(w))


@pytest.mark.parametrize("method", ["sefa", "ganspace", "contrastive", "random", "coordinate"])
def test_every_method_finds_directions_in_a_range_of_layers(method):
    generator = stylegan2(latent_space="w", layers=(3, 5))
    quick = {"ganspace": {"samples": 200}, "contrastive": {"steps": 2}}
    settings = {"num_directions": 4, **quick.get(method, {})}
    pack = find_directions(generator, method, device="cpu", show_progress=False, **settings)
    assert pack.directions.shape == (4, 16) and pack.directions[:, :8].count_nonzero() == 0
    torch.testing.assert_close(pack.directions.norm(dim=1), torch.ones(4))


def test_contrastive_directions_of_fine_layers_are_told_apart_behind_them():
    generator = stylegan2(latent_space="w", layers=(4, 6))
    steps = {"learning_rate": 0.1, "show_progress": False, "device": "cpu"}
    short, long = (contrastive(generator, 4, steps=count, **steps) for count in (1, 20))
    assert (short - long).norm(dim=1).min() > 0.1
    with pytest.raises(GeneratorError, match=r"does not depend on what directions may change\. Name a later"):
        contrastive(generator, 4, layer="blocks.0.layers.0", **steps)


@pytest.mark.parametrize(
    "options",
    [
        {"latent_space": "w", "truncation": 0.5},
        {"latent_space": "w", "layers": (2, 5)},
        {"num_classes": 3, "clamp": 2.0},
    ],
)
def test_a_saved_stylegan2_draws_the_very_same_images(tmp_path, options):
    generator = stylegan2(**options)
    latents, labels = generator.sample_latents(2), generator.sample_labels(2)
    generator.save_pretrained(tmp_path / "g")
    again = StyleGAN2.from_pretrained(tmp_path / "g")
    torch.testing.assert_close(again(latents, labels), generator(latents, labels))
    assert again.weights_sha256() == generator.weights_sha256()
    assert again.layers == generator.layers
    written = {name: list(value) if isinstance(value, tuple) else value for name, value in generator.config.items()}
    assert again.config == written


def test_bfloat16_draws_nearly_the_same_images():
    generator = stylegan2()
    latents = generator.sample_latents(4)
    with torch.autocast("cpu", torch.bfloat16):
        images = generator(latents)
    assert (images.float() - generator(latents)).abs().mean() < 0.02


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 12}, "power of two"),
        ({"widths": (8,)}, "3 positive integers for 16 pixels"),
        ({"latent_space": "s"}, 'latent_space should be "z" or "w"'),
        ({"latent_space": "w", "num_classes": 2}, "class in w"),
        ({"layers": (0, 2)}, 'for directions in w: add latent_space="w"'),
        ({"latent_space": "w", "layers": (2, 2)}, r"0 <= first < stop <= 6, the number of layers; got \(2, 2\)"),
        ({"latent_space": "w", "layers": (0, 7)}, r"stop <= 6, .* got \(0, 7\)"),
        ({"latent_space": "w", "layers": (1, 2, 3)}, r"two integers .* got \(1, 2, 3\)"),
        ({"latent_space": "w", "layers": 3}, "two integers .* got 3"),
        ({"truncation": -1}, "truncation should be"),
        ({"clamp": 0}, "clamp should be"),
        ({"w_dim": 0}, "w_dim should be"),
    ],
)
def test_impossible_arguments_are_named(options, message):
    with pytest.raises(GeneratorError, match=message):
        StyleGAN2(**{**SMALL, **options})


def test_a_pack_of_directions_in_w_says_so(tmp_path):
    generator = stylegan2(latent_space="w")
    pack = DirectionPack(torch.eye(8)[:3], generator=generator)
    loaded = DirectionPack.from_pretrained(pack.save_pretrained(tmp_path / "pack"))
    assert '"latent_space": "w"' in (tmp_path / "pack" / "config.json").read_text()
    w = generator.sample_latents(2)
    torch.testing.assert_close(loaded.generator(w), generator(w))


def test_a_pack_of_directions_in_fine_layers_leaves_coarse_ones_as_they_are(tmp_path):
    generator = stylegan2(latent_space="w", layers=(3, 6))
    torch.manual_seed(0)
    encoder = Encoder(latent_dim=16, image_size=16, channels=3, width=4, hidden=8)
    direction = F.pad(F.normalize(torch.randn(1, 8)), (8, 0))
    saved = DirectionPack(direction, generator=generator, encoder=encoder).save_pretrained(tmp_path / "pack")
    pack = DirectionPack.from_pretrained(saved)
    assert pack.generator.layers == range(3, 6) and '"latent_space": "w"' in (saved / "config.json").read_text()

    changes = {}
    for name, module in pack.generator.named_modules():
        if name.endswith((".affine", "layers.0", "layers.1")):

            def note(module, args, output, name=name):
                before, after = output.chunk(2)
                changes[name] = (after - before).abs().max().item()

            module.register_forward_hook(note)
    images = torch.rand(2, 3, 16, 16)
    shifted = LatentShift(0, pack=pack, p=1.0, magnitude=3.0, dtype="float32")(images)
    assert (shifted - images).abs().max() > 0.01
    coarse = ("blocks.0.layers.0", "blocks.0.to_rgb", "blocks.1.layers.0", "blocks.1.layers.1")
    assert {name for name, change in changes.items() if change == 0} == {
        name for name in changes if name.startswith(coarse)
    }


def test_a_pack_refuses_its_generator_with_other_layers(tmp_path):
    pack = DirectionPack(torch.eye(16)[8:], generator=stylegan2(latent_space="w", layers=(3, 6)))
    saved = pack.save_pretrained(tmp_path / "pack")
    same = DirectionPack.from_pretrained(saved, generator=stylegan2(latent_space="w", layers=[3, 6]))
    assert same.generator.layers == range(3, 6)
    with pytest.raises(PackError, match=r"layers=\(0, 3\) where the pack says \[3, 6\]"):
        DirectionPack.from_pretrained(saved, generator=stylegan2(latent_space="w", layers=(0, 3)))
