"""What generators and encoders share: a config, and hashed safetensors weights."""

from __future__ import annotations

import hashlib
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)
from typing_extensions import Self

from ganaug.devices import in_channels_last
from ganaug.errors import FileError, GeneratorError, listed
from ganaug.files import read_safetensors, write_safetensors


class FrozenNetwork(nn.Module, ABC):
    """What generators and encoders share: a config to build them again with, and hashed safetensors weights."""

    contiguous_width: ClassVar[float] = math.inf
    """Input features from which on a convolution's loaded weights are contiguous. channels_last is faster, but oneDNN's
    kernel for it adds up all products of a pixel in one float32: its error is up to ten times that of the other."""

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What it takes to build the network again, JSON values only."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def freeze(self) -> Self:
        """Evaluation mode, and no weight requires a gradient; returns the network itself."""
        return self.eval().requires_grad_(False)

    def arrange(self) -> Self:
        """Put weights in channels_last, or contiguous from ``contiguous_width`` on; returns the network itself."""
        in_channels_last(self)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.in_channels >= self.contiguous_width:
                layer.to(memory_format=torch.contiguous_format)
        return self

    def weights_sha256(self) -> str:
        """SHA-256 of all weights: names, types, shapes and bytes in order of name, whatever file they came in."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def save_weights(self, path: Path) -> None:
        """Write all weights to one safetensors file, beside it first, then renamed; ``FileError`` if that fails."""
        write_safetensors(path, self.state_dict())


N = TypeVar("N", bound=FrozenNetwork)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a network's safetensors file.

    Raises:
        GeneratorError: it is missing or damaged.
    """
    if not path.exists():
        raise GeneratorError(f"{path} is missing: weights should be there.")
    try:
        return read_safetensors(path)
    except FileError as error:
        raise GeneratorError(f"{str(error).rstrip('.')}. Fetch or write it again.") from error


@contextmanager
def bounded(state: Mapping[str, Tensor], *, config: Mapping[str, Any], origin: str) -> Iterator[None]:
    """Within it no network is built of more parts than are at hand: what a config counts costs time on any device.

    Args:
        state: the tensors that will be loaded. A network has at most about twice as many, for some are ours alone.
        config: what the network is built with, for the error.
        origin: where that comes from, for the error.

    Raises:
        GeneratorError: more are asked for, at the moment when that is seen.
    """
    most, thread, made = 2 * len(state) + 100, threading.get_ident(), 0

    def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal made
        if tensor is None or threading.get_ident() != thread:
            return
        made += 1
        if made > most:
            counts = {key: len(value) if isinstance(value, list) else value for key, value in config.items()}
            large = [key for key, value in counts.items() if isinstance(value, int) and value > len(state)]
            raise GeneratorError(
                f"{origin} asks for more than {most} tensors, and there are {len(state)}: look at "
                f"{', '.join(sorted(large)) or 'its sizes'}."
            )

    hooks = [register_module_parameter_registration_hook(count), register_module_buffer_registration_hook(count)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def load_network(network: N, state: Mapping[str, Tensor], *, origin: Path, sha256: str | None) -> N:
    """Load a state dict into a network built without memory, and freeze it.

    Raises:
        GeneratorError: missing, extra or mis-shaped tensors, NaN or infinity, or weights whose SHA-256 is not
            ``sha256``.
    """
    load_weights(network, state, origin=str(origin))
    if sha256 is not None and (found := network.weights_sha256()) != sha256:
        raise GeneratorError(
            f"{origin} holds weights with SHA-256 {found}, but the config names {sha256!r:.100}: "
            "this is another network, or the file was changed."
        )
    return network


def load_weights(network: N, state: Mapping[str, Tensor], *, origin: str) -> N:
    """Load a state dict, every tensor accounted for; freeze the network and arrange its memory.

    Raises:
        GeneratorError: names the missing, extra and mis-shaped tensors, and those with NaN or infinity.
    """
    wanted = network.state_dict()
    complaints = [f"missing {name}" for name in wanted.keys() - state.keys()]
    complaints += [f"unexpected {name}" for name in state.keys() - wanted.keys()]
    complaints += [
        f"{name} is {state[name].dtype} {tuple(state[name].shape)}, expected {tensor.dtype} {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and (state[name].shape, state[name].dtype) != (tensor.shape, tensor.dtype)
    ]
    if complaints:
        built = f"{type(network).__name__}({network.config!s:.1000})"
        raise GeneratorError(f"{origin} does not fit {built}: {listed(complaints)}.")
    # A sum is four times as fast, and NaN or infinity if one of its terms is; it may also overflow.
    if broken := [name for name, each in state.items() if not each.sum().isfinite() and not each.isfinite().all()]:
        raise GeneratorError(f"{origin} has NaN or infinite values in {listed(broken)}. Fetch or write it again.")
    network.load_state_dict(state, assign=True)
    return network.freeze().arrange()
