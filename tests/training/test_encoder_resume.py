"""Encoders whose training was stopped, killed or fed from disk: the same encoder as that of an unbroken one."""

import random
import signal
import threading
import time

import pytest
import torch
from killable import start
from PIL import Image

from ganaug.errors import EncoderTrainingError, Interrupted
from ganaug.generators import SNGAN
from ganaug.packs import DirectionPack
from ganaug.streams import StreamedImages, images_of
from ganaug.training import train_encoder, train_pack_encoder

SETTINGS = {"batch_size": 4, "width": 4, "hidden": 8, "warm_up": 0.1, "precision": "float32", "show_progress": False}


def tiny():
    torch.manual_seed(0)
    return SNGAN(latent_dim=8, channels=1, num_classes=2, widths=(8, 8, 8, 8)).freeze()


@pytest.fixture
def files(tmp_path):
    """Grey pictures of noise."""
    (tmp_path / "photos").mkdir()
    for k in range(10):
        pixels = torch.randint(0, 256, (40, 40), generator=torch.Generator().manual_seed(k), dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(tmp_path / "photos" / f"{k}.png")
    return sorted((tmp_path / "photos").iterdir())


def trained(out, files, *, steps=400):
    """Start or go on, whichever it is, in a process of its own."""
    torch.set_num_threads(1)
    encoder = train_encoder(
        tiny(),
        images=StreamedImages(files, size=32, channels=1),
        out=out,
        resume=(out / "checkpoint.pt").exists(),
        checkpoint_every=7,
        device="cpu",
        **SETTINGS,
        steps=steps,
    )
    encoder.save_weights(out / "result.safetensors")


@pytest.mark.slow
def test_a_training_killed_ten_times_at_random_ends_bit_for_bit_as_the_unbroken_one(tmp_path, files):
    start(trained, tmp_path / "first", files).kill()  # the server itself takes a while to start
    began = time.monotonic()
    whole = start(trained, tmp_path / "whole", files)
    whole.join(240)
    assert whole.exitcode == 0
    longest, moments, reached = max(0.2, (time.monotonic() - began) / 8), random.Random(0), set()
    for _ in range(10):
        process = start(trained, tmp_path / "broken", files)
        time.sleep(moments.uniform(0.0, longest))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "it should not have ended, well or badly, by itself"
        if (tmp_path / "broken" / "checkpoint.pt").exists():
            reached.add(torch.load(tmp_path / "broken" / "checkpoint.pt", weights_only=True)["step"])
    last = start(trained, tmp_path / "broken", files)
    last.join(240)
    assert last.exitcode == 0 and len(reached) > 2, "kills fell into different steps"
    whole, broken = ((tmp_path / name / "result.safetensors").read_bytes() for name in ("whole", "broken"))
    assert whole == broken


def test_images_from_disk_teach_what_the_same_ones_in_memory_do(files):
    held, streamed = images_of(files, size=32, channels=1), StreamedImages(files, size=32, channels=1)
    assert isinstance(held, torch.Tensor)
    encoders = [train_encoder(tiny(), images=images, **SETTINGS, steps=8) for images in (held, streamed)]
    assert encoders[0].weights_sha256() == encoders[1].weights_sha256()
    assert encoders[0].weights_sha256() != train_encoder(tiny(), **SETTINGS, steps=8).weights_sha256()


class Counted(StreamedImages):
    """Notes how many images are asked for at once."""

    asked = ()

    def __getitem__(self, index):
        self.asked = (*self.asked, len(index))
        return super().__getitem__(index)


def test_never_more_than_a_batch_of_streamed_images_is_asked_for(files):
    images, threads = Counted(files, size=32, channels=1), threading.active_count()
    train_encoder(tiny(), images=images, **SETTINGS, steps=8)
    assert images.asked and max(images.asked) <= SETTINGS["batch_size"]
    assert threading.active_count() == threads, "the thread that reads ahead has ended"


def test_a_file_that_vanishes_is_named(files):
    images = StreamedImages(files, size=32, channels=1)
    for file in files:
        file.unlink()
    with pytest.raises(ValueError, match=r"\d.png does not exist"):
        train_encoder(tiny(), images=images, **SETTINGS, steps=8)


class Stopping(SNGAN):
    """Has Ctrl-C pressed within its third step; a step draws images twice."""

    calls = 0

    def forward(self, latents, labels=None):
        self.calls += 1
        if self.calls == 6:
            signal.raise_signal(signal.SIGINT)
        return super().forward(latents, labels)


def stopping():
    torch.manual_seed(0)
    return Stopping(latent_dim=8, channels=1, num_classes=2, widths=(8, 8, 8, 8)).freeze()


STOPPED = r"stopped after step 3 of 6; go on with --resume"


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_that_goes_on_and_is_no_part_of_the_pack(tmp_path):
    def pack(generator=None):
        return DirectionPack(torch.eye(8)[:2], generator=generator or tiny())

    folder = pack().save_pretrained(tmp_path / "pack")
    real = torch.randint(0, 256, (9, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    words = {**SETTINGS, "images": real, "folder": folder, "steps": 6}
    with pytest.raises(Interrupted, match=STOPPED):
        train_pack_encoder(pack(stopping()), **words)
    assert (folder / ".encoder" / "checkpoint.pt").exists() and not DirectionPack.from_pretrained(folder).has_encoder
    with pytest.raises(EncoderTrainingError, match=r"holds the checkpoint of a training that did not end\. Go on with"):
        train_pack_encoder(pack(), **words)
    with pytest.raises(EncoderTrainingError, match=r"another run: steps was 6, is 7\. Give the same settings"):
        train_pack_encoder(pack(), **{**words, "steps": 7}, resume=True)
    with pytest.raises(EncoderTrainingError, match=r"another run: images was '9 of .*is '8 of"):
        train_pack_encoder(pack(), **{**words, "images": real[1:]}, resume=True)
    other = DirectionPack(torch.eye(8)[:2], generator=SNGAN(latent_dim=8, channels=1, widths=(8, 8, 8, 8)).freeze())
    with pytest.raises(EncoderTrainingError, match="made with another generator"):
        train_pack_encoder(other, **words, resume=True)
    finished = train_pack_encoder(pack(), **words, resume=True)
    unbroken = train_pack_encoder(pack(), **{**words, "folder": None})
    assert finished.encoder.weights_sha256() == unbroken.encoder.weights_sha256()
    assert finished.scores == unbroken.scores
    assert not (folder / ".encoder").exists() and (folder / "encoder" / "sheet.png").exists()
    with pytest.raises(EncoderTrainingError, match=r"no .* to go on from"):
        train_pack_encoder(pack(), **words, resume=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step", 99),
        ("encoder", {}),
        ("moments", {}),
        ("random_state", torch.zeros(3)),
        ("settings", None),
    ],
)
def test_a_checkpoint_that_is_none_is_refused(tmp_path, name, value):
    with pytest.raises(Interrupted, match=STOPPED):
        train_encoder(stopping(), out=tmp_path, **SETTINGS, steps=6)
    path = tmp_path / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    torch.save({**state, name: value}, path)
    with pytest.raises(EncoderTrainingError, match=r"checkpoint.pt (is damaged|belongs to another run)"):
        train_encoder(tiny(), out=tmp_path, resume=True, **SETTINGS, steps=6)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(EncoderTrainingError, match=r"checkpoint.pt is damaged"):
        train_encoder(tiny(), out=tmp_path, resume=True, **SETTINGS, steps=6)


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    settings = {**SETTINGS, "steps": 60, "learning_rate": 1e18}
    with pytest.raises(EncoderTrainingError, match="not finite at step"):
        train_encoder(tiny(), out=tmp_path, checkpoint_every=1, **settings)
    saved = tmp_path / "checkpoint.pt"
    assert not saved.exists() or all(
        tensor.isfinite().all() for tensor in torch.load(saved, weights_only=True)["encoder"].values()
    )
