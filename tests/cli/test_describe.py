from ganaug.packs import DirectionPack


def test_describe_prints_what_changes_and_writes_it_into_the_pack(run, pack, tmp_path):
    folder = pack.save_pretrained(tmp_path / "tiny")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    text = run("describe", folder, "--samples", 8)
    assert "4 background" in text and "2 stroke" in text and "forehead (share, rank)" in text
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert "written into" in run("describe", folder, "--samples", 8, "--magnitude", 2, "--write")
    written = DirectionPack.from_pretrained(folder)
    assert written["background"].scores.keys() >= {"label", "border", "mouth"}
    assert written.commands["mouth"] == f"ganaug describe {folder} --samples 8 --magnitude 2"
    assert "--write changes a pack's folder" in run("describe", "digits", "--write", code=2)
