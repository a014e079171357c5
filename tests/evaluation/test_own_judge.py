"""A judge of the user's own: in Python, or in a file that is run and never unpickled."""

import copy
import pickle

import pytest
import torch
from torch import nn

from ganaug.errors import EvaluationError, FileError
from ganaug.evaluation import evaluate, read_judge

QUICK = {"samples": 60, "judge_steps": 1, "directions": [0], "interval": (-0.1, 0.1), "show_progress": False}
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_all_ways_to_bring_a_judge_read_alike(pack, reading_judge, data_root, tmp_path):
    torch.jit.trace(reading_judge, IMAGES).save(tmp_path / "script.pt")
    exported = torch.export.export(reading_judge, (IMAGES,), dynamic_shapes=({0: torch.export.Dim("N")},))
    torch.export.save(exported, tmp_path / "export.pt2")
    normalised = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    normalised[1].weight.data = reading_judge[1].weight.data * 0.5
    normalised[1].bias.data = reading_judge[1].bias.data + reading_judge[1].weight.data.sum(1) * 0.25
    torch.jit.trace(normalised, IMAGES).save(tmp_path / "normalised.pt")
    given = evaluate(pack, f"digits:{data_root}", judge=reading_judge, **QUICK)
    assert given.unshifted > 0.5 and given.judge == "the classifier given"
    judges = [read_judge(tmp_path / name) for name in ("script.pt", "export.pt2")]
    judges.append(read_judge(tmp_path / "normalised.pt", mean=[0.25] * 3, std=[0.5] * 3))
    for judge in judges:
        torch.testing.assert_close(judge(IMAGES), reading_judge(IMAGES), rtol=1e-3, atol=1e-3)
        assert evaluate(pack, f"digits:{data_root}", judge=judge, **QUICK).unshifted == given.unshifted


def test_a_judge_is_left_as_it_was(pack, reading_judge, data_root):
    judge = nn.Sequential(copy.deepcopy(reading_judge), nn.Dropout(0.9)).train()
    judge[0].eval()
    found = evaluate(pack, f"digits:{data_root}", judge=judge, **QUICK)
    assert found.unshifted == evaluate(pack, f"digits:{data_root}", judge=reading_judge, **QUICK).unshifted
    assert judge.training and judge[1].training and not judge[0].training


def test_judges_that_do_not_fit_are_refused(pack, data_root):
    images = f"digits:{data_root}"
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 9))
    with pytest.raises(EvaluationError, match=r"logits of shape \(2, 10\), one for each class; got \(2, 9\)"):
        evaluate(pack, images, judge=linear, **QUICK)
    with pytest.raises(EvaluationError, match=r"does not take images of shape \(2, 3, 32, 32\)"):
        evaluate(pack, images, judge=nn.Conv2d(1, 1, 1), **QUICK)
    with pytest.raises(EvaluationError, match=r"should be an nn\.Module, got function"):
        evaluate(pack, images, judge=lambda x: x, **QUICK)


def test_files_that_are_no_program_are_refused_and_nothing_in_them_is_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    torch.save({"x": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "text.pt").write_text("mine")
    for name in ("module.pt", "evil.pt", "evil.pkl", "text.pt"):
        with pytest.raises(EvaluationError, match=r"is no program of TorchScript or torch\.export"):
            read_judge(tmp_path / name)
    assert not (tmp_path / "opened").exists()
    with pytest.raises(FileError, match="missing"):
        read_judge(tmp_path / "none.pt")


def test_pickles_within_a_program_are_not_run(tmp_path, reading_judge, monkeypatch):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    def loads(path):
        torch.save({"x": Evil()}, tmp_path / "weights")
        return torch.load(tmp_path / "weights", weights_only=False)

    torch.export.save(torch.export.export(reading_judge, (IMAGES,)), tmp_path / "export.pt2")
    monkeypatch.setattr(torch.export, "load", loads)  # as it does of weights that are no plain tensors
    with pytest.raises(EvaluationError, match="can't be read as a program"):
        read_judge(tmp_path / "export.pt2")
    assert not (tmp_path / "opened").exists()


def test_mean_and_std_belong_together(tmp_path, reading_judge):
    torch.jit.trace(reading_judge, IMAGES).save(tmp_path / "script.pt")
    with pytest.raises(EvaluationError, match="belong together"):
        read_judge(tmp_path / "script.pt", mean=[0.5])
    with pytest.raises(EvaluationError, match="std should be above 0"):
        read_judge(tmp_path / "script.pt", mean=[0.5], std=[0.0])
