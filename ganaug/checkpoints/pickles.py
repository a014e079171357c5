"""Pickles of torch.save and of NVIDIA (StyleGAN2-ADA, StyleGAN3), read without running anything that they hold.

A file of NVIDIA's pickles whole networks, each with the source code of its classes, which unpickling would run
(``torch_utils.persistence`` of NVlabs/stylegan2-ada-pytorch). Here the source is dropped, and of each network its
class's name and its state are kept. All that an unpickler may call is written in :data:`ALLOWED`.
"""

from __future__ import annotations

import argparse
import io
import math
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from ganaug.errors import GeneratorError
from ganaug.files import UNREADABLE
from ganaug.places import did_you_mean

TORCH_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # of files before torch 1.6


def read_checkpoint(path: Path) -> Any:
    """What a file of ``torch.save`` holds: tensors and plain containers. Nothing else is unpickled.

    Raises:
        GeneratorError: the file is missing or damaged, or holds anything else.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # rosinality's checkpoints hold their options
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise GeneratorError(f"there is no file {path}.{did_you_mean(path)}") from error
    except pickle.UnpicklingError as error:
        raise GeneratorError(
            f"{path} is refused: it is damaged, or holds more than tensors and plain containers, and running what a "
            f"pickle asks for is not safe. Save a plain state dict instead. ({str(error).partition(chr(10))[0]})"
        ) from error
    except UNREADABLE as error:
        raise GeneratorError(f"{path} can't be read as a checkpoint; is it whole? ({error})") from error


def is_torch_file(path: Path) -> bool:
    """Whether ``torch.save`` wrote a file, whatever it is called."""
    try:
        with path.open("rb") as file:
            return file.read(len(TORCH_MAGIC)).startswith((b"PK", TORCH_MAGIC))
    except OSError:
        return False


class NvidiaNetwork(TypedDict):
    """One network of such a file.

    ``class_name`` as in its source, ``init_kwargs`` what it was built with, ``tensors`` its parameters and buffers by
    the names of its state dict.
    """

    class_name: str
    init_kwargs: dict[str, Any]
    tensors: dict[str, Tensor]


def read_nvidia_pickle(path: str | Path) -> NvidiaNetwork:
    """Read the averaged generator, ``G_ema``, of a ``.pkl`` file; no code in the file runs.

    Raises:
        GeneratorError: the file is missing, damaged, asks for more than tensors and plain containers (named), or has
            no ``G_ema``.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, path).load()
        network = content.get("G_ema") if isinstance(content, dict) else None
        if not isinstance(network, dict):
            found = list(content)[:8] if isinstance(content, dict) else type(content).__name__
            raise GeneratorError(f"{path} holds {found}, expected NVIDIA's networks, one of them named 'G_ema'.")
        return {
            "class_name": network["class_name"],
            "init_kwargs": dict(network["state"].get("_init_kwargs", {})),
            "tensors": dict(_named_tensors(network)),
        }
    except GeneratorError:
        raise
    except FileNotFoundError as error:
        raise GeneratorError(f"there is no file {path}.{did_you_mean(path)}") from error
    except (*UNREADABLE, MemoryError, OverflowError) as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise GeneratorError(
            f"{path} can't be read as one of NVIDIA's pickles, and nothing in it was run. Is it whole? ({reason})"
        ) from error


def _named_tensors(module: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The parameters and buffers of a network and of those within it, in the names of ``state_dict``."""
    state = module["state"]
    for name, tensor in {**state["_parameters"], **state["_buffers"]}.items():
        if tensor is not None:
            if not isinstance(tensor, Tensor):
                raise TypeError(f"{prefix}{name} is not a tensor")
            yield prefix + name, tensor
    for name, child in state["_modules"].items():
        if child is not None:
            yield from _named_tensors(child, f"{prefix}{name}.")


class _Unpickler(pickle.Unpickler):
    """Finds nothing but :data:`ALLOWED`."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file)
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in ALLOWED:
            return ALLOWED[module, name]
        advice = (
            "It is a TensorFlow network: make it a PyTorch one with legacy.py of NVlabs/stylegan2-ada-pytorch first."
            if module.startswith("dnnlib.tflib")
            else "If you trust the file, load it with its own code and save G_ema.state_dict() with torch.save."
        )
        raise GeneratorError(
            f"{self.path} is refused: its pickle asks for {module}.{name}, which is neither a tensor nor a plain "
            f"container, and running what a pickle asks for is not safe. {advice}"
        )


class _Function:
    """A function that a pickle may call; unlike a bare one, it has no attributes that a pickle could set."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call

    def __call__(self, *args: Any) -> Any:
        return self.call(*args)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it sets the state of a function")


def _network(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {"class_name": str(meta["class_name"]), "state": dict(meta["state"])}


def _storage(content: bytes) -> Tensor:
    """All of a storage, as a vector: ``torch.save`` wrote it, within the pickle, to a file of its own."""
    storage = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(storage, torch.storage.TypedStorage):
        raise TypeError(f"a tensor's storage is {type(storage).__name__}")
    return torch.empty(0, dtype=storage.dtype).set_(storage)


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    if math.prod(size) > storage.numel():
        raise TypeError(f"a tensor of shape {tuple(size)} has more elements than are stored")
    return storage.as_strided(size, stride, offset).clone()  # as_strided refuses to leave the storage


def _parameter(data: Tensor, *_: Any) -> Tensor:
    return data


class _Dtype:
    """NumPy's type of a number."""

    def __init__(self, code: str, *_: Any) -> None:
        if not re.fullmatch("[biuf][1248]", code):
            raise TypeError(f"NumPy values of type {code}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(list[Any]):
    """A NumPy array, as nested lists."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        self[:] = _array(content, dtype, shape, "F" if fortran else "C")


def _array(content: bytes, dtype: _Dtype, shape: tuple[int, ...], order: Any) -> list[Any]:
    values: list[Any] = np.atleast_1d(np.frombuffer(content, dtype.dtype).reshape(shape, order=order)).tolist()
    return values


def _number(dtype: _Dtype, content: bytes) -> Any:
    return np.frombuffer(content, dtype.dtype)[0].item()


ALLOWED: dict[tuple[str, str], Any] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _Function(_network),
    ("torch.storage", "_load_from_bytes"): _Function(_storage),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Function(_parameter),
    ("torch", "Size"): tuple,
    ("dnnlib.util", "EasyDict"): dict,
    ("collections", "OrderedDict"): dict,
    ("builtins", "set"): set,
    ("numpy", "dtype"): _Function(_Dtype),
    ("numpy", "ndarray"): list,  # only ever an argument, in place of the type
}


for _core in ("numpy.core", "numpy._core"):
    ALLOWED[f"{_core}.multiarray", "scalar"] = _Function(_number)
    ALLOWED[f"{_core}.multiarray", "_reconstruct"] = _Function(lambda *_: _Array())
    ALLOWED[f"{_core}.numeric", "_frombuffer"] = _Function(_array)
