"""Images of files, held in memory or streamed."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from ganaug import streams
from ganaug.data import images_in_folder, read_labelled
from ganaug.errors import DataError
from ganaug.evaluation import predict, train_classifier
from ganaug.files import in_threads
from ganaug.streams import StreamedImages, images_of


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(30):
        (tmp_path / "ab"[k % 2]).mkdir(exist_ok=True)
        Image.fromarray(rng.integers(256, size=(20, 30, 3), dtype=np.uint8)).save(tmp_path / "ab"[k % 2] / f"{k}.png")
    return tmp_path


def test_what_is_streamed_is_what_is_held(folder, monkeypatch):
    held = images_in_folder(folder, size=16, channels=3), read_labelled(folder, size=16)
    monkeypatch.setattr(streams, "HELD", 1000)
    streamed = images_in_folder(folder, size=16, channels=3), read_labelled(folder, size=16)
    assert isinstance(streamed[0], StreamedImages) and isinstance(streamed[1].images, StreamedImages)
    for there, here in ((held[0], streamed[0]), (held[1].images, streamed[1].images)):
        assert here.shape == there.shape and len(here) == len(there) and here.dtype == there.dtype
        index = torch.tensor([3, 0, 3, 11])
        assert torch.equal(here[index], there[index]) and torch.equal(here[2:5], there[2:5])
        assert torch.equal(here[4], there[4]) and torch.equal(torch.cat(list(here.split(7))), there)
    assert torch.equal(held[1].labels, streamed[1].labels)


def test_a_judge_learns_from_streamed_images_what_it_learns_from_held_ones(folder, monkeypatch):
    held = read_labelled(folder, size=16)
    monkeypatch.setattr(streams, "HELD", 1000)
    streamed = read_labelled(folder, size=16)
    judges = [
        train_classifier(each.images, each.labels, steps=3, batch_size=8, show_progress=False)
        for each in (held, streamed)
    ]
    for one, other in zip(judges[0].parameters(), judges[1].parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(predict(judges[0], held.images), predict(judges[0], streamed.images, batch_size=7))


def test_a_file_that_breaks_while_it_is_used_is_named(folder):
    images = images_of(sorted(folder.rglob("*.png")), size=16, channels=3)
    assert isinstance(images, torch.Tensor)
    streamed = StreamedImages(sorted(folder.rglob("*.png")), size=16, channels=3)
    (folder / "a" / "4.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a/4\.png"):
        streamed[:]


def test_threads_keep_the_order_and_read_no_further_than_is_taken():
    begun = []

    def work(item):
        begun.append(item)
        return item * 2

    results = in_threads(work, range(1000))
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert len(begun) < 100
    assert list(results) == [2 * item for item in range(5, 1000)]


@pytest.mark.slow
def test_a_folder_larger_than_memory_should_hold_is_streamed(tmp_path):
    """3,000 links to one photograph of 512 px would be 2.4 GB."""
    (tmp_path / "a").mkdir()
    Image.effect_noise((512, 512), 50).convert("RGB").resize((64, 64)).save(tmp_path / "photograph.png")
    for k in range(3000):
        (tmp_path / "a" / f"{k}.png").symlink_to(tmp_path / "photograph.png")
    code = (
        "import re, sys; from ganaug.data import images_in_folder; "
        "images = images_in_folder(sys.argv[1], size=512, channels=3); "
        "seen = sum(len(batch) for batch in images.split(64)); "
        "print(seen, *re.findall(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read()))"
    )
    told = subprocess.run([sys.executable, "-c", code, tmp_path / "a"], capture_output=True, text=True, check=True)
    seen, kilobytes = map(int, told.stdout.split())
    assert seen == 3000 and kilobytes < 1_500_000
