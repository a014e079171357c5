from ganaug.transforms import LatentBank


def test_a_bank_from_the_command_line(run, pack_folder, tmp_path):
    out = tmp_path / "bank.safetensors"
    assert "40 images" in run("bank", pack_folder, out, "--direction", "colour", "--direction", 0, "--size", 40)
    assert set(LatentBank(out).indices.tolist()) == {0, 1}
    assert "exists" in run("bank", pack_folder, out, "--direction", 0, "--size", 40, code=1)


def test_magnitudes_from_the_command_line(run, pack_folder, tmp_path):
    for words, low, high in (("2", 2, 2), ("-3,-1", -3, -1), ("safe", -6, 6)):
        out = tmp_path / f"{words}.safetensors"
        run("bank", pack_folder, out, "--direction", 0, "--size", 40, "--magnitude", words)
        magnitudes = LatentBank(out).magnitudes
        assert low <= magnitudes.min() and magnitudes.max() <= high
        assert (magnitudes.max() - magnitudes.min() > (high - low) / 2) or low == high
