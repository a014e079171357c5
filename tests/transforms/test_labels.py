"""Finding labels in a sample, and checking them."""

import re

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from ganaug.errors import TransformError
from ganaug.inversion import Latents
from ganaug.transforms.labels import checked_classes, find_labels

IMAGES, LABELS = torch.rand(4, 3, 8, 8), torch.arange(4)


@pytest.mark.parametrize(
    "sample",
    [
        (IMAGES, LABELS),
        [IMAGES, LABELS, "more"],
        {"image": IMAGES, "label_of_a_kind": torch.zeros(4), "LABELS": LABELS},
        {"image": IMAGES, "fine_Label": LABELS, "labelled": torch.zeros(4)},
        (IMAGES, {"weights": torch.zeros(4), "labels": LABELS}),
    ],
    ids=["pair", "list", "labels before others", "the first with label in it", "target"],
)
def test_labels_stand_where_cutmix_looks_for_them(sample):
    assert find_labels(sample) is LABELS
    mixed = find_labels(v2.CutMix(num_classes=4)(sample))
    assert mixed.shape == (4, 4), "CutMix mixed the same labels"


@pytest.mark.parametrize(
    "sample",
    [IMAGES, (IMAGES,), [], (IMAGES, Latents(torch.zeros(4, 8))), {"image": IMAGES, 3: LABELS}, (IMAGES, {}), "labels"],
    ids=["images", "alone", "nothing", "latents", "no such key", "empty target", "a word"],
)
def test_where_none_stand_none_are_found(sample):
    assert find_labels(sample) is None


def test_a_getter_of_ones_own_or_none():
    assert find_labels({"y": LABELS}, lambda sample: sample["y"]) is LABELS
    assert find_labels((IMAGES, LABELS), None) is None


@pytest.mark.parametrize(
    "labels", [LABELS, LABELS.int(), LABELS.tolist(), LABELS.numpy(), torch.eye(10)[:4], np.eye(10)[:4], (0, 1, 2, 3)]
)
def test_classes_of_labels_of_any_kind(labels):
    classes = checked_classes(labels, 4, 10)
    assert classes.dtype == torch.int64 and torch.equal(classes, LABELS)


def test_one_image_and_no_labels():
    assert checked_classes(7, 1, 10).tolist() == checked_classes(torch.tensor(7), 1, 10).tolist() == [7]
    assert checked_classes(np.int16(7), 1, 10).tolist() == [7]
    assert checked_classes(torch.eye(10)[7], 1, 10).tolist() == [7]
    assert checked_classes(None, 1, 10) is None and checked_classes(LABELS, 4, 0) is None
    with pytest.raises(TransformError, match="no labels were found in the sample, and the bank needs them"):
        checked_classes(None, 1, 10, needed_by="the bank")


def test_mixed_labels_are_taken_only_where_that_is_possible():
    soft = torch.tensor([[0.3, 0.7], [0.6, 0.4]])
    assert checked_classes(soft, 2, 2, mixed=True).tolist() == [1, 0]
    with pytest.raises(TransformError, match="row 1 is mixed"):
        checked_classes(soft, 2, 2)


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (torch.tensor([1.0, 2, 3]), "labels.long()"),
        (torch.tensor([[1], [2], [3]]), "labels.flatten()"),
        (torch.tensor([[1.0], [2], [3]]), "labels.flatten().long()"),
        (torch.tensor([[1, 2, 3]]), "labels.flatten()"),
        (torch.tensor([True, False, True]), "labels.long()"),
        ([1.0, 2.0, 3.0], "labels.long()"),
    ],
)
def test_labels_in_all_but_type_or_shape_come_with_the_line_that_converts(labels, line):
    with pytest.raises(TransformError, match=re.escape(f"If these are class indices, {line} makes them so.")):
        checked_classes(labels, 3, 5)


@pytest.mark.parametrize("labels", [torch.tensor([0.5, 2, 3]), torch.rand(3, 4), torch.tensor([1 + 2j] * 3)])
def test_what_no_line_converts_gets_none(labels):
    with pytest.raises(TransformError) as caught:
        checked_classes(labels, 3, 5)
    assert "makes them so" not in str(caught.value)


@pytest.mark.parametrize("label", [3, torch.tensor(3), torch.tensor([3]), [3], np.int64(3), torch.tensor(3).int()])
def test_one_label_beside_one_image_is_a_class_in_any_form(label):
    classes = checked_classes(label, 1, 5)
    assert classes.dtype == torch.int64 and classes.tolist() == [3]
    for wrong in (5, -1, 255):
        other = type(label)([wrong]) if isinstance(label, list) else torch.tensor(wrong)
        with pytest.raises(TransformError, match="from 0 to 4"):
            checked_classes(other, 1, 5)
