from pathlib import Path

from PIL import Image


def test_a_page_goes_where_it_should(run, pack_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"Open {Path('ganaug-show-pack', 'index.html')} in a browser" in run("show", pack_folder, "--seeds", 1)
    page = run("show", pack_folder, "--out", "page", "--seeds", 2, "--reach", 1.5)
    assert "page" in page and "colour" in Path("page", "index.html").read_text()
    assert len(list(Path("page").glob("direction_*.png"))) == 3


def test_ones_own_photographs_are_walked_under_their_names(run, pack_folder, photos, tmp_path):
    words = ("show", pack_folder, "--seeds", 2, "--images", photos("cat", "dog", size=(40, 36)))
    assert "has no encoder" in run(*words, "--out", tmp_path / "page", code=1) and not (tmp_path / "page").exists()
    run("train-encoder", pack_folder, "steps=1", "batch_size=4", "width=4", "hidden=8")
    run(*words, "--out", tmp_path / "page", "--no-check-domain")
    run("show", pack_folder, "--seeds", 2, "--out", tmp_path / "drawn")
    assert "an image of yours" in (tmp_path / "page" / "index.html").read_text()
    own, drawn = (Image.open(tmp_path / name / "direction_001.png") for name in ("page", "drawn"))
    assert own.width > drawn.width + 64, "a column more, and the names"
    plain = own.convert("RGB").getpixel((own.width - 10 * 66 + 10, 30))
    assert plain == (200, 30, 90), "first comes the photograph as it is"
