"""Labels beside images: where they are in a sample, and whether they are classes that can be drawn."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torchvision import tv_tensors

from ganaug.errors import TransformError
from ganaug.images import plain
from ganaug.inversion import Latents
from ganaug.transforms.bounds import Bounds
from ganaug.transforms.names import ClassNames

LabelsGetter = str | Callable[[Any], Any] | None

_KEYS = "target targets y class_id class_ids class_idx class_index cls class classes category_id category categories"
USUAL_KEYS = tuple(_KEYS.split())
"""Where data sets keep labels that no key with ``label`` in it holds; the first of them that is there."""
UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
IGNORED = 255
"""Besides negative numbers, the label that data sets give to what should be ignored."""


def check_labels_getter(getter: LabelsGetter) -> LabelsGetter:
    """The getter itself; ``TransformError`` unless it is ``"default"``, a callable or None."""
    if getter is None or callable(getter) or (isinstance(getter, str) and getter == "default"):
        return getter
    raise TransformError(f"labels_getter should either be 'default', a callable, or None, but got {getter!r}.")


def find_labels(sample: Any, getter: LabelsGetter = "default") -> Any:
    """What stands where labels stand in a sample, or None.

    By default they stand where ``v2.CutMix`` looks for them: the second item of a tuple or list (the first that is no
    image, if the second is one), or, where that or the sample itself is a dictionary, its key ``labels``, else the
    first with ``label`` in it, in capitals or not; and, where there is none, a key of :data:`USUAL_KEYS`.
    """
    if getter is None or callable(getter):
        return None if getter is None else getter(sample)
    if isinstance(sample, (tuple, list)):
        sample = next((item for item in sample[1:] if not _is_image(item)), None)
        if not isinstance(sample, Mapping):
            return None if isinstance(sample, Latents) else sample
    if not isinstance(sample, Mapping):
        return None
    keys = {key.lower(): key for key in reversed(list(sample)) if isinstance(key, str)}
    likely = [keys[name] for name in ("labels",) if name in keys]
    likely += [key for key in sample if isinstance(key, str) and "label" in key.lower()]
    likely += [keys[name] for name in USUAL_KEYS if name in keys]
    if likely and "label" not in likely[0].lower():
        for other in likely[1:]:
            if not _agree(sample[likely[0]], sample[other]):
                raise TransformError(
                    f"the sample has different labels under {likely[0]!r} and {other!r}. Say which are meant with "
                    f"labels_getter=lambda sample: sample[{likely[0]!r}]."
                )
    return sample[likely[0]] if likely else None


def _agree(first: Any, second: Any) -> bool:
    """Whether labels are the same, or what stands under the second key can be none."""
    first, second = _as_tensor(first), _as_tensor(second)
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape != second.shape or bool((first == second.to(first.device)).all())
    return not isinstance(second, type(first)) or bool(first == second)


def _is_image(item: Any) -> bool:
    """Whether something can only be an image, a batch or a list of them."""
    if isinstance(item, (list, tuple)):
        return len(item) > 0 and all(map(_is_image, item))
    if isinstance(item, (PIL.Image.Image, tv_tensors.Image)):
        return True
    return isinstance(item, (Tensor, np.ndarray)) and item.ndim >= 3


def checked_classes(
    labels: Any,
    count: int,
    num_classes: int,
    *,
    needed_by: str | None = None,
    mixed: bool = False,
    names: ClassNames | None = None,
    bounds: Bounds | None = None,
) -> Tensor | None:
    """The generator's classes ``(count,)`` int64 of labels, or None where none came or the generator takes none.

    Args:
        labels: ``(count,)`` integers in ``[0, num_classes)`` as a tensor, an array or a list, an integer beside one
            image, ``(count, num_classes)`` soft ones, of which the likeliest class is taken, or one-hot rows of any
            type; with ``names`` also words.
        needed_by: who can't do without labels.
        mixed: whether soft labels may be of several classes.
        names: what the labels are called, and which classes of the generator's they are.
        bounds: to settle before the classes are used; without them values are checked here.

    Raises:
        TransformError: labels that are missing where they are needed, or are no such classes.
    """
    if labels is None and needed_by is not None:
        raise TransformError(
            f"no labels were found in the sample, and {needed_by} needs them to draw images of the same classes. "
            "Pass (images, labels), a dictionary with a label-like key, or labels_getter=..."
        )
    if labels is None or num_classes == 0:
        return None
    names = ClassNames(None, None, num_classes, "the generator") if names is None else names
    if count == 1 and names.table is None and (one := _one_class(labels, num_classes)) is not None:
        return one
    if names.speaks and (words := words_of(labels)):
        labels = names.numbers(words)
    classes = _as_tensor(labels)
    if not isinstance(classes, Tensor):
        raise TransformError(
            f"the labels should be a tensor, an array or a list of integers, or an integer beside one image; got "
            f"{labels!r:.80}. Say where they are with labels_getter=..., or with None that there are none. Names of "
            "classes need a pack that knows them, or classes=[...], the data set's names in the order of its labels."
        )
    if not _is_dense(classes):
        kind = "one on meta, without values" if classes.is_meta else f"one of {classes.dtype} and {classes.layout}"
        raise TransformError(f"the labels should be a dense tensor of integers, got {kind}.")
    open_bounds = Bounds() if bounds is None else bounds
    indices = _indices(classes, count, names.num_labels(num_classes), open_bounds, mixed=mixed)
    if bounds is None:
        open_bounds.settle()
    return names.drawn_as(indices)


def _indices(classes: Tensor, count: int, num_classes: int, bounds: Bounds, *, mixed: bool) -> Tensor:
    """Class indices ``(count,)`` int64 of a tensor of labels in any form."""
    got = f"{classes.dtype} of shape {tuple(classes.shape)}"
    wanted = (
        f"class indices of shape ({count},) from 0 to {num_classes - 1}, or soft labels of shape "
        f"({count}, {num_classes})"
    )
    is_soft = classes.is_floating_point()
    in_rows = is_soft or classes.ndim > 1 or (count == 1 != num_classes == len(torch.atleast_1d(classes)))
    given = classes
    if classes.ndim < (2 if in_rows else 1):
        classes = classes[None]
    if classes.shape != ((count, num_classes) if in_rows else (count,)) or (
        classes.is_complex() or (classes.dtype == torch.bool and not in_rows)
    ):
        raise TransformError(
            f"the labels should be {wanted}; got {got}.{_conversion(given, count)} If they stand elsewhere in the "
            "sample, say where with labels_getter=..., or with None that there are none."
        )
    if is_soft:
        return _likeliest(classes, bounds, mixed=mixed)
    classes = classes.long()
    if in_rows:

        def refuse_rows(low: float, high: float) -> None:
            raise TransformError(f"one-hot labels should have a single 1 in each row; got {got} with other rows.")

        bounds.check(classes, 0, 1, refuse_rows)
        bounds.check(classes.sum(1), 1, 1, refuse_rows)
        return classes.argmax(1)

    def refuse(low: float, high: float) -> None:
        ignored = (
            f" Negative labels and {IGNORED} stand for images to be ignored: leave them out (keep = (labels >= 0) & "
            f"(labels != {IGNORED}); images[keep], labels[keep]), or give the classes to draw with labels_getter=... "
            '(with source="invert" and labels_getter=None the encoder reads them).'
            if low < 0 or high == IGNORED
            else ""
        )
        raise TransformError(f"the labels should be {wanted}; got values from {low:.0f} to {high:.0f}.{ignored}")

    bounds.check(classes, 0, num_classes - 1, refuse)
    return classes


def words_of(labels: Any) -> list[str]:
    """The words that labels are, if they are nothing else."""
    if isinstance(labels, str):
        return [str(labels)]
    if isinstance(labels, np.ndarray) and labels.ndim == 1 and labels.dtype.kind in "UO":
        labels = labels.tolist()
    if isinstance(labels, (list, tuple)) and labels and all(isinstance(label, str) for label in labels):
        return [str(label) for label in labels]
    return []


def refuse_unclear_labels(sample: Any, count: int, num_classes: int, *, single: bool, names: ClassNames) -> None:
    """``TransformError`` if in a sample in which no labels were found something stands that might be labels.

    Integers, one for each image, one-hot or soft rows, and names of classes might, unless their key says that they are
    something else, such as an index or a width.
    """
    num_labels = names.num_labels(num_classes)

    def looked_through(part: Any, path: str) -> str | None:
        if _resembles(part, count, num_labels, single=single, names=names):
            return path
        inside: Sequence[tuple[Any, Any]] = ()
        if isinstance(part, Mapping):
            inside = [(key, value) for key, value in part.items() if not _says_other(key)]
        elif isinstance(part, (list, tuple)) and any(
            isinstance(one, (Tensor, np.ndarray, Mapping, list, tuple, PIL.Image.Image)) or one is None for one in part
        ):
            inside = list(enumerate(part))
        found = (looked_through(value, f"{path}[{key!r}]") for key, value in inside)
        return next(filter(None, found), None)

    if isinstance(sample, (tuple, list, Mapping)) and (place := looked_through(sample, "sample")):
        getter = place.replace("sample", "lambda sample: sample", 1)
        raise TransformError(
            f"no labels were found where they usually stand, but {place} might be labels. If it is, pass "
            f"labels_getter={getter}; if not, labels_getter=None says that there are none."
        )


_WORDS = """
id ids idx index indices path paths file files filename filenames name names size sizes height width weight weights
area seed epoch step time timestamp fold split length count num
"""
OTHER = frozenset(_WORDS.split())
"""Words of keys whose integers are no labels."""


def _says_other(key: Any) -> bool:
    return isinstance(key, str) and not OTHER.isdisjoint(key.lower().replace("-", "_").split("_"))


def _resembles(part: Any, count: int, num_labels: int, *, single: bool, names: ClassNames) -> bool:
    if isinstance(part, (Latents, tv_tensors.TVTensor)):
        return False
    if words := words_of(part):
        return len(words) == count and all(map(names.is_name, words))
    if isinstance(part, numbers.Integral):
        return single and not isinstance(part, bool)
    if isinstance(part, (list, tuple)) and not all(map(_is_row, part)):
        return False
    values = _as_tensor(part)
    if not isinstance(values, Tensor) or values.is_complex() or not _is_dense(values):
        return False
    if values.dtype == torch.bool:
        values = values.float()  # one-hot rows
    if values.is_floating_point():
        shapes = [(count, num_labels)] + [(num_labels,)] * single
        return values.shape in shapes and bool((values >= 0).all() and ((values.sum(-1) - 1).abs() < 0.02).all())
    return values.shape in [(count,), (count, num_labels)] + [(), (num_labels,)] * single


def _is_row(part: Any) -> bool:
    """Whether something in a list may be one label: an integer, or the numbers of a row."""
    if isinstance(part, (list, tuple)):
        return all(isinstance(one, numbers.Real) for one in part)
    return isinstance(part, numbers.Integral) or (isinstance(part, Tensor) and part.ndim == 0)


def _conversion(labels: Tensor, count: int) -> str:
    """The line that makes class indices of labels that are some in all but type or shape."""
    if labels.numel() != count or labels.is_complex():
        return ""
    squeezed = ".flatten()" if labels.squeeze().ndim < 2 and labels.ndim > 1 else ""
    whole = not labels.is_floating_point() or bool((labels == labels.round()).all())
    turned = ".long()" if whole and labels.dtype != torch.int64 else ""
    how = squeezed + turned
    return f" If these are class indices, labels{how} makes them so." if whole and how else ""


def _is_dense(values: Tensor) -> bool:
    """Whether a tensor has values that can be looked at."""
    small = values.is_floating_point() and values.element_size() == 1
    return values.layout is torch.strided and not (values.is_nested or values.is_meta or values.is_quantized or small)


def _one_class(label: Any, num_classes: int) -> Tensor | None:
    """The class ``(1,)`` of an integer or an int64 number of the CPU, as stand beside single images, if it is one."""
    if type(label) is Tensor and label.dtype == torch.int64 and label.ndim == 0 and label.is_cpu:
        return label[None] if 0 <= label.item() < num_classes else None
    if type(label) is int and 0 <= label < num_classes:
        return torch.tensor([label], device="cpu", dtype=torch.int64)
    return None


def _likeliest(soft: Tensor, bounds: Bounds, *, mixed: bool) -> Tensor:
    """The likeliest class ``(N,)`` of each row of probabilities ``(N, num_classes)``."""
    sums = soft.float().sum(1)

    def refuse(low: float, high: float) -> None:
        raise TransformError(
            f"soft labels should be probabilities, each row none negative and of sum 1; got values from "
            f"{soft.min().item():.4g} to {soft.max().item():.4g}, sums from "
            f"{sums.min().item():.4g} to {sums.max().item():.4g}."
        )

    likeliest, classes = soft.max(1)

    def refuse_mixed(low: float, high: float) -> None:
        raise TransformError(
            f"an image of mixed labels can't be replaced by one of a single class, and row "
            f"{int(likeliest.argmin())} is mixed. Place LatentShift before v2.CutMix and v2.MixUp, "
            'or use source="invert".'
        )

    bounds.check(soft, 0, math.inf, refuse)
    bounds.check(sums, 0.98, 1.02, refuse)
    if not mixed:
        bounds.check(likeliest, 0.99, math.inf, refuse_mixed)
    return classes


def _as_tensor(labels: Any) -> Any:
    """An integer, a list or an array of numbers as a tensor; anything else as it came."""
    if isinstance(labels, Tensor):
        return plain(labels).long() if labels.dtype in UNSIGNED else plain(labels)
    if isinstance(labels, (numbers.Integral, list, tuple, np.ndarray)) and not isinstance(labels, bool):
        array = np.asarray(labels)
        try:
            # torch has neither other byte orders nor negative strides, and can do little with unsigned numbers.
            array = array.astype(np.int64 if array.dtype.kind == "u" else array.dtype.newbyteorder("="), order="C")
            return torch.as_tensor(array, device="cpu")
        except (TypeError, ValueError):
            return labels
    return labels
