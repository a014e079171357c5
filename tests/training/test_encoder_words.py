"""What is said of encoders that learned, and of those that did not."""

import pytest
import torch
from PIL import Image

from ganaug.generators import SNGAN
from ganaug.packs import DirectionPack
from ganaug.training import encoder_words, read_real_images, train_pack_encoder

GOOD = {
    "reconstruction_error": 0.06,
    "mean_image_error": 0.2,
    "real_reconstruction_error": 0.09,
    "real_mean_image_error": 0.2,
    "real_class_read": 0.94,
}


def pack(**scores):
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=8, channels=1, num_classes=4, widths=(8, 8, 8, 8)).freeze()
    generator.class_names = ("ant", "bee", "cat", "dog")
    return DirectionPack(torch.eye(8)[:2], generator=generator, scores=scores)


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ({}, None),
        ({"reconstruction_error": 0.17}, "has not learned to find latents"),
        ({"real_reconstruction_error": 0.13}, "Real images are redrawn far worse"),
        ({"reconstruction_error": 0.15, "real_reconstruction_error": 0.17}, "Real images are redrawn far worse"),
        ({"real_class_read": 0.6}, "too few to change images without labels"),
    ],
)
def test_each_way_to_fail_is_told(scores, told):
    words = encoder_words(pack(**{**GOOD, **scores}))
    assert len(words) == (2 if told is None else 3) and (told is None or told in words[2])
    assert "(guessing: 0.250)" in words[1]


def test_packs_of_before_and_encoders_that_saw_no_real_images():
    assert encoder_words(pack()) == []
    assert len(encoder_words(pack(reconstruction_error=0.06))) == 1
    few = {key: value for key, value in GOOD.items() if not key.startswith("real")}
    assert encoder_words(pack(**few)) == ["Generated images and their reconstructions differ by 0.0600 of full scale."]


def photographs(folder, *names, count=5):
    for name in names:
        (folder / name).mkdir(parents=True)
        for k in range(count):
            Image.new("L", (32, 32), 20 * k).save(folder / name / f"{k}.png")
    return folder


def test_what_is_held_out(tmp_path):
    real = read_real_images(pack(), photographs(tmp_path / "classes", "Dog", "ant"))
    assert (len(real.training), len(real.held_out), real.labels.tolist()) == (8, 2, [3, 0])
    real = read_real_images(pack(), photographs(tmp_path / "others", "dog", "yak"))
    assert len(real.held_out) == 2 and real.labels is None
    parts = photographs(tmp_path / "parts" / "train", "cat", "dog")
    photographs(parts.parent / "test", "cat", "dog", count=2)
    real = read_real_images(pack(), parts.parent)
    assert (len(real.training), real.labels.tolist()) == (10, [2, 2, 3, 3])
    real = read_real_images(pack(), parts / "cat")
    assert (len(real.training), len(real.held_out), real.labels) == (4, 1, None)
    assert not {*map(int, real.training.flatten(1)[:, 0])} & {*map(int, real.held_out.flatten(1)[:, 0])}
    real = read_real_images(pack(), photographs(tmp_path / "one", "cat", count=1))
    assert (len(real.training), real.held_out) == (1, None)


def test_held_out_images_are_measured_and_kept_in_the_pack(tmp_path):
    folder = pack().save_pretrained(tmp_path / "pack")
    few = {"steps": 2, "batch_size": 4, "width": 4, "hidden": 8, "show_progress": False, "device": "cpu"}
    photos = photographs(tmp_path / "photos", "dog", "cat")
    train_pack_encoder(DirectionPack.from_pretrained(folder), photos, folder=folder, command="mine", **few)
    written = DirectionPack.from_pretrained(folder)
    assert {*GOOD} < {*written.scores} and written.scores["real_class_read_command"] == "mine"
    assert 0 < written.scores["real_reconstruction_error"] < 1
    assert "real_reconstruction_error" in (folder / "README.md").read_text().replace("&#95;", "_")
    with Image.open(folder / "encoder" / "sheet.png") as sheet:
        assert sheet.width > 2 * 64 and sheet.height > 4 * 64
    train_pack_encoder(written, None, folder=folder, **few)
    assert not [key for key in DirectionPack.from_pretrained(folder).scores if key.startswith("real")]
