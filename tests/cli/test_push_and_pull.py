def test_pull_overwrites_nothing(run, pack_folder, tmp_path):
    kept = tmp_path / "mine" / "mine.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    text = run("pull", pack_folder, kept.parent, code=2)
    assert "is not empty" in text and [path.name for path in kept.parent.iterdir()] == ["mine.txt"]


def test_pull_writes_a_pack_that_it_has_checked(run, pack_folder, tmp_path):
    run("pull", pack_folder, tmp_path / "copy")
    same = ("config.json", "directions.safetensors", "generator.safetensors")
    assert all((tmp_path / "copy" / name).read_bytes() == (pack_folder / name).read_bytes() for name in same)
    (pack_folder / "directions.safetensors").write_bytes(b"")
    run("pull", pack_folder, tmp_path / "damaged", code=1)
    assert not (tmp_path / "damaged").exists()


def test_a_push_that_cannot_be_is_one_message(run, pack_folder, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert "could not be pushed to the Hub" in " ".join(run("push", pack_folder, "no name", code=1).split())
