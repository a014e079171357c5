"""A generator of linear layers, as in the first GANs (Goodfellow et al., "Generative Adversarial Nets", NIPS 2014)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from typing_extensions import Self

from ganaug.errors import GeneratorError
from ganaug.generators.generator import Generator
from ganaug.generators.layers import without_batch_norms
from ganaug.generators.layouts import batch_norm_names, counters, renamed, without_counters
from ganaug.generators.network import load_weights

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "leaky_relu": partial(nn.LeakyReLU, 0.2)}


PYTORCH_GAN_EPS = 0.8  # eriklindernoren/PyTorch-GAN passes 0.8, meant as the momentum, in the place of eps


TENSOR = re.compile(r"(\w+\.|)(\d+)\.(weight|bias|running_mean|running_var|num_batches_tracked)")


class MLP(Generator):
    """Linear layers, each with an optional batch norm and an activation, and tanh at the end.

    Args:
        latent_dim: length of one latent.
        hidden: features of each hidden layer.
        image_size: height and width of the images, in pixels.
        channels: 1 (grey) or 3 (colour).
        activation: "relu", or "leaky_relu" of slope 0.2.
        batch_norm: whether a batch norm stands between a hidden layer and its activation; one value for all of them,
            or one for each.
        batch_norm_eps: what batch norms add to the variance.

    See :class:`Generator` for shapes. Unconditional.
    """

    architecture = "mlp"

    def __init__(
        self,
        *,
        latent_dim: int = 100,
        hidden: Sequence[int] = (128, 256, 512, 1024),
        image_size: int = 28,
        channels: int = 1,
        activation: str = "leaky_relu",
        batch_norm: bool | Sequence[bool] = False,
        batch_norm_eps: float = 1e-5,
    ) -> None:
        super().__init__(latent_dim=latent_dim, image_size=image_size, channels=channels)
        if not hidden or any(not isinstance(width, int) or width < 1 for width in hidden):
            raise GeneratorError(f"hidden should be one or more positive integers, got {hidden!r}.")
        if activation not in ACTIVATIONS:
            raise GeneratorError(f"activation should be one of {', '.join(ACTIVATIONS)}; got {activation!r}.")
        norms = [batch_norm] * len(hidden) if isinstance(batch_norm, bool) else list(batch_norm)
        if len(norms) != len(hidden) or not all(isinstance(norm, bool) for norm in norms):
            raise GeneratorError(
                f"batch_norm should be true or false, or that for each of the {len(hidden)} hidden layers, got "
                f"{batch_norm!r}."
            )
        if not isinstance(batch_norm_eps, (int, float)) or not 0 < batch_norm_eps < math.inf:
            raise GeneratorError(f"batch_norm_eps should be a positive number, got {batch_norm_eps!r}.")
        layers: list[nn.Module] = []
        for (before, width), norm in zip(pairwise((latent_dim, *hidden)), norms, strict=True):
            layers.append(nn.Linear(before, width))
            layers += [nn.BatchNorm1d(width, eps=batch_norm_eps)] if norm else []
            layers.append(ACTIVATIONS[activation]())
        layers += [nn.Linear(hidden[-1], channels * image_size**2), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def synthesize(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        images: Tensor = self.layers(latents).unflatten(1, (self.channels, self.image_size, self.image_size))
        return images

    def _fuse(self) -> None:
        self.layers = without_batch_norms(self.layers)

    @classmethod
    def from_checkpoint(
        cls,
        state: Mapping[str, Tensor],
        *,
        activation: str = "leaky_relu",
        batch_norm_eps: float | None = None,
        origin: str = "the checkpoint",
    ) -> Self:
        """Build the frozen generator of a plain ``nn.Sequential``'s state dict, under at most one prefix.

        The layers are linear, batch norms that follow them at once, and what has no tensors: activations, dropout and
        a tanh at the end. Which activation and which ``eps`` no state dict says.

        Args:
            state: the tensors, ``0.weight`` or ``model.0.weight`` and so on.
            activation: see :class:`MLP`.
            batch_norm_eps: see :class:`MLP`. By default 1e-5, PyTorch's own; but 0.8 in the layout of
                eriklindernoren/PyTorch-GAN: prefix ``model.``, and a batch norm in all hidden layers but the first.
            origin: where ``state`` comes from, for the error.

        Raises:
            GeneratorError: missing, extra or mis-shaped tensors; a batch norm elsewhere, or two linear layers without
                an activation between; a last layer whose outputs are no square image of 1 or 3 channels, or fewer than
                a latent has numbers.
        """
        state = without_counters(state)
        matches = {name: match for name in state if (match := TENSOR.fullmatch(name))}
        prefix = next((match[1] for match in matches.values()), "")
        linear = sorted(int(match[2]) for name, match in matches.items() if state[name].ndim == 2)
        norms = {int(match[2]) for match in matches.values() if match[3] == "running_mean"}
        if len(linear) < 2:
            raise GeneratorError(f"{origin} is no MLP: it has {len(linear)} linear layers, and two are the least.")
        names: dict[str, tuple[str, int]] = {}
        ours = 0
        for index in linear:
            stem = f"{prefix}{index}"
            names |= {f"{stem}.weight": (f"layers.{ours}.weight", 2), f"{stem}.bias": (f"layers.{ours}.bias", 1)}
            if index + 1 in norms and index != linear[-1]:
                ours += 1
                names |= batch_norm_names(f"{prefix}{index + 1}", f"layers.{ours}")
            ours += 2
        found = renamed(state, names, layout="an MLP (nn.Sequential)", origin=origin)
        batch_norm = [index + 1 in norms for index in linear[:-1]]
        for (index, following), norm in zip(pairwise(linear), batch_norm, strict=True):
            if following < index + 2 + norm:
                raise GeneratorError(
                    f"{origin} has no activation between its linear layers {prefix}{index} and {prefix}{following}, "
                    "and an MLP has one. Use Generator.from_module with the original code."
                )
        hidden = [len(state[f"{prefix}{index}.weight"]) for index in linear[:-1]]
        latent_dim = state[f"{prefix}{linear[0]}.weight"].shape[1]
        outputs = len(state[f"{prefix}{linear[-1]}.weight"])
        channels = 3 if outputs % 3 == 0 and math.isqrt(outputs // 3) ** 2 * 3 == outputs else 1
        image_size = math.isqrt(outputs // channels)
        if channels * image_size**2 != outputs or outputs <= latent_dim:
            raise GeneratorError(
                f"{origin} makes {outputs} values of {latent_dim}, which is no square image of 1 or 3 channels with "
                "more values than its latent. Is it a generator's?"
            )
        if batch_norm_eps is None:
            published = prefix == "model." and batch_norm == [False] + [True] * (len(hidden) - 1)
            batch_norm_eps = PYTORCH_GAN_EPS if published and any(batch_norm) else 1e-5
        with torch.device("meta"):
            generator = cls(
                latent_dim=latent_dim,
                hidden=hidden,
                image_size=image_size,
                channels=channels,
                activation=activation,
                batch_norm=batch_norm,
                batch_norm_eps=batch_norm_eps,
            )
        return load_weights(generator, {**counters(generator), **found}, origin=origin)


def looks_like_mlp(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the names of a ``nn.Sequential`` of two or more linear layers, under one prefix."""
    matches = [TENSOR.fullmatch(name) for name in state]
    prefixes = {match and match[1] for match in matches}
    dimensions = [tensor.ndim for tensor in state.values()]
    return len(prefixes) == 1 and None not in prefixes and max(dimensions) == 2 and dimensions.count(2) > 1
