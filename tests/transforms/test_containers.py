"""Whatever images and labels come in, the same comes out: type, shape, dtype, and labels untouched."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from ganaug.generators import Encoder
from ganaug.packs import DirectionPack
from ganaug.transforms import LatentShift

quickly = settings(max_examples=25, deadline=None)

IMAGE_DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32)

BATCH_LABELS = {
    "int64": lambda labels: labels,
    "int32": lambda labels: labels.to(torch.int32),
    "uint8": lambda labels: labels.to(torch.uint8),
    "array": lambda labels: labels.numpy(),
    "list": lambda labels: labels.tolist(),
    "tuple": lambda labels: tuple(labels.tolist()),
    "list of scalars": lambda labels: list(labels.unbind()),
    "one-hot": lambda labels: F.one_hot(labels, 10).float(),
    "one-hot float64 array": lambda labels: F.one_hot(labels, 10).double().numpy(),
    "one-hot bfloat16": lambda labels: F.one_hot(labels, 10).bfloat16(),
    "one-hot lists": lambda labels: F.one_hot(labels, 10).float().tolist(),
}
IMAGE_LABELS = {"int": int, "numpy": np.int64, "scalar": torch.tensor, "list": lambda label: [label]}

ARRANGED = {
    "pair": lambda image, labels: (image, labels),
    "list": lambda image, labels: [image, labels],
    "dictionary": lambda image, labels: {"image": image, "path": "a.png", "Labels": labels},
    "target": lambda image, labels: (image, {"weight": 0.5, "fine_label": labels}),
    "nested": lambda image, labels: [{"view": [image, None]}, labels, ("more", 3)],
}


@pytest.fixture(scope="module")
def shifts(conditional_generator):
    """A transform for each p, on a pack that can sample and invert."""
    torch.manual_seed(1)
    encoder = Encoder(latent_dim=8, image_size=32, channels=3, num_classes=10, width=8, hidden=16).freeze()
    pack = DirectionPack(torch.eye(8)[:4], generator=conditional_generator, encoder=encoder)
    return {p: LatentShift("any", pack=pack, p=p, magnitude=4) for p in (0, 0.5, 1)}


def pixels(dtype, *shape):
    rng = torch.Generator().manual_seed(2)
    return v2.functional.to_dtype(torch.rand(shape, generator=rng) * 0.5 + 0.25, dtype, scale=True)


@st.composite
def batches(draw):
    """A batch of images, its labels as a tensor, and the same in some container."""
    count, size = draw(st.integers(1, 4)), draw(st.sampled_from([(32, 32), (20, 28), (40, 33)]))
    labels = torch.tensor(draw(st.lists(st.integers(0, 9), min_size=count, max_size=count)))
    images = pixels(draw(st.sampled_from(IMAGE_DTYPES)), count, 3, *size)
    images = tv_tensors.Image(images) if draw(st.booleans()) else images
    kind = BATCH_LABELS[draw(st.sampled_from(sorted(BATCH_LABELS)))]
    return images, labels, kind(labels)


@st.composite
def single_images(draw):
    """An image, its label as an integer, and the same in some container."""
    size, label = draw(st.sampled_from([(32, 32), (20, 28)])), draw(st.integers(0, 9))
    kind = draw(st.sampled_from(["tensor", "tv_tensor", "PIL"]))
    if kind == "PIL":
        image = v2.functional.to_pil_image(pixels(torch.uint8, 3, *size))
    else:
        image = pixels(draw(st.sampled_from(IMAGE_DTYPES)), 3, *size)
        image = tv_tensors.Image(image) if kind == "tv_tensor" else image
    return image, label, IMAGE_LABELS[draw(st.sampled_from(sorted(IMAGE_LABELS)))](label)


def taken_out(sample, arranged):
    """The image and the labels of an arranged sample."""
    if arranged == "dictionary":
        return sample["image"], sample["Labels"]
    if arranged == "target":
        return sample[0], sample[1]["fine_label"]
    return (sample[0]["view"][0], sample[1]) if arranged == "nested" else (sample[0], sample[1])


def same(one, other):
    """Equal, in containers of the same types as well."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one.tobytes() == other.tobytes() if isinstance(one, Image.Image) else one == other


def without_image(sample, arranged):
    """The sample with None in the image's place."""
    taken = copy.copy(sample)
    if arranged == "nested":
        return [{"view": [None, sample[0]["view"][1]]}, *sample[1:]]
    if arranged == "dictionary":
        taken["image"] = None
        return taken
    return type(sample)([None, *sample[1:]])


def check(shift, image, plain_labels, labels, arranged):
    sample = ARRANGED[arranged](image, labels)
    before = copy.deepcopy(sample)
    torch.manual_seed(0)
    result = shift(sample)
    assert same(sample, before), "what came is left alone"
    assert same(without_image(result, arranged), without_image(sample, arranged)), (
        "all but the image comes out as it is"
    )
    shifted, _ = taken_out(result, arranged)
    assert type(shifted) is type(image)
    if isinstance(image, Image.Image):
        assert (shifted.mode, shifted.size) == (image.mode, image.size)
    else:
        assert (shifted.shape, shifted.dtype, shifted.device) == (image.shape, image.dtype, image.device)
        assert shifted.dtype == torch.uint8 or 0 <= shifted.min() <= shifted.max() <= 1
    torch.manual_seed(0)
    assert same(shifted, shift(image, plain_labels)[0]), "the container of labels makes no difference to the image"
    if shift.p != 0.5:
        assert same(shifted, image) == (shift.p == 0)


@quickly
@given(batch=batches(), arranged=st.sampled_from(sorted(ARRANGED)), p=st.sampled_from([0, 0.5, 1]))
def test_batches_come_out_as_they_came(shifts, batch, arranged, p):
    check(shifts[p], *batch, arranged)


@quickly
@given(single=single_images(), arranged=st.sampled_from(sorted(ARRANGED)), p=st.sampled_from([0, 0.5, 1]))
def test_single_images_come_out_as_they_came(shifts, single, arranged, p):
    check(shifts[p], *single, arranged)
