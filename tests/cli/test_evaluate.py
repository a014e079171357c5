import pytest
import torch

from ganaug.packs import DirectionPack


@pytest.mark.slow
def test_evaluate_prints_the_figures_and_writes_them_into_the_pack(run, pack, reading_judge, data_root, tmp_path):
    folder = pack.save_pretrained(tmp_path / "tiny")
    torch.jit.trace(reading_judge, torch.rand(2, 3, 32, 32)).save(tmp_path / "judge.pt")
    words = ("--images", f"digits:{data_root}", "--judge-steps", 2, "--samples", 60, "--rate", 0.8)
    words += ("--measure-ranges", "--direction", "background", "--write")
    text = run("evaluate", folder, *words, "--model", tmp_path / "judge.pt")
    assert "the classifier given reads" in text
    assert "of 6 directions have a safe range at rate 0.8 of what is read unshifted" in text
    assert "label mask_iou outside inside" in " ".join(text.split()) and "4 background" in text
    written = DirectionPack.from_pretrained(folder)
    figures = written[4].scores
    assert set(figures) == {"label", "mask_iou", "outside", "inside"} and 0 < figures["outside"] < 1
    assert all(direction.safe_range is not None for direction in written)
    assert "--images digits:DATA --judge-steps 2" in written.commands["outside"]
    assert "--write" not in written.commands["outside"] and written.scores["label unshifted"] > 0.5
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    text = run("evaluate", folder, *words, code=1)
    assert "little better than guessing (0.1000)" in text and "--judge-steps" in text, "two steps make no judge"
    after = {file.name: file.read_bytes() for file in folder.iterdir() if file.name in before}
    assert after == before
    assert "comes with ganaug and stays" in run("evaluate", "digits", *words, "--write", code=2)


@pytest.mark.slow
def test_evaluate_judges_any_pack_alike_without_data(run, pack_folder):
    text = run("evaluate", pack_folder, "--rca", "--rca-steps", 3, "--write")
    assert "|cosine| of two directions: mean" in text and "RCA of a fresh reconstructor, 3 steps" in text
    scores = DirectionPack.from_pretrained(pack_folder).scores
    assert (
        0 <= scores["rca_fresh"] <= 1
        and f"RCA of a fresh reconstructor, 3 steps of 32 pairs: {scores['rca_fresh']:.4f}" in text
    )


def test_evaluate_refuses_images_of_another_kind(run, pack_folder, data_root):
    text = run("evaluate", pack_folder, "--images", f"mnist:{data_root}", code=1)
    assert "mnist has images of shape (1, 32, 32); the generator of pack" in text
    assert "no data set 'cats'" in run("evaluate", pack_folder, "--images", f"cats:{data_root}", code=1)


def test_real_images_are_inverted_shifted_and_judged(run, inverting_pack, data_root, tmp_path):
    folder = inverting_pack.save_pretrained(tmp_path / "tiny")
    words = ("--images", f"digits:{data_root}", "--inverted", "--judge-steps", 2, "--samples", 8)
    text = run("evaluate", folder, *words, "--blend", "replace", "--direction", 2, "--write")
    for figure in ("label before", "label, class given", "mask_iou", "outside", "reconstructed"):
        assert figure in text, figure
    scores = DirectionPack.from_pretrained(folder).scores
    assert 0 <= scores["real label, class given"] <= 1
    command = scores["real label, class given_command"]
    assert "--images digits:DATA --inverted" in command and "--write" not in command


def test_figures_are_written_on_request_alone(run, pack, data_root, tmp_path):
    folder = pack.save_pretrained(tmp_path / "tiny")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    words = ("--images", f"digits:{data_root}", "--judge-steps", 2, "--samples", 20, "--magnitude", "-1,1")
    text = run("evaluate", folder, *words, "--all", "--device", "cpu")
    assert all(f" {index}" in text for index in range(6)) and "-1.00, +1.00" in text.replace(",+", ", +")
    kept = {file.name for file in folder.iterdir()} - set(before)
    assert {name[:7] for name in kept} == {".judge-"} and len(kept) == 2, "the judges alone stay"
    assert all((folder / name).read_bytes() == content for name, content in before.items())
