"""LatentShift on the images themselves: encode, shift, and add the change."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from ganaug.errors import PackError
from ganaug.generators import Encoder
from ganaug.inversion import Latents, invert, refine
from ganaug.packs import DirectionPack
from ganaug.transforms import LatentShift


def photographs(count=6, size=(32, 32), channels=3):
    images = torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(2)) * 0.5 + 0.25
    return images, torch.arange(count) % 10


def shifted_by_hand(pack, images, labels, indices, magnitudes):
    generator, encoder = pack.generator, pack.encoder
    latents, labels = encoder(images * 2 - 1, labels)
    offsets = magnitudes[:, None] * pack.directions[indices]
    return (generator(latents, labels) / 2, generator(latents + offsets, labels) / 2)


def test_the_change_is_added_to_the_image(inverting_pack):
    images, labels = photographs()
    shift = LatentShift("background", pack=inverting_pack, dtype="float32", p=1, source="invert", return_params=True)
    (shifted, same), params = shift(images, labels)
    before, after = shifted_by_hand(inverting_pack, images, labels, params["indices"], params["magnitudes"])
    torch.testing.assert_close(shifted, (images + after - before).clamp(0, 1))
    assert same is labels and not torch.allclose(shifted, images, atol=1e-3)


def test_a_shift_of_nothing_changes_nothing_but_replace_reconstructs(inverting_pack):
    images, labels = photographs()
    still = LatentShift("background", pack=inverting_pack, dtype="float32", p=1, source="invert", magnitude=0)
    torch.testing.assert_close(still(images, labels)[0], images)
    reconstructed = LatentShift(
        "background", pack=inverting_pack, dtype="float32", p=1, source="invert", magnitude=0, blend="replace"
    )
    before, _ = shifted_by_hand(inverting_pack, images, labels, torch.zeros(6, dtype=torch.int64), torch.zeros(6))
    torch.testing.assert_close(reconstructed(images, labels)[0], before + 0.5)


def test_without_labels_the_encoder_reads_them(inverting_pack):
    images, _ = photographs()
    shift = LatentShift("background", pack=inverting_pack, p=1, magnitude=2.0)
    read = inverting_pack.encoder(images * 2 - 1)[1]
    given = LatentShift("background", pack=inverting_pack, p=1, magnitude=2.0, source="invert")(images, read)[0]
    assert torch.equal(shift(images), given), "images alone are inverted under source=auto"
    assert not torch.equal(given, LatentShift(0, pack=inverting_pack, p=1, magnitude=2.0)(images))


def test_a_numpy_integer_is_a_label(inverting_pack):
    image = photographs()[0][0]
    shift = LatentShift("background", pack=inverting_pack, p=1, magnitude=2.0)
    expected = shift(image, 3)[0]
    assert torch.equal(shift(image, np.int64(3))[0], expected)
    assert torch.equal(shift({"image": image, "label": np.int32(3)})["image"], expected)
    assert not torch.equal(shift(image, 4)[0], expected)


def test_auto_samples_where_it_can_and_inverts_elsewhere(inverting_pack, grey_pack):
    images, labels = photographs()
    auto = LatentShift("background", pack=inverting_pack, p=1, return_params=True)
    assert auto(images, labels)[1]["source"] == "sample"
    assert auto(images)[1]["source"] == "invert"
    assert auto(images[0], 3)[1]["source"] == "invert"
    grey, labels = photographs(channels=1)
    assert LatentShift("slant", pack=grey_pack, p=1, return_params=True)(grey, labels)[1]["source"] == "invert"


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32])
def test_one_image_of_any_type_inside_compose(inverting_pack, dtype):
    images, _ = photographs()
    image = v2.functional.to_dtype(images[0], dtype, scale=True)
    tf = v2.Compose([LatentShift("background", pack=inverting_pack, p=1, magnitude=3), v2.RandomHorizontalFlip(p=0)])
    out = tf(image)
    assert out.shape == image.shape and out.dtype == dtype and not torch.equal(out, image)
    wrapped = tf(tv_tensors.Image(image))
    assert isinstance(wrapped, tv_tensors.Image) and torch.equal(wrapped, out)
    exact = tf(images[:1])[0]
    tolerance = {torch.uint8: 2 / 255, torch.bfloat16: 0.01}.get(dtype, 2e-3)
    close = v2.functional.to_dtype(out, torch.float32, scale=True)
    torch.testing.assert_close(close, exact, atol=tolerance, rtol=0)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pil_in_pil_out(inverting_pack, grey_pack, mode):
    pack = inverting_pack if mode == "RGB" else grey_pack
    image = Image.new(mode, (40, 24), 128 if mode == "L" else (90, 120, 150))
    out, label = LatentShift(1 if mode == "L" else "background", pack=pack, p=1, magnitude=4)(image, 7)
    assert isinstance(out, Image.Image) and out.mode == mode and out.size == (40, 24) and label == 7
    assert out.tobytes() != image.tobytes()


def test_the_pipeline_of_the_design(inverting_pack):
    shift = LatentShift(direction="background", pack=inverting_pack)
    tf = v2.Compose([v2.ToImage(), shift, v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True)])
    out = tf(Image.new("RGB", (48, 48), (90, 120, 150)))
    assert out.shape == (3, 48, 48) and out.dtype == torch.float32 and isinstance(out, tv_tensors.Image)


def test_random_apply_choice_and_dictionaries(inverting_pack):
    images, _ = photographs()
    shift = LatentShift("background", pack=inverting_pack, p=1, magnitude=3)
    sample = {"image": tv_tensors.Image(images[0]), "label": 4, "path": "a.png"}
    assert v2.RandomApply([shift], p=0.0)(sample)["image"] is sample["image"]
    applied = v2.RandomApply([shift], p=1.0)(sample)
    assert applied["path"] == "a.png" and applied["label"] == 4 and not torch.equal(applied["image"], sample["image"])
    chosen = v2.RandomChoice([shift, v2.Identity()], p=[1.0, 0.0])(images[0], 4)
    assert chosen[1] == 4 and torch.equal(chosen[0], applied["image"])


def test_other_sizes_are_resampled_there_and_back(inverting_pack):
    images, labels = photographs(size=(48, 64))
    shift = LatentShift("background", pack=inverting_pack, dtype="float32", p=1, source="invert", magnitude=3)
    shifted, _ = shift(images, labels)
    small = v2.functional.resize(images, [32, 32], antialias=True)
    before, after = shifted_by_hand(inverting_pack, small, labels, torch.full((6,), 4), torch.full((6,), 3.0))
    change = v2.functional.resize(after - before, [48, 64], antialias=True)
    torch.testing.assert_close(shifted, (images + change).clamp(0, 1), atol=1e-4, rtol=0)


def test_soft_labels_invert_as_their_likeliest_class(inverting_pack):
    images, labels = photographs()
    soft = torch.eye(10)[labels] * 0.7 + torch.eye(10)[(labels + 1) % 10] * 0.3
    shift = LatentShift("background", pack=inverting_pack, p=1, source="invert", magnitude=2)
    shifted, same = shift(images, soft)
    assert same is soft and torch.equal(shifted, shift(images, labels)[0])
    chain = v2.Compose([v2.MixUp(num_classes=10), shift])
    mixed, targets = chain(images, labels)
    assert mixed.shape == images.shape and targets.shape == (6, 10)


def test_one_hot_labels_sample_like_integers(pack):
    images, labels = photographs()
    shift = LatentShift("background", pack=pack, p=1)
    torch.manual_seed(0)
    hard = shift(images, labels)[0]
    torch.manual_seed(0)
    assert torch.equal(shift(images, torch.eye(10)[labels])[0], hard)


def test_params_tell_what_was_done_and_can_be_given_back(inverting_pack):
    images, labels = photographs(8)
    shift = LatentShift(
        [2, 4], pack=inverting_pack, dtype="float32", weights=[1, 3], source="invert", return_params=True
    )
    torch.manual_seed(1)
    (shifted, _), params = shift(images, labels)
    replaced = (shifted != images).flatten(1).any(1)
    assert torch.equal(params["replace"], replaced) and 0 < replaced.sum() < 8
    assert (params["indices"][~replaced] == -1).all() and (params["magnitudes"][~replaced] == 0).all()
    found = inverting_pack.encoder(images * 2 - 1, labels)[0]
    torch.testing.assert_close(params["latents"][replaced], found[replaced])
    again = shift.transform(images, {**params, "classes": labels})
    torch.testing.assert_close(again, shifted)


def test_directions_and_magnitudes_of_ones_own_for_each_image(inverting_pack):
    images, labels = photographs(4)
    shift = LatentShift("any", pack=inverting_pack, dtype="float32", p=1, source="invert")
    params = shift.make_params([images, labels], source="invert")
    params |= {"indices": torch.tensor([0, 2, 4, 4]), "magnitudes": torch.tensor([1.0, -1.0, 0.0, 2.0])}
    shifted = shift.transform(images, params)
    before, after = shifted_by_hand(inverting_pack, images, labels, params["indices"], params["magnitudes"])
    torch.testing.assert_close(shifted, (images + after - before).clamp(0, 1))
    torch.testing.assert_close(shifted[2], images[2])


def test_weights_say_how_often_a_direction_is_drawn(pack):
    images, _ = photographs(1000)
    shift = LatentShift(["stroke", "background", 0], pack=pack, p=1, weights=[1, 3, 0])
    torch.manual_seed(0)
    counts = shift.make_params([images])["indices"].bincount(minlength=6)
    assert counts.sum() == counts[2] + counts[4] == 1000 and 180 < counts[2] < 320


def test_stored_latents_are_used_instead_of_the_encoder(inverting_pack):
    images, labels = photographs(4)
    stored = Latents(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)))
    shift = LatentShift("background", pack=inverting_pack, dtype="float32", p=1, source="invert", magnitude=3)
    shifted, same, passed = shift(images, labels, stored)
    generator, offset = inverting_pack.generator, 3 * inverting_pack.directions[4]
    plain = stored.as_subclass(torch.Tensor)
    change = (generator(plain + offset, labels) - generator(plain, labels)) / 2
    torch.testing.assert_close(shifted, (images + change).clamp(0, 1))
    assert same is labels and passed is stored
    chain = v2.Compose(
        [
            LatentShift("background", pack=inverting_pack, dtype="float32", p=1, magnitude=3),
            v2.RandomHorizontalFlip(p=1),
        ]
    )
    flipped = chain(images, labels, stored)
    torch.testing.assert_close(flipped[0], shifted.flip(-1))
    assert torch.equal(flipped[2], stored) and isinstance(flipped[2], Latents), "auto inverts, and latents stay"
    with pytest.raises(ValueError, match=r"should have shape \(4, 8\).*got \(4, 5\)"):
        shift(images, labels, Latents(torch.zeros(4, 5)))


def test_several_directions_at_once_from_stored_latents(inverting_pack):
    images, labels = photographs(4)
    stored = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    shift = LatentShift(
        "any",
        pack=inverting_pack,
        dtype="float32",
        p=1,
        magnitude=2,
        num_ops=3,
        blend="replace",
        return_params=True,
        source="invert",
    )
    (shifted, _, _), params = shift(images, labels, Latents(stored))
    assert sorted(params["indices"][0].tolist()) == [0, 2, 4]
    moved = stored + 2 * inverting_pack.directions[[0, 2, 4]].sum(0)
    torch.testing.assert_close(shifted, (inverting_pack.generator(moved, labels) + 1) / 2)


def test_a_dataloader_keeps_stored_latents(inverting_pack):
    images, _ = photographs(4)
    samples = [(images[k], k, Latents(torch.full((8,), float(k)))) for k in range(4)]
    x, y, latents = next(iter(DataLoader(samples, batch_size=4)))
    assert isinstance(latents, Latents) and latents.shape == (4, 8)
    shift = LatentShift("background", pack=inverting_pack, p=1, return_params=True)
    assert torch.equal(shift(x, y, latents)[1]["latents"], torch.arange(4.0)[:, None].expand(4, 8))


@pytest.mark.parametrize("kind", [list, np.asarray, lambda labels: [torch.tensor(label) for label in labels]])
def test_labels_in_lists_and_arrays_are_labels(inverting_pack, kind):
    images, labels = photographs()
    shift = LatentShift("background", pack=inverting_pack, p=1, return_params=True)
    (_, same), params = shift(images, kind(labels.tolist()))
    assert params["source"] == "sample" and torch.equal(params["classes"], labels) and len(same) == 6


def test_params_tell_the_classes_that_were_read(inverting_pack):
    images, _ = photographs(8)
    shift = LatentShift("background", pack=inverting_pack, dtype="float32", source="invert", return_params=True)
    torch.manual_seed(0)
    _, params = shift(images)
    read = inverting_pack.encoder(images * 2 - 1)[1]
    assert torch.equal(params["classes"], read.where(params["replace"], -1))


@pytest.mark.parametrize("size", [33, 45, 100, 199])
def test_images_that_resampling_took_over_one_by_a_rounding_are_taken(inverting_pack, size):
    white = v2.functional.resize(torch.ones(2, 3, size, size), [32, 32], antialias=True) * (1 + 2.4e-7)
    assert white.max() > 1
    out = LatentShift("background", pack=inverting_pack, p=1)(white)
    assert 0 <= out.min() <= out.max() <= 1


class Photographs(Dataset):
    def __init__(self, transform):
        self.images, self.transform = photographs(24)[0], transform

    def __len__(self):
        return 24

    def __getitem__(self, index):
        return self.transform(self.images[index], index % 10)


def test_inside_a_dataset_and_after_the_dataloader(inverting_pack):
    shift = LatentShift("background", pack=inverting_pack, p=1, magnitude=3, source="invert")
    inside = torch.cat([images for images, _ in DataLoader(Photographs(shift), batch_size=8)])
    after = torch.cat([shift(x, y)[0] for x, y in DataLoader(Photographs(lambda *sample: sample), batch_size=8)])
    torch.testing.assert_close(inside, after)


def test_refinement_brings_the_reconstruction_nearer_and_never_away(inverting_pack):
    generator = inverting_pack.generator
    labels = torch.arange(5)
    images = generator(generator.sample_latents(5, rng=torch.Generator().manual_seed(3)), labels)
    coarse, _ = invert(inverting_pack, images, labels)
    fine, same = invert(inverting_pack, images, labels, refine_steps=60)
    error = [(generator(z, labels) - images).abs().mean((1, 2, 3)) for z in (coarse, fine)]
    assert same is labels and (error[1] < error[0] * 0.8).all()
    objective = [e + 0.01 * z.square().mean(1) for e, z in zip(error, (coarse, fine), strict=True)]
    assert (objective[1] <= objective[0]).all() and not fine.requires_grad
    wild = refine(generator, images, coarse, labels, steps=5, learning_rate=100.0)
    assert torch.equal(wild, coarse), "steps that only make it worse are not taken"


def test_refinement_works_in_inference_mode(inverting_pack):
    with torch.inference_mode():
        images = torch.rand(2, 3, 32, 32) * 2 - 1
        fine, _ = invert(inverting_pack, images, torch.arange(2), refine_steps=3)
    assert fine.shape == (2, 8)


def test_an_encoder_for_other_images_is_refused_and_a_changed_one_saved_as_it_is(inverting_pack, tmp_path):
    inverting_pack.save_pretrained(tmp_path / "tiny")
    lazy = DirectionPack.from_pretrained(tmp_path / "tiny")
    with pytest.raises(PackError, match=r"encoder has image_size 64, but pack '.*tiny' has 32"):
        lazy.encoder = Encoder(latent_dim=8, image_size=64, channels=3, num_classes=10, width=4, hidden=4)
    inverting_pack.encoder.class_head.weight.data += 1
    inverting_pack.save_pretrained(tmp_path / "changed")
    assert DirectionPack.from_pretrained(tmp_path / "changed").encoder is not None
    for method, message in (({"loss": float("nan")}, "should fit into JSON"), ([1], "should be a dictionary")):
        inverting_pack.encoder_method = method
        with pytest.raises(PackError, match=message):
            inverting_pack.save_pretrained(tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_invert_names_what_is_missing(pack, inverting_pack):
    with pytest.raises(ValueError, match="integers from 0 to 9, got values from 0 to 11"):
        invert(inverting_pack, torch.zeros(2, 3, 32, 32), torch.tensor([0, 11]))
    with pytest.raises(ValueError, match=r"takes images of shape \(1, 3, 32, 32\), got \(1, 3, 16, 16\)"):
        invert(inverting_pack, torch.zeros(1, 3, 16, 16))
    inverting_pack.encoder = None
    with pytest.raises(PackError, match=r"has no encoder\. Train one: ganaug train-encoder"):
        invert(pack, torch.zeros(1, 3, 32, 32))


def test_a_pack_keeps_its_encoder(inverting_pack, tmp_path):
    inverting_pack.encoder_method = {"steps": 3, "command": "ganaug train-encoder tiny"}
    inverting_pack.save_pretrained(tmp_path / "tiny")
    loaded = DirectionPack.from_pretrained(tmp_path / "tiny")
    assert loaded.has_encoder and loaded.encoder_method == inverting_pack.encoder_method
    images, labels = photographs()
    mine, its = (pack.encoder(images * 2 - 1, labels)[0] for pack in (inverting_pack, loaded))
    torch.testing.assert_close(mine, its)
    assert loaded.encoder.weights_sha256() == inverting_pack.encoder.weights_sha256()
    assert not any(p.requires_grad for p in loaded.encoder.parameters())
    card = (tmp_path / "tiny" / "README.md").read_text()
    assert "## The encoder" in card and "images = shift(images)" in card
    loaded.encoder = None
    loaded.save_pretrained(tmp_path / "tiny")
    assert not (tmp_path / "tiny" / "encoder.safetensors").exists()
    assert not DirectionPack.from_pretrained(tmp_path / "tiny").has_encoder
