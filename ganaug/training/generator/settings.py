"""Every setting of a generator's training, in one checked place, and the networks that it makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from ganaug.errors import SettingsError
from ganaug.settings import Settings, parse_settings, read_toml, setting

SIZES = (32, 64, 128)
"""Pixels of a side that generators are trained at."""

SHARES = {
    4: Fraction(1),
    8: Fraction(1),
    16: Fraction(2, 3),
    32: Fraction(1, 2),
    64: Fraction(1, 3),
    128: Fraction(1, 4),
}
"""Of the widest layers' feature maps, at each resolution."""


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings(Settings):
    """Settings of :func:`ganaug.training.train_generator`: see the fields."""

    iterations: int = setting(10_000, "steps of both networks; `minutes` plans them instead")
    batch_size: int = setting(64, "real images, and as many drawn ones, a step", least=2)
    labels: Literal["use", "ignore"] = setting("use", "ignore: an unconditional generator of images that have classes")
    latent_dim: int = setting(64, "length of a latent")
    width: int = setting(96, "feature maps of the widest layers", least=8)
    loss: Literal["hinge", "relativistic"] = setting(
        "hinge",
        "hinge: with spectral normalisation, SN-GAN's; relativistic: with gradient penalties on real and drawn images, "
        "R3GAN's",
    )
    gradient_penalty: float = setting(1.0, "gamma of the relativistic loss's two penalties", least=0)
    penalty_every: int = setting(1, "iterations between penalties, each so many times as strong; fewer are quicker")
    class_weight: float = setting(
        0.2,
        "of the cross-entropy by which the discriminator learns to read classes off real images, and the generator "
        "to have them read rightly",
        least=0,
    )
    diffaugment: bool = setting(True, "both networks see images of other colours, moved and cut; for few images")
    flips: Literal["auto", "on", "off"] = setting(
        "auto", "mirror real images; auto: off where a classifier tells mirrored images from others, as of characters"
    )
    generator_lr: float = setting(4e-4, "Adam's learning rate of the generator")
    discriminator_lr: float = setting(4e-4, "Adam's learning rate of the discriminator")
    beta1: float = setting(0.0, "Adam's", least=0, most=0.999)
    beta2: float = setting(0.9, "Adam's", least=0, most=0.9999)
    average: float = setting(0.999, "how slowly the averaged weights, which are the result, follow", least=0, most=1)
    judge_steps: int = setting(
        600, "training steps of the classifier that samples are judged by; 0 leaves their quality unmeasured", least=0
    )
    precision: Literal["bfloat16", "float32"] = setting("bfloat16", "of the networks; bfloat16 is autocast")
    seed: int = setting(0, "of every random draw and initial weight", least=0)


@dataclass(frozen=True, kw_only=True)
class Networks:
    """What the two networks are built of.

    Attributes:
        generator: arguments of :class:`ganaug.generators.SNGAN`.
        discriminator_widths: feature maps of each of the discriminator's blocks.
        discriminator_downs: which of them halve the resolution.
    """

    generator: dict[str, Any]
    discriminator_widths: Sequence[int]
    discriminator_downs: Sequence[bool] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        return {
            "generator": dict(self.generator),
            "discriminator_widths": list(self.discriminator_widths),
            "discriminator_downs": list(self.discriminator_downs),
        }


def networks_for(
    settings: GeneratorSettings, *, size: int, channels: int, num_classes: int, given: Mapping[str, Any] | None = None
) -> Networks:
    """The networks for images of a size, or those that a recipe gives.

    Args:
        given: a recipe's ``[generator]`` table with ``discriminator_widths`` and ``discriminator_downs``.

    Raises:
        SettingsError: a size that no networks are known for, or given ones that are not for such images.
    """
    if given:
        table = dict(given)
        widths, downs = table.pop("discriminator_widths", None), table.pop("discriminator_downs", None)
        asked = {"channels": channels, "num_classes": num_classes}
        found = {key: table.setdefault(key, default) for key, default in (("channels", 3), ("num_classes", 0))}
        apart = [f"{key} = {found[key]}, the images {asked[key]}" for key in asked if found[key] != asked[key]]
        if apart:
            raise SettingsError(
                f"the recipe's [generator] has {' and '.join(apart)}. Change it; labels=ignore makes an unconditional "
                "generator of images that have classes."
            )
        if widths is None or downs is None or len(widths) != len(downs):
            raise SettingsError("a recipe with [generator] gives discriminator_widths and as many discriminator_downs.")
        return Networks(generator=table, discriminator_widths=widths, discriminator_downs=downs)
    if size not in SIZES:
        raise SettingsError(f"size should be {', '.join(map(str, SIZES[:-1]))} or {SIZES[-1]} pixels, got {size}.")
    widths = {pixels: max(8, int(share * settings.width)) for pixels, share in SHARES.items()}
    halved = [pixels for pixels in reversed(SHARES) if 8 < pixels <= size]
    return Networks(
        generator={
            "latent_dim": settings.latent_dim,
            "channels": channels,
            "num_classes": num_classes,
            "widths": [width for pixels, width in widths.items() if pixels <= size],
        },
        discriminator_widths=[*(widths[pixels] for pixels in halved[:-1]), *[settings.width] * 3],
        discriminator_downs=[*(True for _ in halved), False, False],
    )


def read_generator_recipe(path: str | Path, words: Iterable[str] = ()) -> tuple[dict[str, Any], dict[str, Any]]:
    """Networks and settings of a recipe's ``[generator]`` and ``[generator_training]`` tables.

    Args:
        words: ``"key=value"`` settings that go before the recipe's.

    Returns:
        The networks and the settings, as :func:`ganaug.training.train_generator` takes them; its ``dataset``, which
        earlier recipes name, is what they were made with and sets nothing.

    Raises:
        SettingsError: the file is missing, not TOML, or has no such tables.
    """
    content = read_toml(Path(path))
    if missing := [name for name in ("generator", "generator_training") if not isinstance(content.get(name), dict)]:
        raise SettingsError(f"{path} has no [{missing[0]}] table, and a generator is to be trained.")
    training = {**content["generator_training"], **parse_settings(words)}
    networks = dict(content["generator"])
    training.pop("dataset", None)
    for name in ("discriminator_widths", "discriminator_downs"):
        networks[name] = training.pop(name, None)
    if isinstance(betas := training.pop("betas", None), list) and len(betas) == 2:
        training = {"beta1": float(betas[0]), "beta2": float(betas[1]), **training}
    return networks, training
