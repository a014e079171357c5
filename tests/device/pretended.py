"""An accelerator that is pretended: it computes on the CPU, refuses what CUDA refuses, and counts what CUDA waits for.

Tensors on it are wrappers around CPU tensors, through torch's PrivateUse1 backend in Python. Values are therefore those
of the CPU. Refused are operations on tensors of both devices (single numbers aside, as CUDA takes them) and draws by a
generator of the CPU. Counted are the places where a host waits for its device: values read back, and shapes that depend
on values.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _DummyPrivateUse1Hook,
    _setup_privateuseone_for_python_backend,
)

NAME = "pretended"
aten = torch.ops.aten

READS_BACK = {aten._local_scalar_dense, aten.equal, aten.is_nonzero}
OF_UNKNOWN_SHAPE = {aten.nonzero, aten.masked_select, aten._unique2, aten.unique_dim, aten.unique_consecutive}
BY_INDEX = {
    aten.index,
    aten.index_put,
    aten.index_put_,
    aten._unsafe_index,
    aten._index_put_impl_,
    aten._unsafe_index_put,
}
COUNTED_OUT = {aten.repeat_interleave, aten.bincount}

waits: Counter[str] = Counter()
"""How often the host waited for the device, by what it waited for and the line of ganaug's that asked."""
sent: Counter[str] = Counter()
"""How often the host waited until something was copied to the device."""


present = False
"""Whether there is such a device just now; other tests of the same process see none."""


class Hook(_DummyPrivateUse1Hook):
    def is_available(self) -> bool:
        return present


class Backend(_DummyBackendModule):
    """What torch asks of a device's module."""

    def is_available(self) -> bool:
        return present

    def device_count(self) -> int:
        return int(present)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def is_bf16_supported(self) -> bool:
        return True

    def get_rng_state(self, device: Any = 0) -> Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: Tensor, device: Any = 0) -> None:
        pass

    def synchronize(self, device: Any = 0) -> None:
        pass


_setup_privateuseone_for_python_backend(NAME, backend_module=Backend(), hook=Hook())
_AUTOCAST = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
_AUTOCAST.fallback(torch.library.fallthrough_kernel)  # autocast there changes nothing
DEVICE = torch.device(NAME, 0)


class Elsewhere(Tensor):
    """A tensor of the pretended device."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> Elsewhere:
        made: Elsewhere = torch.Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            layout=here.layout,
            device=DEVICE,
        )
        made.here = here
        return made

    def __repr__(self) -> str:
        return f"Elsewhere({self.here})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Elsewhere, (self.here.detach(),)

    def tolist(self) -> Any:
        _count(waits, "tolist")
        return self.here.detach().tolist()

    def numpy(self, *arguments: Any, **options: Any) -> Any:
        raise TypeError(f"can't convert a tensor of {NAME} to numpy; copy it to the CPU first")

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        self.here = value.here if isinstance(value, Elsewhere) else value
        Tensor.data.__set__(self, value)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Everywhere(TorchDispatchMode):
    """Sees operations on tensors of the CPU too, so that some can make tensors of the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextmanager
def pretended_device() -> Iterator[torch.device]:
    """The device; outside of this its tensors can't be made."""
    global present
    tensor, save, present = torch.tensor, torch.save, True

    def made(data: Any, *args: Any, device: Any = None, **options: Any) -> Tensor:
        here = tensor(data, *args, device="cpu" if _is_ours(device) else device, **options)
        return here.to(device) if _is_ours(device) else here

    def saved(content: Any, *args: Any, **options: Any) -> None:
        save(
            tree_map(lambda each: each.here.detach() if isinstance(each, Elsewhere) else each, content),
            *args,
            **options,
        )

    try:
        with mock.patch.object(torch, "tensor", made), mock.patch.object(torch, "save", saved), _Everywhere():
            yield DEVICE
    finally:
        present = False


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Counts how often the host waits for the device within."""
    waits.clear()
    sent.clear()
    yield waits


def _is_ours(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _count(counter: Counter[str], what: str) -> None:
    lines = [frame for frame in traceback.extract_stack() if "/ganaug/" in frame.filename]
    place = f"{lines[-1].filename.rpartition('/ganaug/')[2]}:{lines[-1].lineno}" if lines else "the test"
    counter[f"{what} at {place}"] += 1


def _there(value: Any) -> Any:
    return value.here if isinstance(value, Elsewhere) else value


def _wrapped(value: Any) -> Any:
    return Elsewhere(value) if isinstance(value, Tensor) and not isinstance(value, Elsewhere) else value


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    packet, name = func.overloadpacket, func.__name__
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    ours = [each for each in tensors if isinstance(each, Elsewhere)]
    cpu = [each for each in tensors if not isinstance(each, Elsewhere)]
    device = kwargs.get("device")
    if not ours and not _is_ours(device):
        return func(*args, **kwargs)
    if packet is aten._to_copy:
        return _copied(func, args, kwargs, to_ours=_is_ours(device) if device is not None else bool(ours))
    if packet is aten.copy_:
        if ours and cpu:
            back = isinstance(args[1], Elsewhere)
            if back or not (args[2] if len(args) > 2 else kwargs.get("non_blocking")):
                _count(waits if back else sent, "copy_")
        func(*map(_there, args), **kwargs)
        return args[0]
    if packet in READS_BACK | OF_UNKNOWN_SHAPE or (packet in COUNTED_OUT and "output_size" not in kwargs):
        _count(waits, name)
    if packet in BY_INDEX and isinstance(args[0], Elsewhere):
        for index in args[1]:
            if index is not None and index.dtype in (torch.bool, torch.uint8):
                _count(waits, "boolean index")
            elif index is not None and not isinstance(index, Elsewhere):
                _count(sent, "index")
        cpu = [each for each in cpu if not any(each is index for index in args[1])]
    makes_new = device is not None and not ours
    for each in cpu:
        if each.ndim and not makes_new:
            shapes = [tuple(tensor.shape) for tensor in tensors]
            raise RuntimeError(f"Expected all tensors to be on the same device: {func}, shapes {shapes}")
    if kwargs.get("generator") is not None:
        raise RuntimeError(f"{func}: a generator of the CPU for a tensor of {NAME}")
    given = {key: value for key, value in kwargs.items() if key not in ("device", "pin_memory")}
    if device is not None:
        given["device"] = torch.device("cpu") if _is_ours(device) else device
    output = func(*tree_map(_there, args), **tree_map(_there, given))
    if func._schema.is_mutable:
        back = {id(_there(each)): each for each in ours}
        return tree_map(lambda each: back.get(id(each), _wrapped(each)), output)
    return tree_map(_wrapped, output)


def _copied(func: Any, args: Any, kwargs: dict[str, Any], *, to_ours: bool) -> Tensor:
    given = {key: value for key, value in kwargs.items() if key not in ("device", "non_blocking", "pin_memory")}
    from_ours = isinstance(args[0], Elsewhere)
    if from_ours and not to_ours:
        _count(waits, "copy to the CPU")
    if to_ours and not from_ours and not kwargs.get("non_blocking"):
        _count(sent, "copy")
    output = func(_there(args[0]), **given)
    return _wrapped(output) if to_ours else output
