"""Samples of every shape against a plain model of what LatentShift takes and what it refuses: no silent difference."""

import copy
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from ganaug.errors import TransformError
from ganaug.generators import SNGAN, Encoder
from ganaug.inversion import Latents
from ganaug.packs import DirectionPack
from ganaug.transforms import LatentShift

CLASSES, LATENT, SIZES = 10, 8, ((32, 32), (20, 28), (40, 33))


@dataclass
class Case:
    """A drawn sample, and what is known of it."""

    sample: Any
    images: list[Any]
    """Each image, batch or list of images that is in it."""
    labels: str
    """ "good", "none", "hidden" (where nobody looks) or "bad"."""
    classes: list[int] | None
    rows: int | None
    """How many labels stand where labels stand."""
    fits: bool
    """Whether type, values, channels and mode of all images are such as can be shifted."""
    latents: str
    """ "none", "kept", "lost" (a plain tensor) or "short" (another generator's)."""


# -- the model: what DESIGN.md and the docs say ---------------------------------------------------------------------


def is_batch(image, case):
    """Whether an image of a sample is several, by the labels beside it."""
    if not isinstance(image, list):
        return not isinstance(image, Image.Image) and image.ndim == 4
    return case.rows == len(image) or (case.rows is None and all(isinstance(one, Image.Image) for one in image))


def expected(case, *, source, views, encoder, conditional):
    """The source that draws the images of a sample, or "refused"."""
    split = [image for image in case.images if isinstance(image, list) and not is_batch(image, case)]
    if not case.fits or ((split or len(case.images) > 1) and not views):
        return "refused"
    if split:
        return "unsaid"  # views with labels or latents of other numbers than theirs: a sample of chance
    if case.latents == "lost" and encoder and source != "sample":
        return "refused"
    if not conditional:
        return "invert" if encoder and case.latents != "short" else "refused"
    if case.labels in ("bad", "hidden"):
        return "refused"
    drawn = source
    if source == "auto":
        fresh = is_batch(case.images[0], case) and case.labels == "good" and case.latents in ("none", "lost")
        drawn = "sample" if fresh else "invert" if encoder else "refused"
    lacking = (drawn == "sample" and case.labels == "none") or (drawn == "invert" and case.latents == "short")
    return "refused" if lacking else drawn


# -- samples --------------------------------------------------------------------------------------------------------

PIXELS = torch.rand(4, 4, 40, 40, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25
FITTING = ("uint8", "float16", "bfloat16", "float32", "float64")


def tensor_image(draw, channels, *batch):
    """A tensor of images, and whether its type and values are those of images."""
    height, width = draw(st.sampled_from(SIZES))
    kind = draw(st.sampled_from([*FITTING * 6, "int64", "too bright"]))
    image = PIXELS[: (batch or (1,))[0], :channels, :height, :width]
    image = image if batch else image[0]
    if kind == "too bright":
        return image * 4, False
    image = (image * 255).long() if kind == "int64" else v2.functional.to_dtype(image, getattr(torch, kind), scale=True)
    return tv_tensors.Image(image) if draw(st.booleans()) else image, kind != "int64"


def one_image(draw, channels):
    """An image, and whether a pack of ``channels`` takes it."""
    if draw(st.booleans()):
        mode = draw(st.sampled_from(["L"] * 6 + ["RGB"] * (20 if channels == 3 else 1) + ["RGBA", "P"]))
        height, width = draw(st.sampled_from(SIZES))
        image = v2.functional.to_pil_image(PIXELS[0, :3, :height, :width]).convert(mode)
        return image, mode == "L" or (mode == "RGB" and channels == 3)
    given = draw(st.sampled_from([channels] * 12 + [1] * 4 + [2, 3, 4]))
    image, fits = tensor_image(draw, given)
    return image, fits and given in (1, channels)


def images_of(draw, channels, count, kind):
    """An image, a batch or a list of images, and whether they fit."""
    if kind == "one":
        return one_image(draw, channels)
    if kind == "batch":
        given = draw(st.sampled_from([channels] * 12 + [1] * 4 + [2, 3, 4]))
        image, fits = tensor_image(draw, given, count)
        return image, fits and given in (1, channels)
    each = [one_image(draw, channels) for _ in range(count)]
    return [image for image, _ in each], all(fits for _, fits in each)


GOOD = {
    "int64": torch.tensor,
    "int32": lambda y: torch.tensor(y, dtype=torch.int32),
    "uint8": lambda y: torch.tensor(y, dtype=torch.uint8),
    "array": np.array,
    "list": list,
    "tuple": tuple,
    "scalars": lambda y: [torch.tensor(one) for one in y],
    "one-hot": lambda y: F.one_hot(torch.tensor(y), CLASSES),
    "one-hot bool": lambda y: F.one_hot(torch.tensor(y), CLASSES).bool(),
    "soft": lambda y: F.one_hot(torch.tensor(y), CLASSES).float(),
    "soft half": lambda y: F.one_hot(torch.tensor(y), CLASSES).half(),
    "soft lists": lambda y: F.one_hot(torch.tensor(y), CLASSES).float().tolist(),
}
GOOD_ONE = {
    "int": int,
    "numpy": np.int64,
    "scalar": torch.tensor,
    "list": lambda y: [y],
    "one-hot": lambda y: F.one_hot(torch.tensor(y), CLASSES),
    "soft": lambda y: F.one_hot(torch.tensor(y), CLASSES).float(),
}
BAD = {
    "ignored": lambda y: [*y[1:], -1],
    "ignored far": lambda y: np.array([*y[1:], -100]),
    "ignored bytes": lambda y: torch.tensor([*y[1:], 255], dtype=torch.uint8),
    "too many": lambda y: [*y, 1],
    "too high": lambda y: torch.tensor([*y[1:], CLASSES]),
    "floats": lambda y: torch.tensor(y).float(),
    "truth": lambda y: torch.tensor(y) > 3,
    "words": lambda y: ["cat"] * len(y),
    "two-hot": lambda y: F.one_hot(torch.tensor(y), CLASSES) * 2,
    "logits": lambda y: F.one_hot(torch.tensor(y), CLASSES).float() * 9 - 3,
    "of other classes": lambda y: F.one_hot(torch.tensor(y), CLASSES + 3).float(),
}
SEEN = ("label", "labels", "fine_label", "Labels", "target", "targets", "y", "cls", "class", "label_ids", "category_id")
HIDDEN = ("digit", "gt", "truth", "answer")
BESIDE = [None, "a.png", 0.5, True, torch.zeros(5), torch.zeros(6, 5, 3), np.zeros(7), {"path": "b.png"}]


def labels_of(draw, count, single):
    """Labels, what they are, and their classes."""
    kind = draw(st.sampled_from(["good"] * 9 + ["none"] * 3 + ["hidden", "bad"]))
    classes = draw(st.lists(st.integers(0, CLASSES - 1), min_size=count, max_size=count))
    if kind == "none":
        return None, kind, None
    table = BAD if kind == "bad" else GOOD_ONE if single else GOOD
    name = draw(st.sampled_from(sorted(table)))
    event(f"labels: {kind}, {name}")
    return table[name](classes[0] if table is GOOD_ONE else classes), kind, classes


def arranged(draw, images, labels, kind, latents):
    """The sample, in some container, with things beside that are neither."""
    form = draw(st.sampled_from(["pair", "list", "dictionary", "target", "nested", "bare"]))
    beside = [draw(st.sampled_from(BESIDE)) for _ in range(draw(st.integers(0, 2)))]
    rest = [*([latents] if latents is not None else []), *beside]
    key = draw(st.sampled_from(HIDDEN if kind == "hidden" else SEEN))
    first, more = images[0], {f"view{k}": image for k, image in enumerate(images[1:])}
    given = {} if kind == "none" else {key: labels}
    if form == "bare" and kind == "none" and not more and not rest:
        return first
    if form == "dictionary":
        ahead = (
            {"image": first, **given}
            if isinstance(labels, list) or kind == "hidden" or draw(st.booleans())
            else {**given, "image": first}
        )
        return {"path": "a.png", **ahead, **more, **{f"more{k}": one for k, one in enumerate(rest)}}
    if form == "target":
        return (first, {"w": 0.5, **given}, more, *rest)
    second, third = (None, [labels]) if kind == "hidden" else (labels, [])
    if form == "nested":
        return [{"image": first, "more": more}, second, *third, tuple(rest)]
    return (list if form == "list" else tuple)([first, second, *third, *more.values(), *rest])


@st.composite
def cases(draw, channels):
    shape = draw(st.sampled_from(["one", "batch", "batch", "list"]))
    count = 1 if shape == "one" else draw(st.integers(2, 4))
    drawn = [images_of(draw, channels, count, shape) for _ in range(draw(st.sampled_from([1, 1, 1, 1, 2])))]
    labels, kind, classes = labels_of(draw, count, shape == "one")
    latents = draw(st.sampled_from(["none"] * 9 + ["kept"] * 4 + ["lost", "short"]))
    size = (LATENT,) if shape == "one" and draw(st.booleans()) else (count, LATENT)
    stored = {"none": None, "kept": Latents(torch.randn(size)), "lost": torch.randn(size)}
    stored["short"] = Latents(torch.randn(count, LATENT - 3))
    images, fits = [image for image, _ in drawn], all(fits for _, fits in drawn)
    sample = arranged(draw, images, labels, kind, stored[latents])
    rows = None if kind in ("none", "hidden") or np.ndim(labels) == 0 else len(labels)
    return Case(sample, images, kind, classes, rows, fits, latents)


# -- the check ------------------------------------------------------------------------------------------------------


def network_pack(channels, num_classes, encoder):
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=LATENT, channels=channels, num_classes=num_classes, widths=(4, 4, 4, 4)).freeze()
    shape = {"latent_dim": LATENT, "image_size": 32, "channels": channels, "num_classes": num_classes}
    encoder = Encoder(**shape, width=4, hidden=8).freeze() if encoder else None
    return DirectionPack(torch.eye(LATENT)[:3], generator=generator, encoder=encoder, name="fuzz")


@pytest.fixture(scope="module")
def shifts():
    """Transforms on packs of every kind that can be."""
    made = {}
    for channels, conditional, encoder in product((1, 3), (True, False), (True, False)):
        pack = network_pack(channels, CLASSES if conditional else 0, encoder)
        for source, views, p in product(("auto", "sample", "invert"), (True, False), (0, 1)):
            if (source == "sample" and not conditional) or (source == "invert" and not encoder):
                continue
            shift = LatentShift("any", pack=pack, p=p, magnitude=6, source=source, views=views, return_params=True)
            made[channels, conditional, encoder, source, views, p] = shift
    return made


def parts(one):
    """The leaves of a sample and the types of its containers."""
    if isinstance(one, dict):
        return [dict, *one, *(leaf for value in one.values() for leaf in parts(value))]
    if isinstance(one, (list, tuple)):
        return [type(one), *(leaf for value in one for leaf in parts(value))]
    return [one]


def same(one, other):
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, Image.Image):
        return (one.mode, one.size, one.tobytes()) == (other.mode, other.size, other.tobytes())
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


def kind_of(image):
    if isinstance(image, Image.Image):
        return image.mode, image.size
    return type(image), image.shape, image.dtype, image.device


def check_output(case, before, output, all_params, drawn, p, conditional):
    assert len(parts(output)) == len(parts(before))
    singles = [one for image in case.images for one in (image if isinstance(image, list) else [image])]
    for there, came, out in zip(parts(case.sample), parts(before), parts(output), strict=True):
        assert same(there, came), "what came is left alone"
        if any(there is image for image in singles):
            assert kind_of(out) == kind_of(came)
            assert p or same(out, came)
            assert not (p and isinstance(out, torch.Tensor) and out.dtype == torch.float32) or not torch.equal(
                out, came
            )
        else:
            assert out is there or same(out, there), "all but the images comes out as it came"
    for params in all_params:
        assert drawn in (params["source"], "unsaid") and all(
            isinstance(value, torch.Tensor) for name, value in params.items() if name != "source"
        )
        if conditional and case.labels == "good" and drawn != "unsaid":
            assert params["classes"].tolist() == case.classes


def check(shifts, data):
    key = data.draw(st.sampled_from(sorted(shifts)))
    channels, conditional, encoder, source, views, p = key
    case = data.draw(cases(channels))
    drawn = expected(case, source=source, views=views, encoder=encoder, conditional=conditional)
    event(f"expected: {drawn}")
    before = copy.deepcopy(case.sample)
    try:
        output, params = shifts[key](case.sample)
    except TransformError as error:
        assert drawn in ("refused", "unsaid"), f"refused, but {drawn} was expected: {error}"
        assert len(str(error)) > 40
        return
    assert drawn != "refused", "taken, but should have been refused"
    check_output(case, before, output, params if views else [params], drawn, p, conditional)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_samples_are_taken_or_refused_as_the_model_says(shifts, data):
    check(shifts, data)


@pytest.mark.slow
@settings(max_examples=2500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_thousands_of_samples_are_taken_or_refused_as_the_model_says(shifts, data):
    check(shifts, data)
