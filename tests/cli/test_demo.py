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
    assert f'pack="{tmp_path}/demo/pack"' in (tmp_path / "demo" / "pack" / "README.md").read_text()
    run("demo", "--out", tmp_path / "demo", "--steps", 5, "--device", "cpu")
    run("name", tmp_path / "demo" / "pack", "3=mine")
    text = run("demo", "--out", tmp_path / "demo", "--steps", 6, "--device", "cpu", code=1)
    assert "was changed since ganaug wrote it" in text
    assert DirectionPack.from_pretrained(tmp_path / "demo" / "pack").names == {"mine": 3}


def test_a_pack_that_is_not_the_demos_is_kept(run, tmp_path, pack_folder):
    before = {file.name: file.read_bytes() for file in pack_folder.iterdir()}
    text = run("demo", "--out", pack_folder.parent, "--steps", 6, code=1)
    assert f"{pack_folder} is there already and was not written by this command" in " ".join(text.split())
    assert {file.name: file.read_bytes() for file in pack_folder.iterdir()} == before
