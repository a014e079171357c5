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
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from ganaug.checkpoints.scan import Budget, Scan, scan_pickle
from ganaug.errors import FileError, GeneratorError, listed
from ganaug.files import UNREADABLE, check_regular
from ganaug.places import did_you_mean, exists

TORCH_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # of files before torch 1.6

ITEM_SIZES = {
    **dict.fromkeys(("ByteStorage", "CharStorage", "BoolStorage", "UntypedStorage"), 1),
    **dict.fromkeys(("ShortStorage", "HalfStorage", "BFloat16Storage"), 2),
    **dict.fromkeys(("IntStorage", "FloatStorage"), 4),
    **dict.fromkeys(("LongStorage", "DoubleStorage", "ComplexFloatStorage"), 8),
    "ComplexDoubleStorage": 16,
}
"""Bytes of one element of each storage."""

CALLED = {
    "argparse Namespace",
    "_codecs encode",
    "builtins complex",
    "builtins set",
    "collections Counter",
    "collections OrderedDict",
    "torch Size",
    "torch device",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_parameter_with_state",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",
    "torch.nn.parameter Parameter",
}
"""What a file of torch.save may call. PyTorch itself lets it call more, such as ``bytearray(10**12)``."""

NAMED = re.compile(
    r"(torch|torch\.cuda|torch\.storage) ([A-Z]\w+)Storage|torch (float|bfloat|u?int|complex)\d+|torch bool"
)
"""What it may name beside: storages and types."""

MOST_TENSORS = 100_000
MOST_OPTIONS = 1000
LONGEST_NAME = 500


def read_checkpoint(path: Path) -> Any:
    """What a file of ``torch.save`` holds: tensors and plain containers. Nothing else is unpickled.

    What it would cost is counted first, and compared with what the file holds.

    Raises:
        GeneratorError: the file is missing or damaged, or holds anything else.
    """
    try:
        size = check_regular(path)
        with path.open("rb") as file:
            _check_torch_file(file, size)
        with torch.serialization.safe_globals([argparse.Namespace]):  # rosinality's checkpoints hold their options
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileError as error:
        if not exists(path):
            raise GeneratorError(f"there is no file {path}.{did_you_mean(path)}") from error
        raise GeneratorError(f"{str(error).rstrip('.')}. Give a file of torch.save.") from error
    except pickle.UnpicklingError as error:
        raise GeneratorError(
            f"{path} is refused: it is damaged, or holds more than tensors and plain containers, and running what a "
            f"pickle asks for is not safe. Save a plain state dict instead. ({str(error).partition(chr(10))[0]})"
        ) from error
    except (*UNREADABLE, MemoryError, OverflowError) as error:
        raise GeneratorError(f"{path} can't be read as a checkpoint; is it whole? ({error})") from error


def _check_torch_file(file: IO[bytes], size: int) -> None:
    """Raise :class:`pickle.UnpicklingError` if a file of torch.save asks for more than tensors that it holds."""
    budget, found = Budget(size), Scan()
    if file.read(2) == b"PK":
        stored = _scan_records(file, budget, found)
    else:
        file.seek(0)
        if file.read(len(TORCH_MAGIC)) != TORCH_MAGIC:
            raise pickle.UnpicklingError("it does not begin as torch.save begins a file")
        file.seek(0)
        for _ in range(5):  # magic number, version, the system's sizes, the content, keys of storages
            scan_pickle(file, budget, found)
        stored = None
    called = found.called - CALLED
    if foreign := sorted(called | {name for name in found.names - CALLED if not NAMED.fullmatch(name)}):
        raise pickle.UnpicklingError(f"it asks for {listed([name.replace(' ', '.') for name in foreign])}")
    _check_storages(found, stored, budget)


def _scan_records(file: IO[bytes], budget: Budget, found: Scan) -> dict[str, int]:
    """Go through the pickles among a zip file's records; returns the size of each record."""
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        sizes = {record.filename: record.file_size for record in records}
        if len({name.lower() for name in sizes}) < len(records):  # whose case PyTorch does not look at
            raise pickle.UnpicklingError("two of its records have one name")
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise pickle.UnpicklingError("its records are compressed, which torch.save never does")
        if sum(sizes.values()) > budget.size:
            raise pickle.UnpicklingError("its records are larger than the file")
        if not any(record.CRC for record in records):  # torch.serialization.set_crc32_options(False) leaves them out
            for record in records:
                del record.CRC
        if (damaged := archive.testzip()) is not None:  # PyTorch does not look
            raise pickle.UnpicklingError(f"its record {damaged} is damaged: it has another checksum")
        for name in sizes:
            if name.lower().endswith(".pkl"):
                scan_pickle(io.BytesIO(archive.read(name)), budget, found)
    return sizes


def _check_storages(found: Scan, stored: Mapping[str, int] | None, budget: Budget) -> None:
    """Each storage has to be as long as its record, or all of them together no longer than a file without records."""
    needed: dict[str, int] = {}
    for told in found.storages:
        kind, storage, key, _, count, *_ = (*(told or ()), None, None, None, None, None)
        each = ITEM_SIZES.get(str(storage).rpartition(" ")[2])
        if kind != "storage" or each is None or not isinstance(key, str) or not isinstance(count, int) or count < 0:
            raise pickle.UnpicklingError("it names a storage that is none")
        needed[key] = each * count
    if stored is None:
        if sum(needed.values()) > budget.size:
            raise pickle.UnpicklingError("its storages are larger than the file")
        return
    held = {name.partition("/")[2]: size for name, size in stored.items()}
    if wrong := [key for key, size in needed.items() if held.get(f"data/{key}") != size]:
        raise pickle.UnpicklingError(f"its storage {wrong[0]} is not as long as it should be")


def check_held(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Compare tensors with the file that they were read from, before anything is computed with them.

    Raises:
        GeneratorError: tensors that are not plain ones, or that hold more than the file does; too many, or names that
            are too long.
    """
    if len(tensors) > MOST_TENSORS or any(len(name) > LONGEST_NAME for name in tensors):
        raise GeneratorError(
            f"{path} holds {len(tensors):,} tensors, with names of up to {max(map(len, tensors)):,} characters; a "
            f"generator has {MOST_TENSORS:,} at most, with names of up to {LONGEST_NAME}."
        )
    asked = 0
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_nested:
            raise GeneratorError(f"{path}: {name} is no plain tensor. Save it dense, and not quantized.")
        claimed = tensor.numel() * tensor.element_size()
        if claimed > tensor.untyped_storage().nbytes():
            raise GeneratorError(
                f"{path}: {name} of shape {tuple(tensor.shape)} has more elements than are stored; refused."
            )
        asked += claimed
    if asked > (most := 2 * path.stat().st_size):  # a tensor may have two names
        raise GeneratorError(
            f"{path} holds the same values under many names, {asked:,} bytes in all where a file of its size has "
            f"{most:,} at most. Save each tensor once."
        )


def is_torch_file(path: Path) -> bool:
    """Whether ``torch.save`` wrote a file, whatever it is called."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            return file.read(len(TORCH_MAGIC)).startswith((b"PK", TORCH_MAGIC))
    except (OSError, FileError):
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
        GeneratorError: the file is missing, damaged, asks for more than tensors and plain containers (named), for more
            memory than a file of its size can need, or has no ``G_ema``.
    """
    path = Path(path)
    try:
        budget = Budget(check_regular(path))
        with path.open("rb") as file:
            scan_pickle(file, budget, Scan())
            file.seek(0)
            content = _Unpickler(file, path, budget).load()
        network = content.get("G_ema") if isinstance(content, dict) else None
        if not isinstance(network, dict):
            found = f"{list(content)[:8]!r:.500}" if isinstance(content, dict) else type(content).__name__
            raise GeneratorError(f"{path} holds {found}, expected NVIDIA's networks, one of them named 'G_ema'.")
        read: NvidiaNetwork = {
            "class_name": network["class_name"],
            "init_kwargs": _options(network["state"].get("_init_kwargs", {})),
            "tensors": dict(_named_tensors(network, set())),
        }
        check_held(read["tensors"], path)
        return read
    except FileError as error:
        if not exists(path):
            raise GeneratorError(f"there is no file {path}.{did_you_mean(path)}") from error
        raise GeneratorError(f"{str(error).rstrip('.')}. Give one of NVIDIA's .pkl files.") from error
    except GeneratorError:
        raise
    except (*UNREADABLE, MemoryError, OverflowError) as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise GeneratorError(
            f"{path} can't be read as one of NVIDIA's pickles, and nothing in it was run. Is it whole? ({reason})"
        ) from error


def _named_tensors(module: Mapping[str, Any], seen: set[int], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The parameters and buffers of a network and of those within it, in the names of ``state_dict``."""
    if id(module) in seen or len(prefix) > LONGEST_NAME or len(seen) > MOST_TENSORS:
        raise TypeError(f"a network of {len(seen):,} parts holds {prefix[:80]} twice, or within too many others")
    seen.add(id(module))
    state = module["state"]
    for name, tensor in {**state["_parameters"], **state["_buffers"]}.items():
        if tensor is not None:
            if not isinstance(tensor, Tensor):
                raise TypeError(f"{prefix}{name} is not a tensor")
            yield prefix + name, tensor
    for name, child in state["_modules"].items():
        if child is not None:
            yield from _named_tensors(child, seen, f"{prefix}{name}.")


def _options(told: Any) -> dict[str, Any]:
    """What a network was built with: a few plain values, in dictionaries and lists.

    Others could be written out in no message: a list that holds another one twice, and so on, has no end.
    """
    if not isinstance(told, dict) or not all(isinstance(name, str) for name in told):
        raise TypeError("a network's options have no names")
    left = [MOST_OPTIONS]

    def plain(value: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise TypeError(f"a network has more than {MOST_OPTIONS} options")
        if isinstance(value, dict):
            return {str(key)[:LONGEST_NAME]: plain(each) for key, each in value.items() if isinstance(key, str)}
        if isinstance(value, (list, tuple)):
            return [plain(each) for each in value]
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise TypeError(f"a network's option is a {type(value).__name__}")

    return {name: plain(value) for name, value in told.items()}


class _Unpickler(pickle.Unpickler):
    """Finds nothing but :data:`ALLOWED`, whose functions spend what a budget has left."""

    def __init__(self, file: IO[bytes], path: Path, budget: Budget) -> None:
        super().__init__(file)
        self.path, self.budget = path, budget

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in ALLOWED:
            allowed = ALLOWED[module, name]
            return allowed if isinstance(allowed, type) else _Function(partial(allowed, self.budget))
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


def _network(_: Budget, meta: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(meta["class_name"], str):
        raise TypeError("a class's name is no text")
    return {"class_name": meta["class_name"], "state": dict(meta["state"])}


def _storage(budget: Budget, content: bytes) -> Tensor:
    """All of a storage, as a vector: ``torch.save`` wrote it, within the pickle, to a file of its own."""
    budget.spend("tensors", len(content))
    _check_torch_file(io.BytesIO(content), len(content))
    storage = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(storage, torch.storage.TypedStorage):
        raise TypeError(f"a tensor's storage is {type(storage).__name__}")
    return torch.empty(0, dtype=storage.dtype).set_(storage)


def _tensor(
    budget: Budget, storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> Tensor:
    if math.prod(size) > storage.numel():
        raise TypeError(f"a tensor of shape {tuple(size)} has more elements than are stored")
    budget.spend("tensors", math.prod(size) * storage.element_size())
    return storage.as_strided(size, stride, offset).clone()  # as_strided refuses to leave the storage


def _parameter(_: Budget, data: Tensor, *__: Any) -> Tensor:
    return data


class _Dtype:
    """NumPy's type of a number."""

    def __init__(self, code: str) -> None:
        if not re.fullmatch("[biuf][1248]", code):
            raise TypeError(f"NumPy values of type {code}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(list[Any]):
    """A NumPy array, as nested lists."""

    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self.budget = budget

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        self[:] = _array(self.budget, content, dtype, shape, "F" if fortran else "C")


def _array(budget: Budget, content: bytes, dtype: _Dtype, shape: tuple[int, ...], order: Any) -> list[Any]:
    budget.spend("numbers", len(content))
    values: list[Any] = np.atleast_1d(np.frombuffer(content, dtype.dtype).reshape(shape, order=order)).tolist()
    return values


def _number(_: Budget, dtype: _Dtype, content: bytes) -> Any:
    return np.frombuffer(content, dtype.dtype, count=1)[0].item()


ALLOWED: dict[tuple[str, str], Any] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _network,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): tuple,
    ("dnnlib.util", "EasyDict"): dict,
    ("collections", "OrderedDict"): dict,
    ("builtins", "set"): set,
    ("numpy", "dtype"): lambda _, code, *__: _Dtype(code),
    ("numpy", "ndarray"): list,  # only ever an argument, in place of the type
}


for _core in ("numpy.core", "numpy._core"):
    ALLOWED[f"{_core}.multiarray", "scalar"] = _number
    ALLOWED[f"{_core}.multiarray", "_reconstruct"] = lambda budget, *_: _Array(budget)
    ALLOWED[f"{_core}.numeric", "_frombuffer"] = _array
