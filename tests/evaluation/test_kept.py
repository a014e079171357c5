"""Judges are trained once for the same images and settings, and kept beside the pack, which knows nothing of them."""

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ganaug.errors import DataError, EvaluationError
from ganaug.evaluation import evaluate
from ganaug.packs import DirectionPack

QUICK = {"judge_steps": 1, "samples": 8, "directions": [0], "interval": (-1.0, 1.0), "show_progress": False}


@pytest.fixture
def photos(tmp_path):
    """Five images of each of the ten classes."""
    rng = torch.Generator().manual_seed(0)
    for label in range(10):
        (tmp_path / "photos" / str(label)).mkdir(parents=True)
        for number in range(5):
            pixels = torch.randint(256, (32, 32, 3), generator=rng).to(torch.uint8).numpy()
            Image.fromarray(pixels).save(tmp_path / "photos" / str(label) / f"{number}.png")
    return tmp_path / "photos"


def judges(folder):
    return sorted(folder.glob(".judge-*.safetensors"))


def test_a_judge_is_trained_once_and_again_when_anything_changed(pack, photos, tmp_path, monkeypatch):
    folder = pack.save_pretrained(tmp_path / "tiny")
    packed = {file.name: file.read_bytes() for file in folder.iterdir()}
    first = evaluate(pack, photos, keep_judges=folder, **QUICK)
    [kept] = judges(folder)
    with monkeypatch.context() as patched:
        patched.setattr("ganaug.evaluation.kept.train_classifier", lambda *_, **__: pytest.fail("it is there"))
        assert evaluate(pack, photos, keep_judges=folder, **QUICK).to_json() == first.to_json()
    assert set(first.classes) == set("0123456789") and first.rows[0].worst in first.classes
    assert evaluate(pack, photos, **QUICK).to_json() == first.to_json(), "kept or not, it is the same judge"
    evaluate(pack, photos, keep_judges=folder, **{**QUICK, "judge_steps": 2})
    evaluate(pack, photos, keep_judges=folder, seed=1, **QUICK)
    Image.new("RGB", (32, 32)).save(photos / "3" / "0.png")
    evaluate(pack, photos, keep_judges=folder, **QUICK)
    assert len(judges(folder)) == 4 and kept in judges(folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.name in packed} == packed
    again = DirectionPack.from_pretrained(folder).save_pretrained(tmp_path / "copy")
    assert not judges(again), "a pack that is written or pushed has no judge in it"


def test_a_judge_that_was_changed_is_refused_and_stays(pack, photos, tmp_path):
    evaluate(pack, photos, keep_judges=tmp_path, **QUICK)
    [kept] = judges(tmp_path)
    whole, tensors = kept.read_bytes(), load_file(kept)
    metadata = {"format": "ganaug judge 1"}
    changed = whole[:-4] + bytes(4) if whole[-4:] != bytes(4) else whole[:-4] + b"abcd"
    save_file(tensors, tmp_path / "other.safetensors", metadata)
    for content in (b"", whole[:1000], changed, (tmp_path / "other.safetensors").read_bytes(), b"mine"):
        kept.write_bytes(content)
        with pytest.raises(EvaluationError, match=r"does not hold the judge that ganaug kept there\. Delete it"):
            evaluate(pack, photos, keep_judges=tmp_path, **QUICK)
        assert kept.read_bytes() == content


def test_a_folder_that_lacks_classes_of_the_generator_is_refused(pack, photos):
    for file in (photos / "7").iterdir():
        file.unlink()
    (photos / "7").rmdir()
    with pytest.raises(DataError, match=r"no training images of 1 of the classes .*: 7"):
        evaluate(pack, photos, **QUICK)
