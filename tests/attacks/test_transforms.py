"""Odd tensors, labels and arguments into transforms: what comes out is sound, or one sentence said why not."""

import math
import random
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from ganaug.errors import UserError
from ganaug.inversion import Latents
from ganaug.transforms import LatentShift, RandomLatentShift
from tests.attacks.conftest import OFTEN

DTYPES = [
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64,
    torch.bool, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.complex64, torch.complex128,
]  # fmt: skip
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
VALUES = [0.0, 1.0, 0.5, -1.0, 2.0, 255.0, math.nan, math.inf, -math.inf, 1e30, 1e-45]
NUMBERS = [
    0,
    1,
    2,
    9,
    10,
    -1,
    -100,
    255,
    2**31,
    2**63,
    2**80,
    -(2**80),
    10**400,
    1.0,
    0.5,
    math.nan,
    True,
    None,
    "3",
    "",
    b"1",
]


SHAPES = [
    (2, 3, 32, 32), (3, 32, 32), (2, 3, 8, 9), (1, 1, 32, 32), (2, 4, 5, 5), (0, 3, 32, 32), (2, 3, 0, 4), (3,), (),
    (2, 2, 3, 8, 8), (1, 3, 1, 1),
]  # fmt: skip
MODES = ["RGB", "L", "P", "CMYK", "RGBA", "I;16", "F", "1", "LA"]
MAGNITUDES = ["safe", 1.0, (0, 1), (1, 0), 1e39, math.nan, (0,), "far", None, 10**400, -3, (math.inf, 1)]
DIRECTIONS = [
    "any", 0, "stroke", [0, 1], [0, 0], [], -1, 99, 2**80, None, "", "\x1b[31m", 1.5, [None], True,
]  # fmt: skip
ARRAYS = [[1, 2], [3], [[1], [2]], [1.5, 2], [True, False]]


def tensor(rng, shape=None):
    shape = rng.choice(SHAPES) if shape is None else shape
    made = torch.rand(shape) if rng.random() < 0.5 else torch.full(shape, rng.choice(VALUES))
    made = made.clamp(-1e4, 1e4).nan_to_num().to(rng.choice(DTYPES)) if rng.random() < 0.5 else made
    way = rng.randrange(9)
    if way == 0 and made.ndim > 1:
        return made.transpose(-1, -2)
    if way == 1 and made.ndim:
        return made[::2]
    if way == 2 and made.dtype is torch.float32:
        return made.to_sparse()
    if way == 3 and made.ndim and made.dtype is torch.float32:
        return torch.nested.nested_tensor([made])
    if way == 4:
        return made.to("meta")
    if way == 5:
        return made.requires_grad_() if made.is_floating_point() and made.element_size() > 1 else made
    return made.expand(2, *made.shape) if way == 6 else made


def image(rng):
    way = rng.randrange(9)
    if way < 3:
        return torch.rand(rng.choice([(2, 3, 32, 32), (2, 3, 20, 28), (2, 1, 32, 32)]), dtype=rng.choice(FLOATS))
    if way < 6:
        return tensor(rng)
    way -= 3
    if way == 3:
        return Image.new(rng.choice(MODES), rng.choice([(32, 32), (1, 9)]))
    if way == 4:
        shape = rng.choice([(32, 32, 3), (2, 32, 32, 3), (4,), ()])
        return np.zeros(shape, rng.choice(["u1", "f4", ">f8", "O", "U3", "c8", "M8[s]"]))
    return rng.choice([None, "a", [], [tensor(rng), tensor(rng)], {"image": tensor(rng)}, object(), 3, 2.5])


def labels(rng):
    way = rng.randrange(9)
    if way == 0:
        return rng.choice(NUMBERS)
    if way == 1:
        return [rng.choice(NUMBERS) for _ in range(rng.choice([0, 1, 2, 3]))]
    if way == 2:
        return tensor(rng, rng.choice([(2,), (1,), (), (2, 1), (2, 10), (1, 10), (10,), (2, 10, 1)]))
    if way == 3:
        return np.array(
            rng.choice(ARRAYS),
            rng.choice(["i1", "u8", ">i4", "f2", "O", "?"]),
        )
    return torch.tensor([1, 2]) if way < 8 else torch.eye(10)[:2]


def shifted(rng, pack):
    options = {
        "p": rng.choice([0, 1, 0.5, 1, 1, -1, 2, math.nan, "1", None, True]) if rng.random() < 0.2 else 1.0,
        "magnitude": rng.choice(
            ["safe", 1.0, (0, 1), (1, 0), 1e39, math.nan, (0,), "far", None, 10**400, -3, (math.inf, 1)]
        ),
        "direction": rng.choice(
            ["any", 0, "stroke", [0, 1], [0, 0], [], -1, 99, 2**80, None, "", "\x1b[31m", 1.5, [None], True]
        ),
        "source": rng.choice(["auto", "sample", "invert", "bank", None, 3]) if rng.random() < 0.2 else "auto",
        "num_ops": rng.choice([1, 1, 1, 2, 0, 10**30, None, 1.5]),
        "weights": rng.choice([None, None, None, [1, 1], [0, 0], [math.nan, 1], [2**2000, 1], "ab"]),
    }
    if rng.random() < 0.8:
        options |= {"magnitude": 1.0, "direction": "any", "num_ops": 1, "weights": None}
    shift = LatentShift(pack=pack, check_domain=rng.random() < 0.5, return_params=rng.random() < 0.3, **options)
    sample = [image(rng), labels(rng)][: rng.choice([1, 2, 2, 2])]
    if rng.random() < 0.15:
        sample.append(Latents(torch.full((2, 8), rng.choice(VALUES))))
    if rng.random() < 0.2:
        sample = [{rng.choice(["image", "x"]): sample[0], rng.choice(["label", "y", "id"]): sample[-1]}]
    elif rng.random() < 0.1 and isinstance(sample[0], torch.Tensor):
        return [RandomLatentShift("any", pack=pack, p=1.0)(sample[0])], sample
    return shift(*sample), sample


def leaves(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [leaf for each in value for leaf in leaves(each)]
    return [value]


def is_like(leaf, image):
    """Whether a leaf has an image's sides and channels; kornia makes a batch of one image."""
    return isinstance(image, torch.Tensor) and leaf.shape[-3:] == image.shape[-3:]


def attack(pack, count, seed):
    rng, outcomes = random.Random(seed), {"refused": 0, "shifted": 0}
    torch.manual_seed(seed)
    for number in range(count):
        try:
            output, sample = shifted(rng, pack)
        except UserError as error:
            assert 10 < len(str(error)) < 3100 and all(char == "\n" or char.isprintable() for char in str(error)), (
                number
            )
            outcomes["refused"] += 1
            continue
        except Exception as error:  # named with what makes it again
            pytest.fail(f"attack {number} of seed {seed}: {type(error).__name__}: {error}")
        image = leaves(sample)[0]
        shifts = [leaf for leaf in leaves(output) if isinstance(leaf, torch.Tensor) and is_like(leaf, image)]
        assert shifts or not isinstance(image, torch.Tensor), number
        for leaf in shifts:  # labels of three dimensions are none, and come back as they were
            if leaf.is_floating_point() and leaf.numel():
                assert leaf.isfinite().all() and leaf.min() >= -0.02 and leaf.max() <= 1.02, number
        outcomes["shifted"] += 1
    assert min(outcomes.values()) > count / 20, outcomes


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize(("count", "seed"), OFTEN)
def test_odd_samples_and_arguments_are_shifted_or_refused(inverting_pack, quiet, count, seed):
    attack(inverting_pack, count, seed)
