"""StyleGAN3's generator (Karras et al., "Alias-Free Generative Adversarial Networks", NeurIPS 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ganaug.devices import autocast
from ganaug.errors import GeneratorError
from ganaug.generators.checks import check_integers
from ganaug.generators.style import STRONGEST, ModulatedConv2d, StyleGenerator, ToRGB, check_clamp, linear

MOST_LAYERS, WIDEST_MARGIN, MOST_UPSAMPLING = 1000, 100, 16
"""No weight says these, and memory grows with each; the paper has 14, 10 and 2."""


class Signal(NamedTuple):
    """What a layer puts out, and how it is sampled (section 3.2).

    Attributes:
        width: feature maps.
        size: height and width in pixels, margins included.
        rate: sampling rate s, in pixels per image.
        cutoff: cutoff frequency f_c, in cycles per image.
        half_width: half-width f_h of the transition band beyond it, in the same unit.
        critical: whether all frequencies below half the sampling rate are kept, aliasing or not.
    """

    width: int
    size: int
    rate: int
    cutoff: float
    half_width: float
    critical: bool


def layer_signals(
    *,
    image_size: int,
    channels: int,
    channel_base: int,
    channel_max: int,
    num_layers: int,
    num_critical: int,
    first_cutoff: float,
    first_stopband: float,
    last_stopband_rel: float,
    margin_size: int,
) -> list[Signal]:
    """The signals after each layer and after toRGB: cutoffs and stopbands grow geometrically (section 3.2).

    Arguments as of :class:`StyleGAN3`.

    Raises:
        GeneratorError: an argument out of its range.
    """
    if not isinstance(image_size, int) or image_size < 8 or image_size & (image_size - 1):
        raise GeneratorError(f"image_size should be a power of two of at least 8, got {image_size!r}.")
    check_integers(
        ("num_layers", num_layers, 2),
        ("num_critical", num_critical, 1),
        ("channel_base", channel_base, image_size),
        ("channel_max", channel_max, 1),
        ("margin_size", margin_size, 0),
    )
    for name, value, most in (("num_layers", num_layers, MOST_LAYERS), ("margin_size", margin_size, WIDEST_MARGIN)):
        if value > most:
            raise GeneratorError(f"{name} should be at most {most}, got {value!r:.40}.")
    if num_critical >= num_layers:
        raise GeneratorError(f"num_critical should be less than num_layers, {num_layers}; got {num_critical}.")
    _check_number("first_cutoff", first_cutoff, 1, image_size / 2)
    _check_number("first_stopband", first_stopband, first_cutoff, image_size)
    _check_number("last_stopband_rel", last_stopband_rel, 1, math.inf)
    last_cutoff = image_size / 2
    signals = []
    for k in range(num_layers + 1):
        progress = min(k / (num_layers - num_critical), 1)
        cutoff = first_cutoff * (last_cutoff / first_cutoff) ** progress
        stopband = first_stopband * (last_cutoff * last_stopband_rel / first_stopband) ** progress
        rate = 2 ** math.ceil(math.log2(min(2 * stopband, image_size)))
        signals.append(
            Signal(
                width=channels if k == num_layers else round(min(channel_base / 2 / cutoff, channel_max)),
                size=image_size if k >= num_layers - 1 else rate + 2 * margin_size,
                rate=rate,
                cutoff=cutoff,
                half_width=max(stopband, rate / 2) - cutoff,
                critical=k >= num_layers - num_critical,
            )
        )
    return signals


def _check_number(name: str, number: Any, low: float, high: float) -> None:
    if not isinstance(number, (int, float)) or not low <= number < high:
        raise GeneratorError(f"{name} should be a number of at least {low} and below {high}, got {number!r}.")


def low_pass(taps: int, signal: Signal, rate: int, *, radial: bool) -> Tensor:
    """A filter at a sampling rate that keeps what a signal may hold: a windowed sinc, or radially a windowed jinc.

    The Kaiser window's shape follows from the number of taps and the width of the transition band (appendix C.1).

    Returns:
        ``(taps,)``, for each axis in turn, or ``(taps, taps)`` for a radial one; float32, the sum is one.
    """
    attenuation = 2.285 * math.pi * (taps - 1) * 4 * signal.half_width / rate + 7.95
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    else:
        beta = 0.5842 * max(attenuation - 21, 0) ** 0.4 + 0.07886 * max(attenuation - 21, 0)
    window = torch.kaiser_window(taps, periodic=False, beta=beta, dtype=torch.float64)
    place = (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) / rate
    if radial and taps > 1:
        radius = torch.hypot(place, place[:, None])
        kernel = torch.special.bessel_j1(2 * math.pi * signal.cutoff * radius) / radius * torch.outer(window, window)
    else:
        kernel = torch.sinc(2 * signal.cutoff * place) * window
    return torch.div(kernel, kernel.sum()).float()


class FourierFeatures(nn.Module):
    """The input: waves of fixed frequencies, turned and shifted as w says, and mixed (sections 3.1 and 3.2)."""

    freqs: Tensor
    phases: Tensor
    transform: Tensor

    def __init__(self, signal: Signal, w_dim: int) -> None:
        super().__init__()
        self.signal = signal
        freqs = torch.randn(signal.width, 2)
        radii = freqs.norm(dim=1, keepdim=True)
        self.register_buffer("freqs", freqs / radii * (-(radii**2) / 4).exp() * signal.cutoff)  # within the cutoff
        self.register_buffer("phases", torch.rand(signal.width) - 0.5)
        self.register_buffer("transform", torch.eye(3))
        self.affine = linear(w_dim, 4, gain=0)  # cosine and sine of the rotation, of any length, and translation
        with torch.no_grad():
            self.affine.bias[0] = 1
        self.weight = nn.Parameter(torch.randn(signal.width, signal.width) / math.sqrt(signal.width))

    def forward(self, w: Tensor) -> Tensor:
        with autocast(w.device, "float32"):  # a phase of several turns has no digits to spare
            return self._waves(w.float())

    def _waves(self, w: Tensor) -> Tensor:
        motion = self.affine(w)
        cosine, sine, *shift = (motion / motion[:, :2].norm(dim=1, keepdim=True)).unbind(1)
        rotation = torch.stack([cosine, -sine, sine, cosine], dim=1).unflatten(1, (2, 2))
        turn = rotation @ self.transform[:2, :2]
        offset = rotation @ (self.transform[:2, 2] - torch.stack(shift, dim=1))[:, :, None]
        bandwidth, size = self.signal.cutoff, self.signal.size
        # Beyond the cutoff only if the transform shrinks the image.
        damped = (self.freqs @ turn).norm(dim=2) - bandwidth
        amplitudes = (1 - damped / (self.signal.rate / 2 - bandwidth)).clamp(0, 1)
        place = (torch.arange(size, device=w.device, dtype=torch.float32) - (size - 1) / 2) / self.signal.rate
        y, x = torch.meshgrid(place, place, indexing="ij")
        places = turn @ torch.stack([x, y]).flatten(1) + offset
        cycles = places.transpose(1, 2) @ self.freqs.T + self.phases
        waves = torch.sin(2 * math.pi * cycles) * amplitudes[:, None, :]
        features: Tensor = F.linear(waves, self.weight).transpose(1, 2).unflatten(2, (size, size))
        return features


class AliasFreeLayer(ModulatedConv2d):
    """Modulation, convolution, demodulation, and a leaky ReLU between upsampling and downsampling (figure 4b).

    The gain of the leaky ReLU, the square root of two, is taken before it: in the bias, and in ``gain``, which scales
    demodulated features and also makes up for the input's average magnitude in training.
    """

    gain: Tensor
    up_filter: Tensor
    down_filter: Tensor

    def __init__(
        self,
        before: Signal,
        after: Signal,
        w_dim: int,
        kernel: int,
        filter_size: int,
        upsampling: int,
        clamp: float | None,
        *,
        radial: bool,
    ) -> None:
        super().__init__(before.width, after.width, kernel, w_dim)
        self.before, self.after = before, after
        self.kernel, self.filter_size, self.clamp = kernel, filter_size, clamp
        self.radial = radial and not after.critical
        self.rate = max(before.rate, after.rate) * upsampling
        self.up, self.down = self.rate // before.rate, self.rate // after.rate
        self.register_buffer("gain", torch.tensor(math.sqrt(2)))
        up_filter, down_filter = self.designed_filters()
        self.register_buffer("up_filter", up_filter)
        self.register_buffer("down_filter", down_filter)
        # Both signals have their centres in one place, and what the filters see outside of the input is not kept.
        filtered = (after.size - 1) * self.down + down_filter.shape[-1]
        self.crop = ((before.size + kernel - 2) * self.up + up_filter.shape[0] - filtered) // 2

    def designed_filters(self) -> tuple[Tensor, Tensor]:
        """Before the leaky ReLU, of a sum that makes up for the zeros between pixels, and after it."""
        taps = [self.filter_size * factor if factor > 1 else 1 for factor in (self.up, self.down)]
        return (
            self.up * low_pass(taps[0], self.before, self.rate, radial=False),
            low_pass(taps[1], self.after, self.rate, radial=self.radial),
        )

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w)
        squares = F.linear(style.square(), self.weight.square().sum((2, 3)))
        demodulation = self.gain * (squares + 1e-20).rsqrt()  # the original's 1e-8 is added after scaling to about one
        x = F.conv2d(x * style[:, :, None, None], self.weight, padding=self.kernel - 1)
        x = torch.addcmul(self.bias[:, None, None].to(x.dtype), x, demodulation[:, :, None, None].to(x.dtype))
        width, up, down, crop = self.after.width, self.up, self.down, self.crop
        taps = self.up_filter.expand(width, 1, 1, -1)
        x = F.conv_transpose2d(x, taps, stride=(1, up), padding=(0, crop), groups=width)
        x = F.conv_transpose2d(x, taps.transpose(2, 3), stride=(up, 1), padding=(crop, 0), groups=width)
        x = F.leaky_relu(x, 0.2, inplace=True)
        if self.clamp is not None:
            x = x.clamp(-self.clamp, self.clamp)
        if self.down_filter.ndim == 2:
            return F.conv2d(x, self.down_filter.expand(width, 1, -1, -1), stride=down, groups=width)
        taps = self.down_filter.expand(width, 1, 1, -1)
        x = F.conv2d(x, taps, stride=(1, down), groups=width)
        return F.conv2d(x, taps.transpose(2, 3), stride=(down, 1), groups=width)


def _check_layers(
    conv_kernel: Any, filter_size: Any, lrelu_upsampling: Any, conv_clamp: Any, output_scale: Any
) -> None:
    check_integers(
        ("conv_kernel", conv_kernel, 1), ("filter_size", filter_size, 2), ("lrelu_upsampling", lrelu_upsampling, 1)
    )
    if lrelu_upsampling > MOST_UPSAMPLING:
        raise GeneratorError(f"lrelu_upsampling should be at most {MOST_UPSAMPLING}, got {lrelu_upsampling!r:.40}.")
    if conv_kernel % 2 == 0 or filter_size % 2 == 1:
        raise GeneratorError(
            f"conv_kernel should be odd and filter_size even; got conv_kernel={conv_kernel}, filter_size={filter_size}."
        )
    check_clamp("conv_clamp", conv_clamp)
    _check_number("output_scale", output_scale, 0, STRONGEST)


class StyleGAN3(StyleGenerator):
    """The generator of StyleGAN3, configurations T (the default) and R, with directions in z or in w.

    R is T with ``conv_kernel=1``, ``use_radial_filters=True`` and ``channel_base`` and ``channel_max`` doubled. Scales
    that are training devices (the equalised learning rate, the average magnitude of each layer's input) are part of the
    weights here. What the network draws is clamped to [-1, 1], as the original's is when it is shown.

    Args:
        z_dim: length of one z, drawn from N(0, I) and normalised.
        w_dim: length of one w, what the mapping network makes of z.
        channels: 1 (grey) or 3 (colour).
        image_size: 8, 16, ... pixels.
        num_classes: number of classes; positive gives the mapping network the class beside z.
        channel_base, channel_max: a layer has ``channel_base / (2 * cutoff)`` feature maps, at most ``channel_max``.
        num_layers: layers between the Fourier features and toRGB.
        num_critical: how many of them, the last ones, are critically sampled.
        first_cutoff, first_stopband: of the first layer, in cycles per image.
        last_stopband_rel: the last layer's stopband, relative to its cutoff, ``image_size / 2``.
        margin_size: pixels beyond each border of the image, at each layer's sampling rate.
        output_scale: what toRGB's output is multiplied by.
        conv_kernel: height and width of the convolutions' kernels, odd.
        filter_size: taps of the low-pass filters for each pixel of the lower rate, even.
        lrelu_upsampling: the rate of the leaky ReLU, relative to that of its input or output, whichever is higher.
        use_radial_filters: whether downsampling filters are radially symmetric, where not critically sampled.
        conv_clamp: bound on every layer's output, for networks trained in half precision; None for none.
        mapping_layers: depth of the mapping network.
        truncation: psi; every w is ``w_avg + psi * (w - w_avg)``.
        latent_space: "z" or "w". With "w" latents are w, ``latent_dim`` is ``w_dim``, and :meth:`sample_latents`
            maps a fresh z, truncation included. Class-conditional generators have their class in w, so that they take
            "z" only.
        layers: ``(first, stop)``, for "w" only: directions change the w of layers ``first`` to ``stop - 1`` and of no
            other, as in :class:`StyleGAN2`. The Fourier features are 0, the layers follow, toRGB is the last one.

    ``fourier.transform`` is ``(3, 3)``, the identity: an affine map of the plane from each place in the image to the
    place whose content is drawn there, in units of the image and from its centre, as in the original code.

    See :class:`Generator` for shapes.
    """

    architecture = "stylegan3"
    recomputes = False

    def __init__(
        self,
        *,
        z_dim: int = 512,
        w_dim: int = 512,
        channels: int = 3,
        image_size: int = 1024,
        num_classes: int = 0,
        channel_base: int = 32768,
        channel_max: int = 512,
        num_layers: int = 14,
        num_critical: int = 2,
        first_cutoff: float = 2,
        first_stopband: float = 2**2.1,
        last_stopband_rel: float = 2**0.3,
        margin_size: int = 10,
        output_scale: float = 0.25,
        conv_kernel: int = 3,
        filter_size: int = 6,
        lrelu_upsampling: int = 2,
        use_radial_filters: bool = False,
        conv_clamp: float | None = 256,
        mapping_layers: int = 2,
        truncation: float = 1.0,
        latent_space: str = "z",
        layers: Sequence[int] | None = None,
    ) -> None:
        _check_layers(conv_kernel, filter_size, lrelu_upsampling, conv_clamp, output_scale)
        signals = layer_signals(
            image_size=image_size,
            channels=channels,
            channel_base=channel_base,
            channel_max=channel_max,
            num_layers=num_layers,
            num_critical=num_critical,
            first_cutoff=first_cutoff,
            first_stopband=first_stopband,
            last_stopband_rel=last_stopband_rel,
            margin_size=margin_size,
        )
        super().__init__(
            z_dim=z_dim,
            w_dim=w_dim,
            mapping_layers=mapping_layers,
            num_layers=num_layers + 2,
            truncation=truncation,
            latent_space=latent_space,
            layers=layers,
            image_size=image_size,
            channels=channels,
            num_classes=num_classes,
        )
        self.signals, self.output_scale = signals, output_scale
        self.fourier = FourierFeatures(signals[0], w_dim)
        shape = conv_kernel, filter_size, lrelu_upsampling, conv_clamp
        self.blocks = nn.ModuleList(
            AliasFreeLayer(before, after, w_dim, *shape, radial=use_radial_filters)
            for before, after in pairwise([signals[0], *signals[:-1]])
        )
        self.to_rgb = ToRGB(signals[-2].width, channels, w_dim, conv_clamp)

    def synthesize(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        first, *ws, last = self.layer_latents(latents, labels)
        x = self.fourier(first)
        for layer, w in zip(self.blocks, ws, strict=True):
            x = checkpoint(layer, x, w, use_reentrant=False) if self.recomputes else layer(x, w)
        images: Tensor = self.to_rgb(x, last) * self.output_scale
        return images.clamp(-1, 1)
