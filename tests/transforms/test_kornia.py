"""RandomLatentShift in kornia pipelines."""

import pickle

import kornia
import kornia.augmentation as K
import pytest
import torch

from ganaug import transforms
from ganaug.transforms import LatentShift, RandomLatentShift


def photographs(count=6):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(2)) * 0.5 + 0.25


def changed(before, after):
    return (before != after).flatten(1).any(1)


def test_it_does_what_latent_shift_does(inverting_pack):
    images = photographs()
    twin = RandomLatentShift("background", pack=inverting_pack, p=1.0, magnitude=3.0)
    expected = LatentShift("background", pack=inverting_pack, p=1.0, magnitude=3.0, source="invert")(images)
    torch.testing.assert_close(twin(images), expected)


def test_p_is_the_share_that_is_shifted(inverting_pack):
    images = photographs(200)
    torch.manual_seed(0)
    share = changed(images, RandomLatentShift("background", pack=inverting_pack, p=0.3)(images)).float().mean()
    assert abs(share - 0.3) < 0.1
    assert torch.equal(RandomLatentShift("background", pack=inverting_pack, p=0.0)(images), images)


def drawn_for(params):
    """How many images kornia draws parameters for: before 0.9 those that are shifted, since then all of them."""
    before = tuple(map(int, kornia.__version__.split(".")[:2])) < (0, 9)
    return int(params["batch_prob"].sum()) if before else len(params["batch_prob"])


def test_params_repeat_a_call(inverting_pack):
    images = photographs(16)
    shift = RandomLatentShift("any", pack=inverting_pack, p=0.5)
    params = shift.forward_parameters(images.shape)
    shifted = shift(images, params=params)
    assert not torch.equal(shift(images), shifted)
    assert torch.equal(shift(images, params=params), shifted)
    assert set(params["indices"].tolist()) <= {0, 2, 4} and len(params["magnitudes"]) == drawn_for(params)


def test_same_on_batch(inverting_pack):
    shift = RandomLatentShift("any", pack=inverting_pack, p=1.0, same_on_batch=True)
    params = shift.forward_parameters(photographs(16).shape)
    assert len(params["indices"].unique()) == len(params["magnitudes"].unique()) == 1
    one = photographs(1).expand(4, -1, -1, -1)
    shifted = shift(one)
    torch.testing.assert_close(shifted[0], shifted[3])


@pytest.mark.parametrize("same_on_batch", [False, True])
def test_several_directions_at_once(inverting_pack, same_on_batch):
    images = photographs(16)
    shift = RandomLatentShift("any", pack=inverting_pack, p=0.5, num_ops=2, same_on_batch=same_on_batch)
    params = shift.forward_parameters(images.shape)
    assert params["indices"].shape == (drawn_for(params), 2)
    assert (len(params["magnitudes"].unique(dim=0)) == 1) == same_on_batch
    shifted = shift(images, params=params)
    assert torch.equal(shift(images, params=params), shifted) and not torch.equal(shifted, images)


def test_keepdim(inverting_pack):
    image = photographs(1)[0]
    assert RandomLatentShift("background", pack=inverting_pack, p=1.0)(image).shape == (1, 3, 32, 32)
    assert RandomLatentShift("background", pack=inverting_pack, p=1.0, keepdim=True)(image).shape == (3, 32, 32)


@pytest.mark.parametrize("same_on_batch", [False, True])
def test_inside_augmentation_sequential(inverting_pack, same_on_batch):
    images, labels = photographs(), torch.arange(6)
    shift = RandomLatentShift("background", pack=inverting_pack, p=0.7, same_on_batch=same_on_batch)
    chain = K.AugmentationSequential(K.RandomHorizontalFlip(p=0.5), shift, data_keys=["input", "class"])
    first, same = chain(images, labels)
    assert first.shape == images.shape and torch.equal(same, labels)
    again, _ = chain(images, labels, params=chain._params)
    torch.testing.assert_close(first, again)


def test_masks_and_boxes_are_refused(inverting_pack):
    shift = RandomLatentShift("background", pack=inverting_pack, p=1.0)
    chain = K.AugmentationSequential(shift, data_keys=["input", "mask"])
    with pytest.raises(ValueError, match="masks, boxes and keypoints might no longer fit"):
        chain(photographs(), torch.zeros(6, 1, 32, 32))


def test_gradients_reach_the_input_where_blend_adds(inverting_pack):
    images = photographs().requires_grad_()
    shifted = RandomLatentShift("background", pack=inverting_pack, p=1.0, magnitude=2.0)(images)
    shifted.sum().backward()
    inside = (shifted > 0) & (shifted < 1)
    assert inside.any() and torch.equal(images.grad, inside.float()), "the change is a constant that is added"
    reconstructed = RandomLatentShift("background", pack=inverting_pack, p=1.0, blend="replace")(images)
    assert reconstructed.grad_fn is None or not torch.autograd.grad(reconstructed.sum(), images)[0].any()


def test_grey_images_are_shifted_in_colour_and_come_out_grey(inverting_pack):
    grey = photographs()[:, :1]
    arguments = {"pack": inverting_pack, "p": 1.0, "magnitude": 3.0}
    shifted = RandomLatentShift("background", **arguments)(grey)
    assert shifted.shape == grey.shape and changed(grey, shifted).all()
    torch.testing.assert_close(shifted, LatentShift("background", source="invert", **arguments)(grey))


def test_bfloat16_images_of_any_kornia_are_shifted_and_the_others_stay_as_they_are(inverting_pack):
    images = photographs(40).bfloat16()
    torch.manual_seed(0)
    shifted = RandomLatentShift("background", pack=inverting_pack, p=0.5, magnitude=3.0, dtype="float32")(images)
    torch.manual_seed(0)
    exact = RandomLatentShift("background", pack=inverting_pack, p=0.5, magnitude=3.0, dtype="float32")(images.float())
    assert shifted.dtype == torch.bfloat16 and torch.equal(shifted, exact.bfloat16())
    assert 10 < changed(images, shifted).sum() < 30


def test_half_precision_and_pickles(inverting_pack):
    images = photographs().half()
    shift = pickle.loads(pickle.dumps(RandomLatentShift("background", pack=inverting_pack, p=1.0)))
    assert shift(images).dtype == torch.float16 and changed(images, shift(images)).all()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (photographs()[:, :2], r"3 channel\(s\), got 2 .*\[\.\.\., :1, :, :\]"),
        (photographs() * 4 - 2, r"in \[0, 1\], got values from .*before v2.Normalize"),
    ],
)
def test_bad_images_are_named(inverting_pack, images, message):
    with pytest.raises(ValueError, match=message):
        RandomLatentShift("background", pack=inverting_pack, p=1.0)(images)


def test_bad_arguments_are_named(inverting_pack):
    for arguments, message in (
        ({"p": 2}, r"in \[0, 1\], got 2"),
        ({"blend": "mix"}, "add, replace; got 'mix'"),
        ({"direction": "backgrund"}, "Did you mean background"),
        ({"magnitude": "far"}, "got 'far'"),
    ):
        with pytest.raises(ValueError, match=message):
            RandomLatentShift(**{"direction": "background", "pack": inverting_pack, **arguments})
    inverting_pack.encoder = None
    with pytest.raises(ValueError, match=r"has no encoder\. Train one"):
        RandomLatentShift("background", pack=inverting_pack)


def test_kornia_is_imported_only_when_it_is_used():
    assert transforms.RandomLatentShift is RandomLatentShift
    with pytest.raises(AttributeError, match="no attribute 'RandomShift'"):
        _ = transforms.RandomShift
