import copy

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from ganaug.errors import TransformError
from ganaug.generators import SNGAN, Encoder, Generator
from ganaug.packs import DirectionPack
from ganaug.transforms import LatentBank, LatentShift


def batch(count=16, size=(32, 32), dtype=torch.float32):
    rng = torch.Generator().manual_seed(2)
    images = torch.rand(count, 3, *size, generator=rng)
    labels = torch.arange(count) % 10
    return ((images * 255).to(torch.uint8) if dtype == torch.uint8 else images.to(dtype)), labels


def replaced(before, after):
    return (before != after).flatten(1).any(1)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [(32, 32), (20, 28), (64, 64)])
def test_a_share_of_the_batch_is_replaced_and_the_rest_untouched(pack, dtype, size):
    images, labels = batch(400 if size == (32, 32) else 40, size, dtype)
    original = images.clone()
    torch.manual_seed(0)
    shifted, same = LatentShift("background", pack=pack, p=0.3)(images, labels)
    assert same is labels and torch.equal(images, original), "inputs are left alone"
    assert shifted.shape == images.shape and shifted.dtype == dtype
    share = replaced(images, shifted).float().mean().item()
    assert 0 < share < 1 and (size != (32, 32) or abs(share - 0.3) < 0.08)
    if dtype.is_floating_point:
        assert shifted.min() >= 0 and shifted.max() <= 1


def test_replaced_images_are_the_shifted_images_of_their_labels(pack):
    images, labels = batch(12)
    shift = LatentShift("background", pack=pack, dtype="float32", p=0.5)
    torch.manual_seed(3)
    shifted, _ = shift(images, labels)
    torch.manual_seed(3)
    params = shift.make_params([images])
    where = params["replace"]
    assert 0 < where.sum() < 12 and (params["magnitudes"].abs() <= 4).all()
    latents = (params["latents"] + params["magnitudes"][:, None] * pack.directions[4])[where]
    expected = (pack.generator(latents, labels[where]) + 1) / 2
    torch.testing.assert_close(shifted[where], expected)
    assert torch.equal(shifted[~where], images[~where])


def test_the_seed_decides_all_draws(pack):
    images, labels = batch()
    shift = LatentShift("any", pack=pack)
    results = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        results.append(shift(images, labels)[0])
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


@pytest.mark.parametrize(("p", "count"), [(0, 0), (1, 16), (0.0, 0), (1.0, 16)])
def test_p_zero_and_one(pack, p, count):
    images, labels = batch()
    assert replaced(images, LatentShift("background", pack=pack, p=p)(images, labels)[0]).sum() == count


@pytest.mark.parametrize(
    ("direction", "indices"),
    [("stroke", {2}), (5, {5}), (["stroke", 4], {2, 4}), ("any", {0, 2, 4})],
)
def test_directions_by_name_index_list_or_any_that_is_usable(pack, direction, indices):
    images, _ = batch(200)
    params = LatentShift(direction, pack=pack, p=1, magnitude=2.0).make_params([images])
    assert set(params["indices"].tolist()) == indices


@pytest.mark.parametrize(
    ("magnitude", "low", "high"), [("safe", -3.0, 3.0), (2.5, 2.5, 2.5), (-1, -1, -1), ((-0.5, 1.5), -0.5, 1.5)]
)
def test_magnitudes_are_safe_fixed_or_uniform(pack, magnitude, low, high):
    images, _ = batch(500)
    drawn = LatentShift("stroke", pack=pack, p=1, magnitude=magnitude).make_params([images])["magnitudes"]
    assert drawn.min() >= low and drawn.max() <= high
    assert drawn.max() - drawn.min() >= 0.95 * (high - low)


def test_several_directions_at_once_are_different_and_add_up(pack):
    images, labels = batch(200)
    shift = LatentShift([0, 2, 4], pack=pack, dtype="float32", p=0.8, magnitude=(1, 2), num_ops=2, return_params=True)
    (shifted, _), params = shift(images, labels)
    where, indices, magnitudes = params["replace"], params["indices"], params["magnitudes"]
    assert indices.shape == magnitudes.shape == (200, 2)
    assert (indices[where, 0] != indices[where, 1]).all() and set(indices[where].flatten().tolist()) == {0, 2, 4}
    assert (indices[~where] == -1).all() and (magnitudes[~where] == 0).all() and (magnitudes[where] >= 1).all()
    latents = params["latents"] + (magnitudes[:, :, None] * pack.directions[indices]).sum(1)
    drawn = (pack.generator(latents[where], labels[where]) + 1) / 2
    torch.testing.assert_close(shifted[where], drawn.clamp(0, 1))


def test_one_of_a_list_by_weight_never_brings_one_of_weight_zero(pack):
    shift = LatentShift([0, 2, 4], pack=pack, p=1, num_ops=2, weights=[1, 0, 3])
    assert set(shift.make_params([batch(100)[0]])["indices"].flatten().tolist()) == {0, 4}


@pytest.mark.parametrize(
    ("direction", "num_ops", "weights"),
    [("stroke", 2, None), ([0, 2], 0, None), ("any", 1.5, None), ([0, 2], 2, [1, 0])],
)
def test_more_at_once_than_there_are_directions_is_refused(pack, direction, num_ops, weights):
    with pytest.raises(TransformError, match=f"from 1 to the number of directions.*got {num_ops}"):
        LatentShift(direction, pack=pack, num_ops=num_ops, weights=weights)


@pytest.mark.parametrize("options", [{"num_ops": 2}, {}, {"weights": [1, 2, 3]}])
@pytest.mark.parametrize("direction", [["stroke", 2, 4], [4, "stroke", 2], [2, 4, 2]])
def test_none_is_listed_twice_by_whatever_name(pack, direction, options):
    with pytest.raises(TransformError, match=r"lists one direction more than once: .*'2'.* weights="):
        LatentShift(direction, pack=pack, **options)


def test_several_at_once_are_shown(pack):
    assert "num_ops=2" in repr(LatentShift("any", pack=pack, num_ops=2))


def test_without_measured_ranges_safe_is_the_range_of_training(pack):
    for direction in pack:
        direction.safe_range = None
    drawn = LatentShift("stroke", pack=pack, p=1).make_params([batch(500)[0]])["magnitudes"]
    assert 5.5 < drawn.max() <= 6
    assert set(LatentShift("any", pack=pack, p=1).make_params([batch(500)[0]])["indices"].tolist()) == set(range(6))


@pytest.mark.parametrize(
    "arrange",
    [
        lambda images, labels: (images, labels),
        lambda images, labels: [images, labels],
        lambda images, labels: {"image": images, "labels": labels, "path": "a.png"},
        lambda images, labels: (images, {"Label": labels, "weight": torch.ones(16)}),
    ],
)
def test_labels_are_found_as_cutmix_finds_them(pack, arrange):
    images, labels = batch()
    sample = arrange(images, labels)
    result = LatentShift("background", pack=pack, p=1)(sample)
    assert type(result) is type(sample)
    new = result["image"] if isinstance(result, dict) else result[0]
    assert replaced(images, new).all()
    if isinstance(result, dict):
        assert result["path"] == "a.png" and result["labels"] is labels


def test_a_labels_getter_of_ones_own(pack):
    images, labels = batch()
    sample = {"x": images, "y": labels}
    result = LatentShift("background", pack=pack, p=1, labels_getter=lambda s: s["y"])(sample)
    assert replaced(images, result["x"]).all() and result["y"] is labels


def test_tv_tensors_stay_tv_tensors(pack):
    images, labels = batch()
    shifted, _ = LatentShift("background", pack=pack, p=1)(tv_tensors.Image(images), labels)
    assert isinstance(shifted, tv_tensors.Image) and replaced(images, shifted).all()


def test_works_after_a_dataloader_beside_cutmix_and_normalize(pack):
    images, labels = batch(24, dtype=torch.uint8)
    chain = v2.Compose(
        [
            LatentShift("background", pack=pack),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.5] * 3),
            v2.CutMix(num_classes=10),
        ]
    )
    for x, y in DataLoader(TensorDataset(images, labels), batch_size=8):
        x, y = chain(x, y)
        assert x.shape == (8, 3, 32, 32) and x.dtype == torch.float32 and y.shape == (8, 10)


def test_labels_may_be_bytes(pack):
    images, labels = batch()
    shift = LatentShift("background", pack=pack, p=1)
    torch.manual_seed(0)
    expected, _ = shift(images, labels)
    torch.manual_seed(0)
    shifted, same = shift(images, labels.to(torch.uint8))
    assert torch.equal(shifted, expected) and same.dtype == torch.uint8


def test_a_generator_that_overshoots_does_not_wrap_around():
    class Bright(nn.Module):
        def forward(self, latents, labels):
            shade = 0.9 + (latents.sum(1) + labels) * 1e-3 + (latents[:, 0] > 40) * 9
            return shade[:, None, None, None].expand(-1, 3, 8, 8)

    generator = Generator.from_module(Bright(), latent_dim=2, image_size=8, channels=3, num_classes=10)
    pack = DirectionPack(torch.eye(2)[:1], generator=generator)
    images, labels = batch(size=(8, 8), dtype=torch.uint8)
    shifted, _ = LatentShift(0, pack=pack, p=1, magnitude=100)(images, labels)
    assert (shifted == 255).all()


def test_repr_and_copies(pack):
    shift = LatentShift("background", pack=pack, p=0.25)
    assert repr(shift) == "LatentShift(direction='background', pack='tiny', p=0.25, magnitude='safe')"
    images, labels = batch()
    torch.manual_seed(1)
    first, _ = shift(images, labels)
    torch.manual_seed(1)
    assert torch.equal(copy.deepcopy(shift)(images, labels)[0], first)


def test_the_default_pack_is_bundled():
    shift = LatentShift("background")
    images, labels = batch()
    with pytest.raises(TransformError, match="not of the kind that pack 'digits' is for"):
        shift(images, labels)
    shift = LatentShift("background", check_domain=False)
    assert shift.pack.name == "digits" and shift(images, labels)[0].shape == images.shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p": 1.5}, r"p is a probability and should be in \[0, 1\], got 1.5"),
        ({"p": "often"}, "got 'often'"),
        ({"source": "guess"}, "source should be one of auto, sample, invert; got 'guess'"),
        ({"source": "invert"}, "needs a pack with an encoder, and pack 'tiny' has none"),
        ({"direction": "backgrund"}, "Did you mean background"),
        ({"direction": 6}, "directions 0 to 5, got index 6"),
        ({"direction": []}, "non-empty list"),
        ({"direction": None}, "give a direction .* or a bank"),
        ({"direction": 2.5}, "non-empty list of them, or .*; got 2.5"),
        ({"p": True}, "got True"),
        ({"blend": "mix"}, "blend should be one of add, replace; got 'mix'"),
        ({"weights": [1.0]}, "weights belong to a list of directions, got direction='background'"),
        ({"direction": [2, 4], "weights": [1.0]}, "weights should be 2 numbers"),
        ({"direction": [2, 4], "weights": [1, -1]}, "none negative"),
        ({"bank": "nowhere.safetensors", "direction": None}, "there is no bank nowhere.safetensors"),
        ({"direction": 1}, "changes the label at every magnitude that was measured"),
        ({"magnitude": "wild"}, "got 'wild'"),
        ({"magnitude": float("nan")}, "a number.*within.*got nan"),
        ({"magnitude": (0, float("inf"))}, r"got \(0, inf\)"),
        ({"magnitude": ("a", 1)}, r"got \('a', 1\)"),
        ({"magnitude": True}, "got True"),
        ({"magnitude": (2, 1)}, r"low <= high, within .*; got \(2, 1\)"),
        ({"magnitude": (1, 2, 3)}, r"got \(1, 2, 3\)"),
        ({"labels_getter": 3}, "labels_getter should either be"),
        ({"pack": "nowhere"}, "no bundled pack and no folder 'nowhere'"),
    ],
)
def test_bad_arguments_are_named(pack, arguments, message):
    with pytest.raises(ValueError, match=message):
        LatentShift(**{"direction": "background", "pack": pack, **arguments})


@pytest.mark.parametrize("source", ["sample", "invert", "bank"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_transform_writes_nothing_into_params_and_repeats_itself(inverting_pack, tmp_path, source, dtype):
    images, labels = batch(dtype=dtype)
    if source == "bank":
        bank = LatentBank.build(inverting_pack, "background", 20, tmp_path / "bank.safetensors", show_progress=False)
        shift = LatentShift(bank=bank)
    else:
        shift = LatentShift([2, 4], pack=inverting_pack, source=source)
    params = shift.make_params([images, labels])
    assert params["source"] == source and 0 < params["replace"].sum() < 16
    before = copy.deepcopy(params)
    first, second = shift.transform(images, params), shift.transform(images, params)
    assert torch.equal(first, second) and torch.equal(replaced(images, first), params["replace"])
    assert params.keys() == before.keys()
    assert all(torch.equal(params[name], before[name]) for name in params.keys() - {"source"})


def test_only_images_to_be_shifted_are_inverted(inverting_pack, monkeypatch):
    seen, forward = [], Encoder.forward

    def counted(self, images, labels=None):
        seen.append(len(images))
        return forward(self, images, labels)

    monkeypatch.setattr(Encoder, "forward", counted)
    shift = LatentShift("background", pack=inverting_pack, source="invert")
    params = shift.make_params([batch()[0]])
    assert seen == [int(params["replace"].sum())], "the latents are found with the other draws"
    shift.transform(batch()[0], params)
    LatentShift("background", pack=inverting_pack, source="invert", p=0)(batch()[0])
    assert len(seen) == 1, "and not again, nor where nothing is shifted"


def test_a_subclass_draws_by_the_protocol_of_v2(inverting_pack):
    class Stronger(LatentShift):
        def make_params(self, flat_inputs, **options):
            params = super().make_params(flat_inputs, **options)
            return params | {"magnitudes": params["magnitudes"] * 2}

    images, labels = batch()
    for source in ("sample", "invert"):
        options = {"pack": inverting_pack, "p": 1, "source": source, "return_params": True}
        torch.manual_seed(0)
        stronger = Stronger("background", magnitude=1.5, **options)(images, labels)
        torch.manual_seed(0)
        strong = LatentShift("background", magnitude=3, **options)(images, labels)
        assert (stronger[1]["magnitudes"] == 3).all() and torch.equal(stronger[0][0], strong[0][0])
    params = LatentShift("background", pack=inverting_pack, source="invert").make_params([images])
    assert params["source"] == "invert", "v2's own call, with nothing but the inputs"


def test_params_that_cannot_be_drawn_or_used_are_named(pack, tmp_path):
    images, _ = batch()
    shift = LatentShift("background", pack=pack, p=1)
    with pytest.raises(TransformError, match="source should be one of auto, sample, invert; got 'bank'"):
        shift.make_params([images], source="bank")
    with pytest.raises(TransformError, match=r"fresh images need classes.*make_params\(\[images, classes\]\)"):
        shift.transform(images, shift.make_params([images]))
    bank = LatentBank.build(pack, "background", 20, tmp_path / "bank.safetensors", show_progress=False)
    with pytest.raises(TransformError, match="serves images by their labels"):
        LatentShift(bank=bank).make_params([images])


IMAGES, LABELS = batch(4)
BAD_INPUTS = {
    "one image": ((IMAGES[0], LABELS[:1]), "got one image, but pack 'tiny' has no encoder.*class-conditional"),
    "a PIL image": ((Image.new("RGB", (32, 32)), 3), "got one image"),
    "a PIL image with alpha": ((Image.new("RGBA", (32, 32)), 3), r"mode RGB or L, got RGBA.*convert\('RGB'\)"),
    "a 16-bit PIL image": ((Image.new("I;16", (32, 32)), 3), r"mode RGB or L, got I;16.* / 257.*convert\('RGB'\)"),
    "two images": ((tv_tensors.Image(IMAGES), tv_tensors.Image(IMAGES)), "one batch of images, in a sample; found 2"),
    "no image": ((LABELS.tolist(), "label"), "found 0"),
    "no pixels": ((IMAGES[..., :0], LABELS), "the images have no pixels"),
    "a matrix": ((IMAGES[0, 0], LABELS), r"got a tensor of shape \(32, 32\)"),
    "no labels": ((IMAGES,), "images without labels, but pack 'tiny' has no encoder"),
    "grey and alpha": ((IMAGES[:, :2], LABELS), r"draws images of 3 channel\(s\), got 2.*\[\.\.\., :1, :, :\]"),
    "colours and alpha": ((IMAGES[:, [0, 1, 2, 2]], LABELS), r"got 4 .*\[\.\.\., :3, :, :\]\. v2.RGB\(\) takes 1 or 3"),
    "channels last": ((IMAGES.movedim(1, -1), LABELS), r"got 32 .*images.movedim\(-1, -3\)"),
    "five dimensions": ((IMAGES[None], LABELS), r"got a tensor of shape \(1, 4, 3, 32, 32\)"),
    "normalised images": ((IMAGES * 4 - 2, LABELS), r"in \[0, 1\], got values from -2 .*before v2.Normalize"),
    "NaN": ((IMAGES * float("nan"), LABELS), "got values from nan"),
    "integers that are no bytes": ((IMAGES.long(), LABELS), "uint8 in .* or float .*, got torch.int64"),
    "mixed labels": ((IMAGES, torch.full((4, 10), 0.1)), "row 0 is mixed. Place LatentShift before v2.CutMix"),
    "soft labels of other classes": ((IMAGES, torch.eye(7)[LABELS]), r"soft labels of shape \(4, 10\); got .*\(4, 7\)"),
    "a negative class": ((IMAGES, LABELS - 1), "got values from -1 to 2"),
    "truth values": ((IMAGES, LABELS > 1), "got torch.bool"),
    "float labels": ((IMAGES, LABELS.float()), "should be class indices"),
    "too few labels": ((IMAGES, LABELS[:3]), r"class indices of shape \(4,\) .* got torch.int64 of shape \(3,\)"),
    "a class too many": ((IMAGES, LABELS + 7), "from 0 to 9, or .*; got values from 7 to 10"),
    "too short a list of labels": (({"image": IMAGES, "labels": [0, 1]},), r"of shape \(4,\) .*got .* shape \(2,\)"),
    "labels that are words": (({"image": IMAGES, "labels": ["cat"] * 4},), r"labels should be .*got \['cat', 'cat'"),
    "a word where labels stand": ((IMAGES, "cat"), r"a list of integers, .* got 'cat'\. Say where they are"),
    "a number where labels stand": ((IMAGES, 3.0), r"got 3\.0"),
    "truth where a label stands": ((IMAGES[:1], True), "got True"),
    "labels of several kinds": ((IMAGES, torch.eye(10)[LABELS] + torch.eye(10)[0]), "should be probabilities.*sums"),
    "logits": ((IMAGES, torch.eye(10)[LABELS] * 9 - 3), "soft labels should be probabilities"),
    "soft labels that are NaN": ((IMAGES, torch.full((4, 10), float("nan"))), "probabilities.*got values from nan"),
    "complex images": ((IMAGES + 0j, LABELS), "got torch.complex64"),
    "two labels beside one image": ((IMAGES[0], LABELS[:2]), "got one image, but"),
    "boxes": (
        ({"image": tv_tensors.Image(IMAGES), "boxes": tv_tensors.BoundingBoxes(
            torch.zeros(1, 4), format="XYXY", canvas_size=(32, 32)), "labels": LABELS},),
        "a BoundingBoxes in the sample might no longer fit",
    ),
    "a mask": ((tv_tensors.Image(IMAGES), tv_tensors.Mask(torch.zeros(4, 32, 32)), LABELS), "a Mask in the sample"),
    "a video": ((tv_tensors.Video(IMAGES[None]), LABELS), "a Video in the sample"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_inputs_are_named(pack, case):
    inputs, message = BAD_INPUTS[case]
    with pytest.raises(ValueError, match=message):
        LatentShift("background", pack=pack, p=1)(*inputs)


def test_an_unconditional_pack_names_both_ways_out():
    generator = SNGAN(latent_dim=8, widths=(8, 8, 8, 8)).freeze()
    pack = DirectionPack(torch.eye(8)[:2], generator=generator)
    with pytest.raises(
        ValueError, match=r"unconditional generator and no encoder.*beside v2.CutMix.*that has an encoder"
    ):
        LatentShift(0, pack=pack, p=1)(IMAGES, LABELS)


@pytest.mark.parametrize("source", ["sample", "invert"])
def test_bfloat16_draws_the_same_and_looks_the_same(inverting_pack, source):
    images, labels = batch(40)
    found = {}
    for dtype in ("float32", "bfloat16"):
        shift = LatentShift("any", pack=inverting_pack, source=source, p=0.5, dtype=dtype, return_params=True)
        torch.manual_seed(3)
        (shifted, _), params = shift(images, labels)
        found[dtype] = (shifted, params, torch.rand(1))
    (exact, params, after), (near, others, also_after) = found.values()
    assert all(torch.equal(params[name], others[name]) for name in ("replace", "indices", "magnitudes", "classes"))
    assert torch.equal(after, also_after), "as much is drawn"
    assert exact.dtype == near.dtype and not torch.equal(exact, near)
    assert (exact - near).abs().mean() < 0.005
    with pytest.raises(ValueError, match="dtype should be one of"):
        LatentShift("any", pack=inverting_pack, dtype="half")
