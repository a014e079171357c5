def test_packs_lists_the_bundled_ones_with_their_names(run):
    text = run("packs")
    for name in ("digits", "mnist", "faces"):
        assert f"{name}: " in text
    assert "background" in text
