"""Files that are whole or not there: JSON and safetensors, written beside, then renamed."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from ganaug.errors import GeneratorError

# What torch.load(weights_only=True) raises on files that are damaged, or hold more than tensors and plain containers.
UNREADABLE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object; :class:`GeneratorError` names the file when there is none or it holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise GeneratorError(f"{path} is missing.") from error
    except OSError as error:
        raise GeneratorError(f"{path} can't be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise GeneratorError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise GeneratorError(f"{path} should hold a JSON object, found {type(content).__name__}.")
    return content


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to one safetensors file, beside it first, then renamed."""
    scratch = path.with_name(path.name + ".part")
    scratch.write_bytes(save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))
    os.replace(scratch, path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write one JSON object, beside it first, then renamed; ``ValueError`` or ``TypeError`` on what JSON can't hold."""
    scratch = path.with_name(path.name + ".part")
    scratch.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(scratch, path)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The path ``NAME.part`` to write beside ``path``; renamed to it at the end, removed if that is not reached."""
    scratch = path.with_name(path.name + ".part")
    try:
        yield scratch
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
