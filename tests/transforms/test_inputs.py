"""What comes into LatentShift: images of every kind and number, class names, params."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2

from ganaug.errors import TransformError
from ganaug.inversion import Latents
from ganaug.transforms import LatentBank, LatentShift

RNG = torch.Generator().manual_seed(0)
BATCH, ONE, LABELS = torch.rand(4, 3, 32, 32, generator=RNG), torch.rand(3, 32, 32, generator=RNG), torch.arange(4)
OTHER = torch.rand(3, 96, 64, generator=RNG)
PIL = v2.functional.to_pil_image(OTHER)
WAY = r"\[shift\(v\) for v in views\].*views=True"


def picture(width=24, height=20, mode="RGB", seed=0):
    values = np.random.default_rng(seed).integers(60, 190, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


@pytest.fixture
def shift(inverting_pack):
    return LatentShift("background", pack=inverting_pack, p=1, magnitude=3)


SECOND = {
    "a pair": (ONE, OTHER),
    "the same one twice": (ONE, ONE),
    "a pair and its label": (ONE, OTHER, 3),
    "a list of views": ([ONE, ONE + 0], 3),
    "a list alone": [[ONE, OTHER]],
    "batches of views": ([BATCH, BATCH + 0], LABELS),
    "beside a batch": (BATCH, LABELS, BATCH.flip(0)),
    "a batch of crops": (BATCH, LABELS, torch.rand(4, 3, 16, 16)),
    "a batch of bytes": (BATCH, LABELS, torch.zeros(4, 1, 16, 16, dtype=torch.uint8)),
    "a mean image": (BATCH, LABELS, ONE),
    "masks as integers": (BATCH, LABELS, torch.zeros(4, 32, 32, dtype=torch.int64)),
    "in a dictionary": ({"image": ONE, "label": 3, "depth": torch.rand(1, 32, 32)},),
    "deep down": ({"image": ONE, "label": 3, "more": [{"views": (1, OTHER)}]},),
    "beside a tv_tensor": (tv_tensors.Image(ONE), 3, OTHER),
    "two tv_tensors": (tv_tensors.Image(ONE), tv_tensors.Image(OTHER)),
    "two PIL images": (PIL, picture(), 3),
    "a PIL image and a tensor": ({"image": PIL, "other": OTHER, "label": 3},),
    "PIL views in a list": ([PIL, picture()], 3),
}


@pytest.mark.parametrize("case", SECOND)
@pytest.mark.parametrize("p", [0, 1])
def test_a_second_image_is_refused_and_the_way_named(inverting_pack, case, p):
    with pytest.raises(TransformError, match=WAY):
        LatentShift("background", pack=inverting_pack, p=p)(*SECOND[case])


@pytest.mark.parametrize("images", [[PIL, picture()], [ONE, ONE], (ONE, ONE)])
@pytest.mark.parametrize("labels", [[3, 4, 5], torch.tensor([3, 4, 5])])
def test_a_list_of_images_with_another_number_of_labels_is_refused(shift, images, labels):
    with pytest.raises(TransformError, match="a list of 2 images and 3 labels"):
        shift({"image": images, "label": labels})


@pytest.mark.parametrize("sample", [(), [], {}, ([], []), {"image": [], "label": []}])
def test_an_empty_sample_is_refused_as_such(shift, sample):
    with pytest.raises(TransformError, match="the sample is empty"):
        shift(sample)


def test_what_is_no_image_may_stand_beside_one(shift):
    beside = [
        torch.rand(4, 77, 60),
        torch.rand(4, 6, 4),
        torch.rand(4, 5),
        torch.rand(9),
        np.zeros((4, 3, 2)),
        "a",
        None,
    ]
    output = shift(BATCH, LABELS, *beside)
    assert all(out is given for out, given in zip(output[2:], beside, strict=True))
    assert shift({"image": ONE, "label": 1, "boxes": torch.rand(5, 3, 4), "text": torch.rand(77, 60)})["label"] == 1


def test_views_are_shifted_each_by_draws_of_its_own(inverting_pack):
    views = LatentShift("any", pack=inverting_pack, p=1, views=True, return_params=True)
    torch.manual_seed(0)
    (first, second, label), params = views(ONE, OTHER, 3)
    one = LatentShift("any", pack=inverting_pack, p=1)
    torch.manual_seed(0)
    assert torch.equal(first, one(ONE, 3)[0]) and torch.equal(second, one(OTHER, 3)[0]) and label == 3
    assert len(params) == 2 and params[0]["magnitudes"] != params[1]["magnitudes"]
    assert [p["classes"].tolist() for p in params] == [[3], [3]]


def test_views_of_batches_in_lists_and_dictionaries(inverting_pack):
    views = LatentShift("background", pack=inverting_pack, p=1, views=True, return_params=True)
    ([a, b], labels), params = views([BATCH, BATCH.clone()], LABELS)
    assert not torch.equal(a, b) and labels is LABELS and [p["source"] for p in params] == ["sample"] * 2
    output, _ = views({"view1": PIL, "more": {"view2": picture()}, "label": 3})
    assert output["view1"].size == PIL.size and output["view1"].tobytes() != PIL.tobytes()
    assert output["more"]["view2"].tobytes() != picture().tobytes()
    pairs, params = views({"one": [picture(), PIL], "two": [PIL, picture()], "label": [3, 4]})
    assert len(params) == 2 and all(p["classes"].tolist() == [3, 4] for p in params)
    assert [image.size for image in pairs["two"]] == [PIL.size, picture().size]
    single, params = views(BATCH, LABELS)
    assert len(params) == 1 and single[1] is LABELS
    with pytest.raises(TransformError, match="labels should be"):
        views([ONE, OTHER], [1, 2, 3])


def test_views_with_stored_latents(inverting_pack):
    views = LatentShift("background", pack=inverting_pack, p=1, views=True, return_params=True)
    z = Latents(torch.randn(2, 8))
    for stored, wanted in (([z[0]], [0, 0]), ([z[0], z[1]], [0, 1])):
        params = views(ONE, OTHER, 3, *stored)[1]
        assert all(torch.equal(p["latents"][0], z[k]) for p, k in zip(params, wanted, strict=True))


# -- lists of images ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["sample", "invert"])
@pytest.mark.parametrize("kind", ["PIL", "tensors", "bytes"])
def test_lists_of_images_of_any_sizes_are_a_batch(inverting_pack, source, kind):
    pictures = [picture(24, 20), picture(40, 48, seed=1), picture(24, 20, seed=2)]
    if kind != "PIL":
        pictures = [v2.functional.pil_to_tensor(image) for image in pictures]
        pictures = [image / 255 for image in pictures] if kind == "tensors" else pictures
    shift = LatentShift("background", pack=inverting_pack, p=1, source=source, magnitude=3, return_params=True)
    sample = {"image": list(pictures), "label": [1, 2, 3]}
    torch.manual_seed(0)
    output, params = shift(sample)
    assert params["classes"].tolist() == [1, 2, 3] and params["source"] == source
    assert output["label"] is sample["label"] or output["label"] == [1, 2, 3]
    for before, after, row in zip(pictures, output["image"], range(3), strict=True):
        assert type(after) is type(before)
        alone = {name: value[[row]] if name != "source" else value for name, value in params.items()}
        expected, one = shift.transform(before, alone), after
        if kind == "PIL":
            assert (after.mode, after.size) == (before.mode, before.size)
            expected, one = v2.functional.pil_to_tensor(expected), v2.functional.pil_to_tensor(after)
        torch.testing.assert_close(
            one.float(), expected.float(), atol=1.0 if one.dtype == torch.uint8 else 1e-5, rtol=0
        )


def test_a_list_is_shifted_as_a_batch_of_these_images_is(inverting_pack):
    shift = LatentShift("any", pack=inverting_pack, p=0.5, source="invert")
    torch.manual_seed(0)
    expected = shift(BATCH, LABELS)[0]
    torch.manual_seed(0)
    torch.testing.assert_close(torch.stack(shift([*BATCH], LABELS)[0]), expected)


def test_lists_without_labels_of_one_and_of_greys(inverting_pack, tmp_path):
    shift = LatentShift("background", pack=inverting_pack, p=1, return_params=True)
    (first, second), params = shift([picture(), picture(40, 30, "L")])
    assert params["source"] == "invert" and (first.mode, second.mode, second.size) == ("RGB", "L", (40, 30))
    assert shift({"image": [picture()], "label": [3]})[1]["source"] == "sample", "the last batch, of one"
    assert shift((picture(), picture()), (3, 4))[1]["classes"].tolist() == [3, 4], "zip(*samples)"
    same = picture()
    (one, two), _ = shift({"image": [same, same], "label": [3, 4]})[0]["image"], None
    assert one.tobytes() != two.tobytes()
    bank = LatentBank.build(inverting_pack, "background", 20, tmp_path / "bank.safetensors", show_progress=False)
    assert LatentShift(bank=bank, p=1)([picture(), picture(9, 8)], [1, 2])[0][1].size == (9, 8)
    with pytest.raises(TransformError, match="mode RGB or L, got RGBA"):
        shift({"image": [picture(), picture(mode="RGBA")], "label": [3, 4]})


ARRAYS = {
    "one": (np.zeros((32, 32, 3), np.uint8), 3),
    "one in grey": (np.zeros((28, 28), np.uint8),),
    "one in a dictionary": ({"image": np.zeros((32, 32, 3), np.float32), "label": 3},),
    "a batch": (np.zeros((4, 32, 32, 3), np.uint8), LABELS),
    "beside an image": (PIL, np.zeros((40, 40, 3), np.uint8), 3),
    "beside a batch": (BATCH, LABELS, np.zeros((4, 32, 32), np.int64)),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_are_refused_with_the_line_that_converts(shift, case):
    line = r"torch.from_numpy\(images\).permute" if case == "a batch" else r"v2.ToImage\(\)\(image\)"
    with pytest.raises(TransformError, match=line):
        shift(*ARRAYS[case])
    array = ARRAYS["one"][0]
    assert shift(v2.ToImage()(array), 3)[0].shape == (3, 32, 32)


# -- grey and colour ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["sample", "invert"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
def test_grey_images_are_shifted_in_colour_and_come_out_grey(inverting_pack, source, dtype):
    grey = v2.functional.to_dtype(BATCH[:, :1] * 0.5 + 0.25, dtype, scale=True)
    shift = LatentShift("background", pack=inverting_pack, p=0.5, source=source, magnitude=3, return_params=True)
    torch.manual_seed(1)
    (shifted, _), params = shift(grey, LABELS)
    assert shifted.shape == grey.shape and shifted.dtype == dtype
    moved = (shifted != grey).flatten(1).any(1)
    assert torch.equal(moved, params["replace"]) and 0 < moved.sum() < 4, "the others are not touched"
    colour = shift.transform(grey.expand(-1, 3, -1, -1), params)
    luma = (colour.float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    torch.testing.assert_close(shifted.float(), luma, atol=1.0 if dtype == torch.uint8 else 2e-3, rtol=0)
    still = LatentShift("background", pack=inverting_pack, p=1, source="invert", magnitude=0)
    assert (still(grey, LABELS)[0].float() - grey.float()).abs().max() <= (0 if dtype == torch.uint8 else 1e-3)


def test_grey_pil_images_stay_grey_and_colour_is_no_grey_packs(inverting_pack, grey_pack):
    out, label = LatentShift("background", pack=inverting_pack, p=1, magnitude=4)(picture(mode="L"), 7)
    assert out.mode == "L" and out.size == (24, 20) and label == 7 and out.tobytes() != picture(mode="L").tobytes()
    shift = LatentShift("slant", pack=grey_pack)
    with pytest.raises(TransformError, match=r"1 channel\(s\), got 3 in a PIL image.*v2.Grayscale\(\)"):
        shift(picture())
    with pytest.raises(TransformError, match=r"got 4 .*\[\.\.\., :3, :, :\], then v2.Grayscale\(\)"):
        shift(torch.rand(4, 4, 32, 32))


# -- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["target", "Targets", "y", "cls", "class", "label_ids", "coarse_label", "category_id"])
def test_labels_under_the_names_that_data_sets_use(inverting_pack, key):
    shift = LatentShift("background", pack=inverting_pack, p=1, return_params=True)
    for sample in ({key: LABELS, "image": BATCH}, (BATCH, {"path": "a", key: LABELS.tolist()})):
        params = shift(sample)[1]
        assert params["source"] == "sample" and torch.equal(params["classes"], LABELS)


UNCLEAR = {
    "another key": ({"image": BATCH, "digit": LABELS}, "'digit'"),
    "another key of one": ({"image": ONE, "gt": 3}, "'gt'"),
    "one-hot under another key": ({"image": BATCH, "truth": F.one_hot(LABELS, 10)}, "'truth'"),
    "behind None": ((BATCH, None, LABELS), r"sample\[2\]"),
    "before the image": ((3, PIL), r"sample\[0\]"),
    "in the first part": (({"image": BATCH, "label": LABELS}, {"path": "a"}), r"sample\[0\]\['label'\]"),
    "behind latents": ((BATCH, Latents(torch.zeros(4, 8)), LABELS.numpy()), r"sample\[2\]"),
    "a list": ({"image": BATCH, "answers": [1, 2, 3, 4]}, "'answers'"),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_what_might_be_labels_is_not_passed_over(inverting_pack, case):
    sample, place = UNCLEAR[case]
    with pytest.raises(TransformError, match=f"{place}.* might be labels.*labels_getter=lambda sample.*None says"):
        LatentShift("background", pack=inverting_pack)(sample)
    alone = LatentShift("background", pack=inverting_pack, p=1, labels_getter=None, return_params=True)
    assert alone(sample)[1]["source"] == "invert"


def test_what_can_be_no_labels_is_passed_over(inverting_pack, grey_pack):
    shift = LatentShift("background", pack=inverting_pack, p=1, return_params=True)
    for sample in (
        {"image": BATCH, "index": LABELS, "image_id": LABELS, "weights": torch.rand(4), "path": ["a"] * 4},
        {"image": ONE, "height": 32, "file_name": "a.png", "score": 0.5, "flag": True},
        (BATCH, None, torch.rand(4, 5)),
    ):
        assert shift(sample)[1]["source"] == "invert"
    assert LatentShift("slant", pack=grey_pack)({"image": BATCH[:, :1], "digit": LABELS})["digit"] is LABELS


@pytest.mark.parametrize("labels", [[1, -1, 2, 3], [1, -100, 2, 3], [1, 255, 2, 3], np.array([-7, 1, 2, 3])])
@pytest.mark.parametrize("source", ["auto", "invert", "sample"])
def test_labels_that_say_ignore_are_refused_and_the_way_named(inverting_pack, labels, source):
    shift = LatentShift("background", pack=inverting_pack, source=source)
    for given in (labels, torch.as_tensor(labels), {"label": labels}):
        with pytest.raises(TransformError, match=r"to be ignored: leave them out \(keep = .*labels_getter"):
            shift(BATCH, given)
    with pytest.raises(TransformError, match="to be ignored"):
        shift([*BATCH], labels)
    labels = torch.as_tensor(labels)
    keep = (labels >= 0) & (labels != 255)
    assert len(shift(BATCH[keep], labels[keep])[0]) == 3, "the way that the message names"


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.int32, torch.bool])
def test_one_hot_rows_of_any_type(inverting_pack, dtype):
    shift = LatentShift("background", pack=inverting_pack, p=1, magnitude=3)
    hot = F.one_hot(LABELS, 10).to(dtype)
    torch.manual_seed(0)
    expected = shift(BATCH, LABELS)[0]
    torch.manual_seed(0)
    shifted, same = shift(BATCH, hot)
    assert torch.equal(shifted, expected) and same is hot
    assert torch.equal(shift(ONE, hot[2])[0], shift(ONE, 2)[0])
    assert v2.CutMix(num_classes=10)(*shift(BATCH, F.one_hot(LABELS, 10).float()))[1].shape == (4, 10)
    for wrong in (hot + hot.flip(0), torch.zeros_like(hot)):
        with pytest.raises(TransformError, match="a single 1 in each row"):
            shift(BATCH, wrong)


# -- names of classes -----------------------------------------------------------------------------------------------

NAMES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture
def named(inverting_pack):
    """A pack whose generator knows what its classes are called."""
    inverting_pack.generator.class_names = NAMES
    yield inverting_pack
    del inverting_pack.generator.class_names


def drawn(pack, labels, images=BATCH, **options):
    return LatentShift("background", pack=pack, p=1, return_params=True, **options)(images, labels)[1][
        "classes"
    ].tolist()


def test_names_are_labels_of_a_pack_that_knows_them(named):
    for words in (["cat", "dog", "plane", "truck"], np.array(["Cat", "DOG", "plane", "truck"])):
        assert drawn(named, words) == [3, 5, 0, 9]
    assert drawn(named, "ship", ONE) == [8] and drawn(named, ("cat", "cat"), [PIL, PIL]) == [3, 3]
    with pytest.raises(TransformError, match="the labels 'cow' are none of the classes 'plane', 'car'"):
        drawn(named, ["cat", "cow", "dog", "dog"])
    with pytest.raises(TransformError, match=r"sample\['species'\] might be labels"):
        LatentShift("background", pack=named)({"image": ONE, "species": "bird", "caption": "a bird"})


def test_labels_of_a_data_set_with_an_order_of_its_own(named):
    classes = ["Bird", "car", "plane"]
    assert drawn(named, torch.tensor([0, 1, 2, 0]), classes=classes) == [2, 1, 0, 2]
    assert drawn(named, torch.eye(3)[[0, 1, 2, 0]], classes=classes) == [2, 1, 0, 2]
    assert drawn(named, ["plane", "bird", "Bird", "car"], classes=classes) == [0, 2, 2, 1]
    assert drawn(named, 1, ONE, classes=classes) == [1]
    with pytest.raises(TransformError, match=r"from 0 to 2, .* got values from 0 to 3"):
        drawn(named, LABELS, classes=classes)
    with pytest.raises(TransformError, match="'truck' are none of the classes 'Bird', 'car', 'plane' of classes="):
        drawn(named, ["truck"] * 4, classes=classes)


def test_numerals_stand_for_numbers_where_the_pack_has_no_names(inverting_pack):
    classes = sorted(str(number) for number in range(10))[::-1]
    assert drawn(inverting_pack, LABELS, classes=classes) == [9, 8, 7, 6]
    assert drawn(inverting_pack, ["3", "1", "0", "7"], classes=classes) == [3, 1, 0, 7]
    with pytest.raises(TransformError, match=r"Names of classes need a pack that knows them, or classes="):
        drawn(inverting_pack, ["3", "1", "0", "7"])


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["plane", "zebra"], "does not draw the classes 'zebra'. The data set's are 'plane', 'zebra'; .*'truck'"),
        (["plane", "Plane"], "the same one of 'plane'"),
        (["plane", "plane"], "each once"),
        ("plane", "a list of the data set's class names.*got 'plane'"),
        ([0, 1], r"got \[0, 1\]"),
        ([], r"got \[\]"),
    ],
)
def test_class_names_that_do_not_fit_are_refused(named, grey_pack, classes, message):
    with pytest.raises(TransformError, match=message):
        LatentShift("background", pack=named, classes=classes)
    with pytest.raises(TransformError, match=r"draws no classes|a list of the data set's class names"):
        LatentShift("slant", pack=grey_pack, classes=classes)


def test_class_names_without_names_in_the_pack_are_refused(inverting_pack):
    for classes in (["plane", "car"], ["0", "1", "ten"], ["10"], ["01"]):
        with pytest.raises(TransformError, match=r"does not draw the classes .*are 0 to 9, without names"):
            LatentShift("background", pack=inverting_pack, classes=classes)


# -- params ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_ops", [1, 2])
@pytest.mark.parametrize("p", [0, 0.5, 1])
def test_params_are_always_tensors_that_collate(inverting_pack, grey_pack, p, num_ops):
    for pack, image, labels in (
        (inverting_pack, ONE, []),
        (inverting_pack, ONE, [3]),
        (grey_pack, ONE[:1], []),
        (grey_pack, ONE[:1], [3]),
    ):
        shift = LatentShift("any", pack=pack, p=p, num_ops=num_ops, return_params=True)
        each = [shift(image, *labels)[1] for _ in range(3)]
        assert all(isinstance(value, torch.Tensor) for name, value in each[0].items() if name != "source")
        for params in each:
            assert params["classes"].dtype == torch.int64 and params["classes"].shape == (1,)
            assert params["magnitudes"].shape == params["indices"].shape == ((1,) if num_ops == 1 else (1, 2))
            known = bool(pack.num_classes) and (bool(labels) or bool(params["replace"]))
            assert (params["classes"] >= 0).all() == known
        assert default_collate(each)["classes"].shape == (3, 1)
    assert LatentShift("any", pack=inverting_pack).make_params([BATCH])["classes"].tolist() == [-1] * 4


# -- what a stranger stumbled over ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_the_shipped_packs_defaults_warn_of_nothing(name, recwarn):
    LatentShift("any", pack=name)
    assert not [each for each in recwarn if "beyond the ranges" in str(each.message)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda latents: latents * float("nan"), "should be finite"),
        (lambda latents: latents / 0, "should be finite"),
        (lambda latents: Latents(latents.to("meta")), "should be finite"),
        (lambda latents: latents[:3], r"got \(3, 8\)\. There should be one for each image"),
        (lambda latents: latents[:, :5], "belong to another generator"),
    ],
)
def test_stored_latents_that_are_none_of_these_images_are_refused(inverting_pack, change, message):
    images, latents = torch.rand(4, 3, 32, 32), Latents(torch.randn(4, 8))
    shift = LatentShift("background", pack=inverting_pack, p=1, source="invert")
    with pytest.raises(TransformError, match=message):
        shift(images, torch.arange(4), Latents(change(latents)))


@pytest.mark.parametrize(
    "turn", [lambda each: each.t(), lambda each: each.T, lambda each: each.permute(1, 0), lambda each: each.mT]
)
def test_latents_that_were_turned_round_stay_latents_and_are_refused(inverting_pack, turn):
    shift = LatentShift("background", pack=inverting_pack, p=1)
    with pytest.raises(TransformError, match=r"got \(8, 4\)\. They belong to another generator, or were turned round"):
        shift(torch.rand(4, 3, 32, 32), torch.arange(4), turn(Latents(torch.randn(4, 8))))


def test_labels_that_differ_under_two_keys_are_refused(inverting_pack):
    shift, labels = LatentShift("background", pack=inverting_pack, p=1), torch.arange(4)
    sample = {
        "image": torch.rand(4, 3, 32, 32),
        "y": labels,
        "target": labels.clone(),
        "category": ["a", "b", "c", "d"],
    }
    assert torch.equal(shift(sample)["y"], labels)
    for sample["y"] in (labels + 1, labels.flip(0)):
        with pytest.raises(TransformError, match=r"different labels under 'target' and 'y'\. .*labels_getter=lambda"):
            shift(sample)
    picked = LatentShift("background", pack=inverting_pack, p=1, labels_getter=lambda sample: sample["y"])
    assert picked(sample)["image"].shape == (4, 3, 32, 32)
