import argparse
import math

import pytest
import torch
from torch.nn import functional as F

from ganaug.checkpoints import convert_checkpoint
from ganaug.errors import GeneratorError, PackError
from ganaug.generators import Encoder, StyleGAN2
from ganaug.generators.stylegan2 import looks_like_stylegan2
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


def filters(gain):
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return gain * torch.outer(taps, taps) / 64


def rosinality(widths=WIDTHS, w_dim=8, mapping_layers=2):
    """Random weights in the layout of rosinality's g_ema."""
    torch.manual_seed(1)
    state = {"input.input": torch.randn(1, widths[0], 4, 4)}
    for k in range(1, mapping_layers + 1):
        state[f"style.{k}.weight"], state[f"style.{k}.bias"] = 100 * torch.randn(w_dim, w_dim), torch.randn(w_dim)

    def modulated(name, out, inputs, kernel):
        state[f"{name}.conv.weight"] = torch.randn(1, out, inputs, kernel, kernel)
        state[f"{name}.conv.modulation.weight"] = torch.randn(inputs, w_dim)
        state[f"{name}.conv.modulation.bias"] = 1 + torch.randn(inputs) / 4

    def styled(name, out, inputs, noise, size, up=False):
        modulated(name, out, inputs, 3)
        state[f"{name}.noise.weight"], state[f"{name}.activate.bias"] = torch.rand(1), torch.randn(out)
        state[f"noises.noise_{noise}"] = torch.randn(1, 1, size, size)
        if up:
            state[f"{name}.conv.blur.kernel"] = filters(4)

    def to_rgb(name, inputs):
        modulated(name, 3, inputs, 1)
        state[f"{name}.bias"] = torch.randn(1, 3, 1, 1) / 4

    styled("conv1", widths[0], widths[0], 0, 4)
    to_rgb("to_rgb1", widths[0])
    for k, width in enumerate(widths[1:]):
        styled(f"convs.{2 * k}", width, widths[k], 1 + 2 * k, 8 << k, up=True)
        styled(f"convs.{2 * k + 1}", width, width, 2 + 2 * k, 8 << k)
        to_rgb(f"to_rgbs.{k}", width)
        state[f"to_rgbs.{k}.upsample.kernel"] = filters(4)
    return state


def as_nvidia(state):
    """The same weights in the layout of NVIDIA's G_ema."""
    renamed = {"synthesis.b4.const": state["input.input"][0], "mapping.w_avg": torch.randn(8)}
    for name, tensor in state.items():
        head, _, kind = name.partition(".")
        if head == "style":
            renamed[f"mapping.fc{int(name.split('.')[1]) - 1}.{name.split('.')[2]}"] = tensor
    blocks = {"conv1": "b4.conv1", "to_rgb1": "b4.torgb"}
    for k in range(len(WIDTHS) - 1):
        blocks |= {f"convs.{2 * k + j}": f"b{8 << k}.conv{j}" for j in (0, 1)} | {f"to_rgbs.{k}": f"b{8 << k}.torgb"}
    for number, (theirs, ours) in enumerate((a, b) for a, b in blocks.items() if "rgb" not in a):
        renamed[f"synthesis.{ours}.noise_const"] = state[f"noises.noise_{number}"][0, 0]
        renamed[f"synthesis.{ours}.noise_strength"] = state[f"{theirs}.noise.weight"][0]
        renamed[f"synthesis.{ours}.bias"] = state[f"{theirs}.activate.bias"]
        renamed[f"synthesis.{ours}.resample_filter"] = filters(1)
    for theirs, ours in blocks.items():
        renamed[f"synthesis.{ours}.weight"] = state[f"{theirs}.conv.weight"][0]
        for kind in ("weight", "bias"):
            renamed[f"synthesis.{ours}.affine.{kind}"] = state[f"{theirs}.conv.modulation.{kind}"]
        if "rgb" in theirs:
            renamed[f"synthesis.{ours}.bias"] = state[f"{theirs}.bias"].flatten()
            renamed[f"synthesis.{ours.partition('.')[0]}.resample_filter"] = filters(1)
    return renamed


def as_written(state, z, ws=None):
    """The paper's equations on rosinality's layout, with weights modulated for each image on its own.

    ``ws`` are the w of the layers in NVIDIA's numbering; by default the one that z is mapped to.
    """

    numbers = {"conv1": 0, "to_rgb1": 1}
    numbers |= {f"convs.{k}": k + 1 for k in range(4)} | {f"to_rgbs.{k}": 2 * k + 3 for k in range(2)}

    def modulated(name, x, demodulate, up=False):
        style = (
            ws[numbers[name]] @ (state[f"{name}.conv.modulation.weight"] / math.sqrt(8)).T
            + state[f"{name}.conv.modulation.bias"]
        )
        weight = state[f"{name}.conv.weight"]
        weight = weight * style[:, None, :, None, None] / math.sqrt(weight[0, 0].numel())
        if demodulate:
            weight = weight / (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
        rows = []
        for one, kernel in zip(x, weight, strict=True):
            if up:
                one = F.conv_transpose2d(one[None], kernel.transpose(0, 1), stride=2)
                one = F.conv2d(one.transpose(0, 1), filters(4)[None, None], padding=1).transpose(0, 1)
            else:
                one = F.conv2d(one[None], kernel, padding=kernel.shape[-1] // 2)
            rows.append(one)
        return torch.cat(rows)

    def styled(name, x, noise, up=False):
        x = modulated(name, x, True, up) + state[f"{name}.noise.weight"] * state[f"noises.noise_{noise}"]
        return F.leaky_relu(x + state[f"{name}.activate.bias"][:, None, None], 0.2) * math.sqrt(2)

    w = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for k in (1, 2):
        w = F.linear(w, state[f"style.{k}.weight"] * 0.01 / math.sqrt(8), state[f"style.{k}.bias"] * 0.01)
        w = F.leaky_relu(w, 0.2) * math.sqrt(2)
    ws = [w] * 6 if ws is None else ws
    x = styled("conv1", state["input.input"].expand(len(z), -1, -1, -1), 0)
    image = modulated("to_rgb1", x, False) + state["to_rgb1.bias"]
    for k in range(len(WIDTHS) - 1):
        x = styled(f"convs.{2 * k + 1}", styled(f"convs.{2 * k}", x, 2 * k + 1, up=True), 2 * k + 2)
        zeros = torch.zeros(*image.shape[:2], *(2 * size for size in image.shape[2:]))
        zeros[:, :, ::2, ::2] = image
        image = F.conv2d(F.pad(zeros, (2, 1, 2, 1)).flatten(0, 1)[:, None], filters(4)[None, None])
        image = image.unflatten(0, (len(z), 3))[:, :, 0]
        image = image + modulated(f"to_rgbs.{k}", x, False) + state[f"to_rgbs.{k}.bias"]
    return image.clamp(-1, 1)


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


@pytest.mark.parametrize("layout", ["rosinality", "nvidia"])
def test_a_checkpoint_draws_the_images_of_its_layers_and_its_sizes_are_read_off(layout):
    state, z = rosinality(), torch.randn(4, 8)
    images = as_written(state, z)
    assert images.std() > 0.1 and (images.abs() < 1).float().mean() > 0.2
    if layout == "nvidia":
        state = as_nvidia(state)
    before = {name: tensor.clone() for name, tensor in state.items()}
    assert looks_like_stylegan2(state) and not looks_like_stylegan2({"main.0.weight": z})
    generator = StyleGAN2.from_checkpoint(state)
    torch.testing.assert_close(generator(z), images, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(state[name], tensor) for name, tensor in before.items())
    assert generator.config == {
        "architecture": "stylegan2", "z_dim": 8, "w_dim": 8, "channels": 3, "image_size": 16, "num_classes": 0,
        "widths": list(WIDTHS), "mapping_layers": 2, "clamp": None, "truncation": 1.0, "latent_space": "z",
        "layers": None,
    }  # fmt: skip


def test_classes_of_nvidias_layout_go_in_beside_z():
    state = as_nvidia(rosinality())
    state |= {"mapping.embed.weight": torch.randn(8, 5), "mapping.embed.bias": torch.randn(8)}
    state["mapping.fc0.weight"] = 100 * torch.randn(8, 6 + 8)
    generator = StyleGAN2.from_checkpoint(state)
    assert (generator.num_classes, generator.z_dim) == (5, 6)
    z, labels = torch.randn(3, 6), torch.tensor([0, 4, 2])
    embedded = F.one_hot(labels, 5).float() @ state["mapping.embed.weight"].T / math.sqrt(5)
    embedded = embedded + state["mapping.embed.bias"]
    w = torch.cat([x / x.square().mean(1, keepdim=True).sqrt() for x in (z, embedded)], 1)
    for k in (0, 1):
        weight = state[f"mapping.fc{k}.weight"]
        w = F.linear(w, weight * 0.01 / math.sqrt(weight.shape[1]), state[f"mapping.fc{k}.bias"] * 0.01)
        w = F.leaky_relu(w, 0.2) * math.sqrt(2)
    torch.testing.assert_close(generator.map(z, labels), w, atol=1e-5, rtol=1e-5)
    assert not torch.equal(*generator(z[:1].expand(2, -1), labels[:2]))
    with pytest.raises(GeneratorError, match="has its class in w"):
        StyleGAN2.from_checkpoint(state, latent_space="w")


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


def test_the_mean_of_w_comes_from_the_checkpoint_or_is_estimated():
    state = rosinality()
    estimated = StyleGAN2.from_checkpoint(state, truncation=0.5)
    z = torch.randn(20_000, 8, generator=torch.Generator().manual_seed(9))
    estimated.truncation = 1.0
    torch.testing.assert_close(estimated.w_avg, estimated.map(z).mean(0), atol=0.06, rtol=0)
    stored = StyleGAN2.from_checkpoint({**state, "latent_avg": torch.arange(8.0)[None]})
    assert torch.equal(stored.w_avg, torch.arange(8.0))


@pytest.mark.parametrize("layers", [(0, 1), (1, 2), (2, 5), (3, 4), (5, 6), (0, 6)])
def test_layers_in_the_range_take_one_half_of_the_latent_and_all_others_the_other(layers):
    state = rosinality()
    generator = StyleGAN2.from_checkpoint(state, latent_space="w", layers=layers)
    outside, inside = torch.randn(2, 4, 8)
    ws = [inside if layers[0] <= number < layers[1] else outside for number in range(6)]
    images = as_written(state, torch.zeros(4, 8), ws)
    torch.testing.assert_close(generator(torch.cat([outside, inside], 1)), images, atol=1e-5, rtol=1e-5)


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


def _without(name):
    return lambda state: state.pop(name)


def _with(name, tensor):
    return lambda state: state.update({name: tensor})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("style.1.weight"), r"missing style\.1\.weight"),
        (_without("convs.2.conv.blur.kernel"), r"missing convs\.2\.conv\.blur\.kernel"),
        (_with("extra", torch.ones(1)), "unexpected extra"),
        (_with("conv1.activate.bias", torch.ones(2, 2)), r"conv1\.activate\.bias is \(2, 2\), expected 1 dim"),
        (_with("conv1.activate.bias", torch.ones(5)), r"blocks\.0\.layers\.0\.bias is torch\.float32 \(5,\), expected"),
        (_with("noises.noise_1", torch.ones(1, 1, 4, 4)), r"blocks\.1\.layers\.0\.noise is torch\.float32 \(4, 4\)"),
        (_with("convs.0.conv.blur.kernel", torch.ones(4, 4) / 4), r"\[1, 3, 3, 1\] only"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message):
    state = rosinality()
    change(state)
    with pytest.raises(GeneratorError, match=r"faces\.pt.*" + message):
        StyleGAN2.from_checkpoint(state, origin="faces.pt")


def test_tensors_that_do_not_fit_are_named_in_nvidias_layout():
    state = as_nvidia(rosinality())
    state["synthesis.b8.skip.weight"] = state.pop("synthesis.b8.torgb.weight")
    with pytest.raises(GeneratorError, match=r"missing synthesis\.b8\.torgb\.weight; unexpected synthesis\.b8\.skip"):
        StyleGAN2.from_checkpoint(state)


def test_nvidias_options_are_heeded_or_refused():
    state = as_nvidia(rosinality())
    options = {"mapping_kwargs": {"num_layers": 2}, "synthesis_kwargs": {"conv_clamp": 256, "num_fp16_res": 4}}
    assert StyleGAN2.from_checkpoint(state, init_kwargs=options).config["clamp"] == 256
    for wrong in ({"mapping_kwargs": {"lr_multiplier": 1.0}}, {"synthesis_kwargs": {"architecture": "resnet"}}):
        with pytest.raises(GeneratorError, match=r"was built with (lr_multiplier=1\.0|architecture='resnet')"):
            StyleGAN2.from_checkpoint(state, init_kwargs=wrong)


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


def test_convert_knows_the_layout_of_a_training_checkpoint(tmp_path):
    state, average = rosinality(), torch.randn(8)
    content = {"g_ema": state, "latent_avg": average, "args": argparse.Namespace(size=16), "d": {}}
    torch.save(content, tmp_path / "stylegan2.pt")
    generator = convert_checkpoint(tmp_path / "stylegan2.pt")
    assert generator.architecture == "stylegan2" and torch.equal(generator.w_avg, average)
    z = torch.randn(2, 8)
    torch.testing.assert_close(generator(z), StyleGAN2.from_checkpoint({**state, "latent_avg": average})(z))


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
    shifted = LatentShift(0, pack=pack, p=1.0, magnitude=3.0)(images)
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
