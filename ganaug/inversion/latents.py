"""Stored latents that travel beside their images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data._utils.collate import default_collate_fn_map
from torchvision import tv_tensors

_NAMES = """
__getitem__ select index_select narrow gather take_along_dim masked_select unbind
chunk split split_with_sizes tensor_split unsafe_chunk unsafe_split
stack cat concat concatenate vstack row_stack atleast_1d atleast_2d
flip roll view reshape flatten unflatten unsqueeze squeeze expand expand_as repeat repeat_interleave tile
contiguous clone detach detach_ requires_grad_ pin_memory share_memory_
to cpu cuda float double half bfloat16 type type_as
t transpose permute swapaxes swapdims movedim moveaxis
"""
MOVES = frozenset(_NAMES.split())
"""What torch calls the functions that move latents and compute nothing; what these return of latents are latents."""
TURNS: tuple[Any, ...] = tuple(getattr(Tensor, name).__get__ for name in ("T", "mT", "H", "mH"))


class Latents(tv_tensors.TVTensor):  # type: ignore[misc]  # torchvision has no types, so its classes are Any
    """Stored latents that travel in a sample beside their images; other transforms leave them alone.

    They are of the image as it was stored: place LatentShift before flips, crops and whatever else moves pixels.
    Indexed, sliced, split, stacked, permuted, copied or moved to another device or float type they stay Latents; what
    is computed of them is a plain tensor, and ``Latents(...)`` makes that latents again.

    Args:
        data: a tensor, an array or lists of numbers.

    Shape: ``(latent_dim,)`` beside one image, ``(N, latent_dim)`` beside a batch.
    """

    def __new__(cls, data: Any) -> Latents:
        device = data.device if isinstance(data, Tensor) else "cpu"
        return torch.as_tensor(data, dtype=torch.float32, device=device).as_subclass(cls)

    def __iter__(self) -> Iterator[Latents]:
        return iter(self.unbind(0))

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = super().__torch_function__(func, types, args, kwargs)
        moves = getattr(func, "__name__", "") in MOVES or func in TURNS
        if not moves or not _all_latents(args, kwargs or {}):
            return output
        return type(output)(map(_wrapped, output)) if isinstance(output, (tuple, list)) else _wrapped(output)


def _all_latents(args: Sequence[Any], keywords: Mapping[str, Any]) -> bool:
    """Whether what is moved, a function's first argument, is latents and nothing else."""
    moved = args[0] if args else keywords.get("tensors", keywords.get("input"))
    several = moved if isinstance(moved, (tuple, list)) else [moved]
    return all(isinstance(one, Latents) for one in several)


def _wrapped(output: Any) -> Any:
    if isinstance(output, Tensor) and output.is_floating_point() and output.ndim:
        return output.as_subclass(Latents)
    return output


def _collate_latents(batch: Sequence[Latents], **_: Any) -> Latents:
    return Latents(torch.stack([latents.as_subclass(Tensor) for latents in batch]))


# The docs of torch.utils.data.default_collate give this map, from its private module, as the way to add a type.
default_collate_fn_map[Latents] = _collate_latents
