"""A measurement that was stopped goes on."""

import pytest

from ganaug.errors import EvaluationError
from ganaug.evaluation import Progress, evaluate
from ganaug.evaluation.generated import _Measured
from ganaug.evaluation.labels import ReadLabels


def test_what_was_found_is_not_measured_again(pack, reading_judge, data_root, tmp_path, monkeypatch):
    identity = {"images": "digits:DATA", "samples": 60}
    arguments = {
        "judge_steps": 1,
        "samples": 60,
        "measure_ranges": True,
        "judge": reading_judge,
        "rate": 0.8,
        "show_progress": False,
    }
    arguments |= {"directions": range(6), "interval": (-1.0, 1.0)}
    whole = evaluate(pack, f"digits:{data_root}", **arguments)
    figures, measured = _Measured.figures, []

    def stopped(self, direction, interval):
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(direction.index)
        return figures(self, direction, interval)

    monkeypatch.setattr(_Measured, "figures", stopped)
    with pytest.raises(KeyboardInterrupt):
        evaluate(pack, f"digits:{data_root}", **arguments, progress=Progress(tmp_path, pack, identity))
    assert [file.name.startswith(".evaluation-") for file in tmp_path.glob("*.json")] == [True]

    monkeypatch.setattr(ReadLabels, "safe_range", lambda *_, **__: pytest.fail("all are known"))
    monkeypatch.setattr(_Measured, "figures", lambda *words: measured.append(words[1].index) or figures(*words))
    progress = Progress(tmp_path, pack, identity)
    again = evaluate(pack, f"digits:{data_root}", **arguments, progress=progress)
    assert again.to_json() == whole.to_json() and len(measured) == len(set(measured))
    progress.finish()
    assert not list(tmp_path.glob("*.json"))


def test_other_settings_and_other_packs_have_files_of_their_own(pack, grey_pack, tmp_path):
    for each, identity in ((pack, {"seed": 0}), (pack, {"seed": 1}), (grey_pack, {"seed": 0})):
        assert Progress(tmp_path, each, identity).of("a", lambda: 1) == 1
    assert len(list(tmp_path.iterdir())) == 3
    assert Progress(tmp_path, pack, {"seed": 1}).of("a", lambda: 2) == 1


def test_a_file_of_somebody_elses_is_refused_and_stays(pack, tmp_path):
    progress = Progress(tmp_path, pack, {})
    for content in ("{}", "mine", '{"format": "ganaug evaluation", "identity": "x", "found": {}}'):
        progress.path.write_text(content)
        with pytest.raises(EvaluationError, match="holds no figures of ganaug's"):
            Progress(tmp_path, pack, {})
        assert progress.path.read_text() == content
