import pytest
from PIL import Image

from ganaug.packs import DirectionPack


@pytest.mark.slow
def test_demo_runs_the_whole_job(run, tmp_path):
    text = run("demo", "--out", tmp_path / "demo", "--steps", 6, "--device", "cpu")
    assert "labels unchanged: True" in text
    pack = DirectionPack.from_pretrained(tmp_path / "demo" / "pack")
    assert pack.num_directions == 16
    for picture in ("discovered.png", "background.png"):
        with Image.open(tmp_path / "demo" / picture) as image:
            assert image.width > 300 and len(set(image.convert("L").resize((64, 64)).tobytes())) > 20


def test_a_pack_that_is_not_the_demos_is_kept(run, tmp_path, pack_folder):
    before = {file.name: file.read_bytes() for file in pack_folder.iterdir()}
    assert "not the demo's" in run("demo", "--out", pack_folder.parent, "--steps", 6, code=2)
    assert {file.name: file.read_bytes() for file in pack_folder.iterdir()} == before
