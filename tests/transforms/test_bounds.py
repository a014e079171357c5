"""Values that came from outside: what lies out of bounds is refused."""

import math

import numpy as np
import pytest
import torch

from ganaug.errors import TransformError
from ganaug.images import check_kind
from ganaug.transforms import LatentShift
from ganaug.transforms.bounds import Bounds, check_images
from ganaug.transforms.labels import checked_classes

LEVELS = torch.arange(256, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("dtype", "over"),
    [(torch.float64, 5e-4), (torch.float32, 5e-4), (torch.float16, 5e-3), (torch.bfloat16, 8e-3)],
)
def test_the_range_of_images_is_checked_up_to_rounding(dtype, over):
    check_images(torch.tensor([0, 1 + over]).to(dtype), Bounds())
    check_images(torch.empty(0, dtype=dtype), Bounds())
    for values in ([0, 1.1], [-0.1, 1], [math.nan], [math.inf], [0.5, math.nan, 0.5]):
        with pytest.raises(TransformError, match=r"should be in \[0, 1\], got values from .*before v2.Normalize"):
            check_images(torch.tensor(values).to(dtype), Bounds())


FOREIGN = {
    "float8": torch.rand(1, 3, 8, 8).to(torch.float8_e4m3fn),
    "float8 of another kind": torch.rand(1, 3, 8, 8).to(torch.float8_e5m2),
    "integers": torch.zeros(1, 3, 8, 8, dtype=torch.int64),
    "16 bits": torch.zeros(1, 3, 8, 8, dtype=torch.uint16),
    "truths": torch.zeros(1, 3, 8, 8, dtype=torch.bool),
    "complex": torch.zeros(1, 3, 8, 8, dtype=torch.complex64),
    "sparse": torch.rand(1, 3, 8, 8).to_sparse(),
    "nested": torch.nested.nested_tensor([torch.rand(3, 8, 8)]),
    "meta": torch.zeros(1, 3, 8, 8, device="meta"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_images_of_kinds_that_hold_none_are_one_sentence(inverting_pack, kind):
    with pytest.raises(TransformError, match="images should be "):
        check_kind(FOREIGN[kind])
    for source in ("sample", "invert"):
        with pytest.raises(TransformError):
            LatentShift("background", pack=inverting_pack, p=1, source=source)(FOREIGN[kind], torch.tensor([1]))


PLAIN = np.array([3, 0, 4], dtype=np.int64)


@pytest.mark.parametrize(
    "labels",
    [
        *(PLAIN.astype(kind) for kind in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", ">i4", ">u2", ">i8", "<i2")),
        PLAIN[::-1].copy()[::-1],
        np.repeat(PLAIN, 2)[::2],
        *(torch.tensor([3, 0, 4]).to(kind) for kind in (torch.uint16, torch.uint32, torch.uint64, torch.int16)),
        torch.tensor([3, 9, 0, 9, 4])[::2],
        [np.uint16(3), np.int8(0), 4],
        (3, 0, 4),
    ],
    ids=str,
)
def test_ordinary_labels_of_any_type_are_classes(labels):
    classes = checked_classes(labels, 3, 5)
    assert classes.dtype == torch.int64 and classes.tolist() == [3, 0, 4]


@pytest.mark.parametrize("label", [2**80, -(2**80), 2**63, 2**64 - 1, 10**400])
def test_labels_beyond_all_numbers_are_one_sentence(label):
    for labels in (label, [label], [0, label]):
        with pytest.raises(TransformError) as caught:
            checked_classes(labels, 1 if labels is label else len(labels), 5)
        assert len(str(caught.value)) < 600
    if 0 <= label < 2**64:
        with pytest.raises(TransformError):
            checked_classes(np.array([label], dtype=np.uint64), 1, 5)


@pytest.mark.parametrize("magnitude", [1e39, -1e39, (0, 1e39), 1e300, 1e5])
def test_magnitudes_beyond_all_images_are_refused(pack, magnitude):
    with pytest.raises(TransformError, match="magnitude should be"):
        LatentShift("background", pack=pack, magnitude=magnitude)


@pytest.mark.parametrize("weights", [[1e308, 1e308], [1e39, 1], [1e-300, 1e300], [1e-50, 1e-50], [5e-324, 0]])
def test_weights_of_any_size_are_shares(pack, weights):
    shift = LatentShift([2, 4], pack=pack, weights=weights)
    drawn = set(shift.make_params([torch.zeros(200, 3, 32, 32), torch.zeros(200).long()])["indices"].tolist()) - {-1}
    assert drawn <= {2, 4} and (weights[0] != weights[1] or drawn == {2, 4})
