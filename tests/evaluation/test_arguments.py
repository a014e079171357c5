"""What can't be measured, or not with that, is refused in a sentence that says what came and what to do."""

import pytest
import torch

from ganaug.errors import EvaluationError
from ganaug.evaluation import (
    ConvNet,
    describe,
    evaluate,
    evaluate_inverted,
    find_object,
    predict,
    pseudo_masks,
    train_classifier,
    train_segmenter,
)
from ganaug.evaluation.judges import Segmenter
from ganaug.evaluation.masks import object_masks

IMAGES = torch.randint(256, (6, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6) % 2
MASKS = (IMAGES[:, :1] > 127).byte() * 255

WRONG_IMAGES = {
    "float": (IMAGES / 255, r"uint8.*, got torch\.float32.*signed_to_uint8"),
    "int": (IMAGES.long(), r"got torch\.int64"),
    "one image": (IMAGES[0], r"shape \(N, C, H, W\).*got shape \(3, 16, 16\)"),
    "none": (IMAGES[:0], "1 or more; got 0"),
    "array": (IMAGES.numpy(), "got ndarray"),
}
WRONG_LABELS = {
    "float": (LABELS.float(), r"int64 from 0.*got torch\.float32"),
    "too few": (LABELS[:3], r"\(6,\).*got torch\.int64 of shape \(3,\)"),
    "column": (LABELS[:, None], r"shape \(6, 1\)"),
    "ignored": (LABELS - 1, "got -1. Leave images without a label out"),
    "list": (LABELS.tolist(), "got list"),
}
WRONG_MASKS = {
    "bool": (MASKS > 0, r"got torch\.bool\. Convert them: \(masks > 0\)\.byte\(\) \* 255"),
    "0 and 1": (MASKS // 255, r"values from 0 to 1\. Convert them: \(masks > 0\)"),
    "float": (MASKS / 255, r"got torch\.float32\. Convert"),
    "no channel": (MASKS[:, 0], r"\(6, 1, 16, 16\).*got shape \(6, 16, 16\)"),
    "another count": (MASKS[:5], r"got shape \(5, 1, 16, 16\)"),
    "another size": (MASKS[..., :8], r"got shape \(6, 1, 16, 8\)"),
}


@pytest.mark.parametrize("case", WRONG_IMAGES)
def test_images_of_another_kind_are_refused(case):
    images, message = WRONG_IMAGES[case]
    with pytest.raises(EvaluationError, match=message):
        train_classifier(images, LABELS[: len(images)], steps=1)
    with pytest.raises(EvaluationError, match=message):
        train_segmenter(images, MASKS[: len(images)], steps=1)


@pytest.mark.parametrize("case", WRONG_LABELS)
def test_labels_of_another_kind_are_refused(case):
    labels, message = WRONG_LABELS[case]
    with pytest.raises(EvaluationError, match=message):
        train_classifier(IMAGES, labels, steps=1)


@pytest.mark.parametrize("case", WRONG_MASKS)
def test_masks_of_another_kind_are_refused(case):
    masks, message = WRONG_MASKS[case]
    with pytest.raises(EvaluationError, match=message):
        train_segmenter(IMAGES, masks, steps=1)


@pytest.mark.parametrize(("judge", "read"), [(ConvNet(3, 2), predict), (Segmenter(3), find_object)])
def test_judges_read_what_they_learned_on(judge, read):
    judge = judge.eval()
    assert len(read(judge, IMAGES)) == len(read(judge, IMAGES / 127.5 - 1)) == 6
    for images, message in (
        (IMAGES[0], r"got shape \(3, 16, 16\)"),
        (IMAGES[:, :1], r"\(N, 3, H, W\).*got shape \(6, 1, 16, 16\)"),
        (IMAGES.float(), r"got floats from .* to 255"),
        (IMAGES > 3, r"got torch\.bool"),
        (IMAGES[:0], "got 0"),
    ):
        with pytest.raises(EvaluationError, match=message):
            read(judge, images)
    with pytest.raises(EvaluationError, match="batch_size should be a whole number of at least 1, got 0"):
        read(judge, IMAGES, batch_size=0)


def test_sides_that_a_segmenter_can_not_take_are_named():
    with pytest.raises(EvaluationError, match="whose sides 4 divides, got 15 x 16"):
        train_segmenter(IMAGES[:, :, :15], MASKS[:, :, :15], steps=1)
    with pytest.raises(EvaluationError, match="whose sides 4 divides, got 16 x 14"):
        find_object(Segmenter(3).eval(), IMAGES[..., :14])


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, None, "3"])
def test_counts_that_are_none_are_refused(pack, inverting_pack, data_root, wrong):
    where = f"digits:{data_root}"
    for measure in (
        lambda: train_classifier(IMAGES, LABELS, steps=wrong),
        lambda: train_segmenter(IMAGES, MASKS, batch_size=wrong),
        lambda: pseudo_masks(pack, 0, wrong),
        lambda: pseudo_masks(pack, 0, 2, batch_size=wrong),
        lambda: evaluate(pack, where, samples=wrong),
        lambda: evaluate(pack, where, judge_steps=wrong),
        lambda: evaluate_inverted(inverting_pack, where, direction=0, samples=wrong),
        lambda: describe(pack, samples=wrong),
    ):
        with pytest.raises(EvaluationError, match="should be a whole number of at least 1, got"):
            measure()


@pytest.mark.parametrize("wrong", [(3, -3), (0, float("nan")), (1,), 2.0, (1, 2, 3), "ab"])
def test_intervals_that_are_none_are_refused(pack, data_root, wrong):
    with pytest.raises(EvaluationError, match=r"interval should be \(low, high\), finite and low <= high"):
        evaluate(pack, f"digits:{data_root}", interval=wrong)
    with pytest.raises(EvaluationError, match="magnitudes should be"):
        pseudo_masks(pack, 0, 2, magnitudes=wrong)


@pytest.mark.parametrize("wrong", [0, -0.5, 1.5, float("nan"), True])
def test_rates_that_are_none_are_refused(pack, data_root, wrong):
    with pytest.raises(EvaluationError, match="rate is a share of labels"):
        evaluate(pack, f"digits:{data_root}", rate=wrong)


def test_other_numbers_out_of_range_are_refused(pack):
    for arguments, message in (
        ({"shifts": 1}, "two shifts are needed, not 1 and 1"),
        ({"shifts": 2.5}, "not 1 and 2.5"),
        ({"threshold": 1.0}, "less than 1, got 1.0"),
        ({"threshold": float("nan")}, "less than 1, got nan"),
        ({"area": (0.5, 0.1)}, "area should be"),
        ({"area": (-1, 0.1)}, "area should be two shares"),
    ):
        with pytest.raises(EvaluationError, match=message):
            pseudo_masks(pack, 0, 2, **arguments)
    for magnitude in (0, -1, float("inf"), float("nan"), "3"):
        with pytest.raises(EvaluationError, match="magnitude should be a finite number above 0"):
            describe(pack, magnitude=magnitude)
    with pytest.raises(EvaluationError, match="samples should be 2 or more"):
        describe(pack, samples=1)
    for shifted in (torch.zeros(2, 3, 8, 8), torch.zeros(1, 2, 3, 8, 8), torch.zeros(2, 2, 3, 8, 8).byte(), [1]):
        with pytest.raises(EvaluationError, match=r"\(shifts, N, C, H, W\), two shifts or more; got"):
            object_masks(shifted)
