"""A judge of the user's own: a network in Python, or a program in a file, that is run and never unpickled."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from ganaug.errors import EvaluationError
from ganaug.files import check_regular

ADVICE = (
    "A judge takes images (N, C, H, W), float32 in [0, 1], for any N, and gives logits (N, classes). Save it with "
    'torch.export.save(torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("N")},)), FILE) or '
    "torch.jit.trace(network, images).save(FILE)"
)
FORCED = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def read_judge(
    file: str | Path, *, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
) -> nn.Module:
    """A classifier out of a TorchScript or ``torch.export`` program: your own code, which is run as it is.

    The program takes images as torchvision's ``v2.ToDtype(torch.float32, scale=True)`` leaves them, ``(N, C, H, W)``
    float32 in [0, 1], of any N, and gives logits ``(N, classes)``.

    Args:
        file: written by ``torch.export.save`` or ``torch.jit.save``. What a pickle in it would build is refused.
        mean, std: of ``v2.Normalize``, if the program does not do that itself: a number, or one for each channel.

    Raises:
        EvaluationError: the file is no such program, or ``mean`` and ``std`` are not of one length.
        FileError: it is missing or no regular file.
    """
    path = Path(file)
    check_regular(path)
    if (mean is None) != (std is None) or (mean is not None and std is not None and len(mean) != len(std)):
        raise EvaluationError(f"mean and std belong together, a number each or one a channel; got {mean} and {std}.")
    if std is not None and min(std) <= 0:
        raise EvaluationError(f"std should be above 0, got {list(std)}.")
    kind = _kind_of(path)
    try:
        with _unpickling_nothing(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is deprecated, and files of it are about
            program = torch.jit.load(str(path), map_location="cpu") if kind == "script" else _exported(path)
    except Exception as error:  # readers of programs raise what they like
        raise EvaluationError(f"{path} can't be read as a program: {_first_line(error)} {ADVICE}.") from error
    if mean is None or std is None:
        return nn.Sequential(program)
    return nn.Sequential(v2.Normalize(list(mean), list(std)), program)


def _kind_of(path: Path) -> str:
    """``"script"`` or ``"export"``, by the names in the archive; :class:`EvaluationError` of any other file."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise EvaluationError(f"{path} is no program of TorchScript or torch.export. {ADVICE}.") from error
    if any("serialized_exported_program" in name or "/models/" in f"/{name}" for name in names):
        return "export"
    if any("/code/" in name for name in names):
        return "script"
    raise EvaluationError(
        f"{path} is no program of TorchScript or torch.export; what torch.save writes is a pickle or weights alone, "
        f"and ganaug unpickles nothing. {ADVICE}."
    )


def _exported(path: Path) -> nn.Module:
    module: nn.Module = torch.export.load(str(path)).module()
    return module


@contextmanager
def _unpickling_nothing() -> Iterator[None]:
    """``torch.load`` builds tensors and plain containers alone, whatever its caller asks for."""
    before = os.environ.get(FORCED)
    os.environ[FORCED] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[FORCED]
        else:
            os.environ[FORCED] = before


class OwnJudge(nn.Module):
    """A user's classifier of images in [0, 1] as one of images in [-1, 1]; always in float32.

    Shape:
        - input: ``(N, channels, H, W)`` float in [-1, 1]
        - output: ``(N, num_classes)`` logits
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            logits: Tensor = self.network((images.float() + 1) / 2)
        return logits


@contextmanager
def own_judge(
    network: nn.Module, *, channels: int, image_size: int, num_classes: int, device: torch.device
) -> Iterator[OwnJudge]:
    """A user's classifier on a device and in evaluation mode, both as they were before when the block ends.

    Raises:
        EvaluationError: it is no module, does not take the images, or does not give ``(N, num_classes)`` finite logits.
    """
    if not isinstance(network, nn.Module):
        raise EvaluationError(f"judge should be an nn.Module, got {type(network).__name__}. {ADVICE}.")
    training = [module for module in network.modules() if module.training and _has_modes(module)]
    home = next((tensor.device for tensor in (*network.parameters(), *network.buffers())), torch.device("cpu"))
    try:
        for module in training:
            module.training = False
        judge = OwnJudge(network.to(device))
        for count in (2, 3):  # a program may have been traced for one number of images
            _check_logits(judge, count, (channels, image_size, image_size), num_classes, device)
        yield judge
    finally:
        network.to(home)
        for module in training:
            module.training = True


def _has_modes(module: nn.Module) -> bool:
    """Exported programs have been put into one mode for good."""
    return not isinstance(module, torch.fx.GraphModule)


def _check_logits(
    judge: OwnJudge, count: int, shape: tuple[int, int, int], num_classes: int, device: torch.device
) -> None:
    images = torch.rand(count, *shape, generator=torch.Generator().manual_seed(0)).to(device) * 2 - 1
    try:
        with torch.no_grad():
            logits = judge(images)
    except Exception as error:  # it is the user's code
        raise EvaluationError(
            f"the judge does not take images of shape {tuple(images.shape)}: {_first_line(error)} {ADVICE}."
        ) from error
    got = str(tuple(logits.shape)) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
    if not isinstance(logits, Tensor) or logits.shape != (count, num_classes) or not logits.is_floating_point():
        raise EvaluationError(
            f"of {count} images the judge should give logits of shape ({count}, {num_classes}), one for each class; "
            f"got {got}. {ADVICE}."
        )
    if not logits.isfinite().all():
        raise EvaluationError(f"the judge gives logits that are no finite numbers. {ADVICE}.")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{lines[-1] if lines else type(error).__name__} ({type(error).__name__})."
