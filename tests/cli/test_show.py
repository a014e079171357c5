from pathlib import Path


def test_a_page_goes_where_it_should(run, pack_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"Open {Path('ganaug-show-pack', 'index.html')} in a browser" in run("show", pack_folder, "--seeds", 1)
    page = run("show", pack_folder, "--out", "page", "--seeds", 2, "--reach", 1.5)
    assert "page" in page and "colour" in Path("page", "index.html").read_text()
    assert len(list(Path("page").glob("direction_*.png"))) == 3
