import math
import pickle
import sys
import types

import numpy as np
import pytest
import scipy.signal
import scipy.special
import torch
from torch.nn import functional as F

from ganaug.checkpoints import convert_checkpoint
from ganaug.checkpoints.layout import layouts
from ganaug.checkpoints.stylegan3_nvidia import build
from ganaug.errors import GeneratorError

SMALL = {
    "z_dim": 4,
    "w_dim": 5,
    "image_size": 32,
    "channel_base": 128,
    "channel_max": 6,
    "num_layers": 4,
    "margin_size": 2,
}


# Of SMALL, worked out from the paper: feature maps, pixels, sampling rate, cutoff, half-width of the transition band.
CRITICAL = (32, 16, 16 * 2**0.3 - 16)


SIGNALS = ((6, 20, 16, 2, 6), (6, 36, 32, 32**0.5, 16 - 32**0.5), (4, 36, *CRITICAL), (4, 32, *CRITICAL))


LAYERS = [f"synthesis.L{k}_{size}_{width}" for k, (width, size, *_) in enumerate(SIGNALS)]


TO_RGB = "synthesis.L4_32_3"


def firwin(taps, rate, cutoff, half_width):
    return torch.from_numpy(scipy.signal.firwin(taps, cutoff, width=2 * half_width, fs=rate)).float()


def jinc(taps, rate, cutoff, half_width):
    x = (np.arange(taps) - (taps - 1) / 2) / rate
    r = np.hypot(x, x[:, None])
    window = np.kaiser(taps, scipy.signal.kaiser_beta(scipy.signal.kaiser_atten(taps, 4 * half_width / rate)))
    taken = scipy.special.j1(2 * np.pi * cutoff * r) / r * np.outer(window, window)
    return torch.from_numpy(taken / taken.sum()).float()


def nvidia(*, radial=False, kernel=3, classes=0):
    """Random weights in the layout of NVIDIA's G_ema."""
    torch.manual_seed(1)
    state = {"mapping.w_avg": torch.randn(5)}
    if classes:
        state |= {"mapping.embed.weight": torch.randn(5, classes), "mapping.embed.bias": torch.randn(5)}
    for k, inputs in enumerate((4 + 5 * (classes > 0), 5)):
        state |= {f"mapping.fc{k}.weight": 100 * torch.randn(5, inputs), f"mapping.fc{k}.bias": 30 * torch.randn(5)}
    state |= {
        "synthesis.input.weight": torch.randn(6, 6),
        "synthesis.input.affine.weight": torch.randn(4, 5) / 4,
        "synthesis.input.affine.bias": torch.tensor([1.0, 0.2, 0.1, -0.1]),
        "synthesis.input.freqs": torch.randn(6, 2),
        "synthesis.input.phases": torch.rand(6) - 0.5,
        "synthesis.input.transform": torch.eye(3),
    }
    inputs = SIGNALS[0]
    for name, signal in zip([*LAYERS, TO_RGB], [*SIGNALS, (3, 32, *CRITICAL)], strict=True):
        size = 1 if name == TO_RGB else kernel
        state |= {
            f"{name}.weight": torch.randn(signal[0], inputs[0], size, size),
            f"{name}.bias": torch.randn(signal[0]) / 4,
            f"{name}.affine.weight": torch.randn(inputs[0], 5),
            f"{name}.affine.bias": 1 + torch.randn(inputs[0]) / 4,
            f"{name}.magnitude_ema": 0.5 + torch.rand(()),
        }
        if name != TO_RGB:
            rate = 2 * signal[2]
            taps = 6 * rate // inputs[2]
            state[f"{name}.up_filter"] = firwin(taps, rate, *inputs[3:])
            state[f"{name}.down_filter"] = (jinc if radial and signal[3] < 16 else firwin)(12, rate, *signal[3:])
        inputs = signal
    return state


def modulated(state, name, x, w, demodulate):
    """A convolution of weights that are modulated for each image on its own."""
    style = w @ state[f"{name}.affine.weight"].T / math.sqrt(5) + state[f"{name}.affine.bias"]
    weight = state[f"{name}.weight"]
    if demodulate:
        weight = weight / weight.square().mean((1, 2, 3), keepdim=True).sqrt()
        style = style / style.square().mean().sqrt()
    else:
        style = style / math.sqrt(weight[0].numel())
    weight = weight * style[:, None, :, None, None]
    if demodulate:
        weight = weight / (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    weight = weight / state[f"{name}.magnitude_ema"].sqrt()
    padding = weight.shape[-1] - 1
    rows = [F.conv2d(one[None], kernel, padding=padding) for one, kernel in zip(x, weight, strict=True)]
    return torch.cat(rows) + state[f"{name}.bias"][:, None, None]


def resampled(x, taps, up, down, size):
    """Each new sample is the sum of the old ones around it, zeros between them; both signals share their centre."""
    old, between = up * (torch.arange(x.shape[-1]) - (x.shape[-1] - 1) / 2), (taps.shape[-1] - 1) / 2
    new = down * (torch.arange(size) - (size - 1) / 2)
    tap = new[:, None] - old + between
    assert torch.equal(tap, tap.round())
    tap = tap.long()
    inside = (tap >= 0) & (tap < taps.shape[-1])
    if taps.ndim == 1:
        matrix = up * torch.where(inside, taps[tap.clamp(0, len(taps) - 1)], 0)
        return matrix @ x @ matrix.T
    windows = F.unfold(x.flatten(0, 1)[:, None], taps.shape, stride=down)
    return (taps.flatten() @ windows).reshape(*x.shape[:2], size, size)


def as_published(state, z, labels=None, *, w=None, psi=1.0, clamp=256, scale=0.25, learning_rate=0.01):
    """The paper's equations on NVIDIA's layout."""
    if w is None:
        w = z / z.square().mean(1, keepdim=True).sqrt()
        if labels is not None:
            embedded = (
                F.one_hot(labels, state["mapping.embed.weight"].shape[1]).float() @ state["mapping.embed.weight"].T
            )
            embedded = embedded / math.sqrt(state["mapping.embed.weight"].shape[1]) + state["mapping.embed.bias"]
            w = torch.cat([w, embedded / embedded.square().mean(1, keepdim=True).sqrt()], 1)
        for k in (0, 1):
            weight, bias = state[f"mapping.fc{k}.weight"], state[f"mapping.fc{k}.bias"]
            w = F.linear(w, weight * learning_rate / math.sqrt(weight.shape[1]), bias * learning_rate)
            w = F.leaky_relu(w, 0.2) * math.sqrt(2)
        w = state["mapping.w_avg"] + psi * (w - state["mapping.w_avg"])

    t = w @ state["synthesis.input.affine.weight"].T / math.sqrt(5) + state["synthesis.input.affine.bias"]
    t = t / t[:, :2].norm(dim=1, keepdim=True)
    grid = (torch.arange(20) - 9.5) / 16
    place = torch.stack([grid.expand(20, 20), grid[:, None].expand(20, 20), torch.ones(20, 20)])
    images = []
    for cosine, sine, right, down in t.tolist():
        rotation = torch.tensor([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        translation = torch.tensor([[1, 0, -right], [0, 1, -down], [0, 0, 1]])
        transform = rotation @ translation @ state["synthesis.input.transform"]
        x, y, _ = torch.einsum("ij,jhw->ihw", transform, place)
        freqs, phases = state["synthesis.input.freqs"], state["synthesis.input.phases"]
        waves = torch.sin(2 * math.pi * (freqs[:, :1, None] * x + freqs[:, 1:, None] * y + phases[:, None, None]))
        length = (freqs @ transform[:2, :2]).norm(dim=1)
        waves = waves * (1 - (length - 2) / (8 - 2)).clamp(0, 1)[:, None, None]
        images.append(torch.einsum("oi,ihw->ohw", state["synthesis.input.weight"] / math.sqrt(6), waves))
    x = torch.stack(images)

    before = SIGNALS[0]
    for name, after in zip(LAYERS, SIGNALS, strict=True):
        x = modulated(state, name, x, w, True)
        up_taps, down_taps = state[f"{name}.up_filter"], state[f"{name}.down_filter"]
        between = 2 * after[1] + down_taps.shape[-1] - 2
        x = resampled(x, up_taps, 2 * after[2] // before[2], 1, between)
        x = (F.leaky_relu(x, 0.2) * math.sqrt(2)).clamp(-clamp, clamp)
        x = resampled(x, down_taps, 1, 2, after[1])
        before = after
    return (modulated(state, TO_RGB, x, w, False).clamp(-clamp, clamp) * scale).clamp(-1, 1)


@pytest.mark.parametrize("given", [{}, {"radial": True, "kernel": 1}])
@pytest.mark.parametrize("told", [True, False])
def test_a_checkpoint_draws_the_images_of_its_layers_and_its_sizes_are_read_off(given, told):
    state, z = nvidia(**given), torch.randn(4, 4)
    images = as_published(state, z)
    assert images.std() > 0.1 and (images.abs() < 1).float().mean() > 0.2
    before = {name: tensor.clone() for name, tensor in state.items()}
    assert [layout.title for layout in layouts() if layout.reads(state)] == ["StyleGAN3 (NVlabs/stylegan3)"]
    options = {"z_dim": 4, "channel_base": 128, "channel_max": 6, "margin_size": 2, "num_fp16_res": 4}
    generator = build(state, init_kwargs=options if told else {"margin_size": 2})
    torch.testing.assert_close(generator(z), images, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(state[name], tensor) for name, tensor in before.items())
    assert generator.config == {
        "architecture": "stylegan3", **SMALL, "channels": 3, "num_classes": 0, "num_critical": 2, "first_cutoff": 2,
        "first_stopband": 2**2.1, "last_stopband_rel": 2**0.3, "output_scale": 0.25, "mapping_layers": 2,
        "layers": None, "conv_kernel": given.get("kernel", 3), "use_radial_filters": bool(given), "filter_size": 6,
        "lrelu_upsampling": 2, "conv_clamp": 256, "truncation": 1.0, "latent_space": "z",
    }  # fmt: skip


def test_options_classes_and_truncation_are_heeded():
    state, z, labels = nvidia(classes=3), torch.randn(4, 4), torch.tensor([0, 2, 1, 2])
    options = {"margin_size": 2, "conv_clamp": 0.7, "output_scale": 0.5}
    options["mapping_kwargs"] = {"num_layers": 2, "lr_multiplier": 0.02}
    generator = build(state, init_kwargs=options, truncation=0.6)
    images = as_published(state, z, labels, psi=0.6, clamp=0.7, scale=0.5, learning_rate=0.02)
    torch.testing.assert_close(generator(z, labels), images, atol=3e-5, rtol=1e-5)
    with pytest.raises(GeneratorError, match="has its class in w"):
        build(state, init_kwargs=options, latent_space="w")


def test_the_transform_of_a_checkpoint_is_kept():
    state, z = nvidia(), torch.randn(4, 4)
    state["synthesis.input.transform"] = torch.tensor([[3.0, 0.5, 0.1], [-0.5, 2.0, -0.2], [0.0, 0.0, 1.0]])
    generator = build(state, init_kwargs={"margin_size": 2})
    torch.testing.assert_close(generator(z), as_published(state, z), atol=1e-5, rtol=1e-5)


def test_a_checkpoint_in_w_draws_the_image_of_each_w():
    state, w = nvidia(), torch.randn(3, 5)
    generator = build(state, init_kwargs={"margin_size": 2}, latent_space="w")
    torch.testing.assert_close(generator(w), as_published(state, None, w=w), atol=1e-5, rtol=1e-5)


def _without(*names):
    return lambda state: [state.pop(name) for name in names]


def _with(name, tensor):
    return lambda state: state.update({name: tensor})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("mapping.fc1.bias"), r"missing mapping\.fc1\.bias"),
        (_without("synthesis.input.freqs"), r"missing synthesis\.input\.freqs"),
        (_without(f"{LAYERS[1]}.magnitude_ema"), r"missing synthesis\.L1_36_6\.magnitude_ema"),
        (lambda state: [state.pop(name) for name in [*state] if LAYERS[1] in name], r"missing synthesis\.L1_\?_\?\."),
        (lambda state: [state.pop(name) for name in [*state] if ".L" in name], r"missing synthesis\.L0_\?_\?\."),
        (_with("extra", torch.ones(1)), "unexpected extra"),
        (_with(f"{TO_RGB}.up_filter", torch.ones(12)), r"unexpected synthesis\.L4_32_3\.up_filter"),
        (_with("synthesis.L1_20_6.weight", torch.ones(1)), r"missing synthesis\.L1_.*unexpected synthesis\.L1_"),
        (_with("synthesis.L999999999_20_6.weight", torch.ones(1)), "missing"),
        (_with(f"{LAYERS[0]}.bias", torch.ones(2, 2)), r"L0_20_6\.bias is \(2, 2\), expected 1 dim"),
        (_with(f"{LAYERS[2]}.weight", torch.ones(5, 6, 3, 3)), r"blocks\.2\.weight is torch\.float32 \(5, 6, 3, 3\)"),
        (_with("synthesis.input.phases", torch.ones(7)), r"fourier\.phases is torch\.float32 \(7,\), expected"),
        (_with(f"{LAYERS[1]}.up_filter", torch.ones(24) / 24), "the up_filter of layer 1 is not the one"),
        (_with(f"{LAYERS[3]}.down_filter", torch.ones(10) / 10), "the down_filter of layer 3 is not the one"),
        (_with(f"{LAYERS[0]}.up_filter", torch.full((12,), math.nan)), "the up_filter of layer 0 is not the one"),
        (_without(f"{LAYERS[0]}.down_filter"), "the down_filter of layer 0 is not the one"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message):
    state = nvidia()
    change(state)
    with pytest.raises(GeneratorError, match=r"faces\.pkl.*" + message):
        build(state, init_kwargs={"margin_size": 2}, origin="faces.pkl")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"other layers .*L0_36_6 for synthesis\.L0_20_6.* Pass as init_kwargs what"),
        ({"margin_size": 2, "first_cutoff": 3}, "up_filter of layer 0 .* Pass as init_kwargs what it was built with"),
        ({"margin_size": 2, "use_noise": True}, "was built with use_noise=True, which StyleGAN3 here does not know"),
        ({"margin_size": 2, "mapping_kwargs": {"activation": "relu"}}, "was built with activation='relu'"),
    ],
)
def test_options_that_give_another_network_are_refused(options, message):
    with pytest.raises(GeneratorError, match=message):
        build(nvidia(), init_kwargs=options)


class Pickled:
    """A network as NVIDIA's code pickles it, of the tensors whose names begin alike."""

    def __init__(self, state, **init_kwargs):
        inner = {name.partition(".")[0] for name in state if "." in name}
        self.state = {
            "_parameters": {name: tensor for name, tensor in state.items() if "." not in name},
            "_buffers": {},
            "_modules": {
                head: Pickled({name[len(head) + 1 :]: state[name] for name in state if name.startswith(f"{head}.")})
                for head in sorted(inner)
            },
            "_init_kwargs": init_kwargs,
        }

    def __reduce__(self):
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (
            {"class_name": "Generator", "module_src": "raise SystemExit", "state": self.state},
        )


def test_convert_tells_nvidias_networks_apart(tmp_path, monkeypatch):
    def _reconstruct_persistent_obj(meta):
        raise AssertionError("the file's own code was run")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    module = types.ModuleType("torch_utils.persistence")
    module._reconstruct_persistent_obj = _reconstruct_persistent_obj
    monkeypatch.setitem(sys.modules, "torch_utils", types.ModuleType("torch_utils"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    state, path = nvidia(), tmp_path / "faces.pkl"
    path.write_bytes(pickle.dumps({"G": None, "G_ema": Pickled(state, margin_size=2, magnitude_ema_beta=0.999)}))
    generator, z = convert_checkpoint(path), torch.randn(2, 4)
    assert generator.architecture == "stylegan3"
    torch.testing.assert_close(generator(z), as_published(state, z), atol=1e-5, rtol=1e-5)
    torch.save(state, tmp_path / "faces.pt")
    with pytest.raises(GeneratorError, match="Pass as init_kwargs what the network was built with"):
        convert_checkpoint(tmp_path / "faces.pt")  # of no default margin, and a state dict does not say so
    in_w = convert_checkpoint(path, latent_space="w", layers=(2, 4))
    torch.testing.assert_close(in_w(generator.map(z).repeat(1, 2)), generator(z))
    with pytest.raises(GeneratorError, match="stylegan3 has no option clamp for conversion; it has latent"):
        convert_checkpoint(path, clamp=1.0)
