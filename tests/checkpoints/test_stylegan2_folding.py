import argparse
import math

import pytest
import torch
from torch.nn import functional as F

from ganaug.checkpoints import convert_checkpoint, stylegan2_nvidia, stylegan2_rosinality
from ganaug.checkpoints.layout import layouts
from ganaug.errors import GeneratorError

WIDTHS = (12, 8, 6)


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


LAYOUTS = {"rosinality": stylegan2_rosinality, "nvidia": stylegan2_nvidia}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_checkpoint_draws_the_images_of_its_layers_and_its_sizes_are_read_off(layout):
    state, z = rosinality(), torch.randn(4, 8)
    images = as_written(state, z)
    assert images.std() > 0.1 and (images.abs() < 1).float().mean() > 0.2
    if layout == "nvidia":
        state = as_nvidia(state)
    before = {name: tensor.clone() for name, tensor in state.items()}
    assert [read.build for read in layouts() if read.reads(state)] == [LAYOUTS[layout].build]
    generator = LAYOUTS[layout].build(state)
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
    generator = stylegan2_nvidia.build(state)
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
        stylegan2_nvidia.build(state, latent_space="w")


def test_the_mean_of_w_comes_from_the_checkpoint_or_is_estimated():
    state = rosinality()
    estimated = stylegan2_rosinality.build(state, truncation=0.5)
    z = torch.randn(20_000, 8, generator=torch.Generator().manual_seed(9))
    estimated.truncation = 1.0
    torch.testing.assert_close(estimated.w_avg, estimated.map(z).mean(0), atol=0.06, rtol=0)
    stored = stylegan2_rosinality.build({**state, "latent_avg": torch.arange(8.0)[None]})
    assert torch.equal(stored.w_avg, torch.arange(8.0))


@pytest.mark.parametrize("layers", [(0, 1), (1, 2), (2, 5), (3, 4), (5, 6), (0, 6)])
def test_layers_in_the_range_take_one_half_of_the_latent_and_all_others_the_other(layers):
    state = rosinality()
    generator = stylegan2_rosinality.build(state, latent_space="w", layers=layers)
    outside, inside = torch.randn(2, 4, 8)
    ws = [inside if layers[0] <= number < layers[1] else outside for number in range(6)]
    images = as_written(state, torch.zeros(4, 8), ws)
    torch.testing.assert_close(generator(torch.cat([outside, inside], 1)), images, atol=1e-5, rtol=1e-5)


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
        stylegan2_rosinality.build(state, origin="faces.pt")


def test_tensors_that_do_not_fit_are_named_in_nvidias_layout():
    state = as_nvidia(rosinality())
    state["synthesis.b8.skip.weight"] = state.pop("synthesis.b8.torgb.weight")
    with pytest.raises(GeneratorError, match=r"missing synthesis\.b8\.torgb\.weight; unexpected synthesis\.b8\.skip"):
        stylegan2_nvidia.build(state)


def test_nvidias_options_are_heeded_or_refused():
    state = as_nvidia(rosinality())
    options = {"mapping_kwargs": {"num_layers": 2}, "synthesis_kwargs": {"conv_clamp": 256, "num_fp16_res": 4}}
    assert stylegan2_nvidia.build(state, init_kwargs=options).config["clamp"] == 256
    for wrong in ({"mapping_kwargs": {"lr_multiplier": 1.0}}, {"synthesis_kwargs": {"architecture": "resnet"}}):
        with pytest.raises(GeneratorError, match=r"was built with (lr_multiplier=1\.0|architecture='resnet')"):
            stylegan2_nvidia.build(state, init_kwargs=wrong)


def test_convert_knows_the_layout_of_a_training_checkpoint(tmp_path):
    state, average = rosinality(), torch.randn(8)
    content = {"g_ema": state, "latent_avg": average, "args": argparse.Namespace(size=16), "d": {}}
    torch.save(content, tmp_path / "stylegan2.pt")
    generator = convert_checkpoint(tmp_path / "stylegan2.pt")
    assert generator.architecture == "stylegan2" and torch.equal(generator.w_avg, average)
    z = torch.randn(2, 8)
    torch.testing.assert_close(generator(z), stylegan2_rosinality.build({**state, "latent_avg": average})(z))
