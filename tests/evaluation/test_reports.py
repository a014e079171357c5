"""What comes out of a measurement: figures whose truth is known, as text, as JSON, in files and in the pack."""

import json

import pytest
import torch

from ganaug.errors import DataError, PackError, TransformError
from ganaug.evaluation import cosines, describe, evaluate, evaluate_inverted
from ganaug.generators import Generator
from ganaug.packs import DirectionPack

QUICK = {"judge_steps": 2, "samples": 20}


class Strokes(torch.nn.Module):
    """A bright stroke from top to bottom; latent 0 slants it, latent 1 lights the image, latent 2 does nothing."""

    def forward(self, latents):
        y, x = torch.meshgrid(torch.linspace(-1, 1, 24), torch.linspace(-1, 1, 24), indexing="ij")
        slant = 0.1 * latents[:, 0, None, None]
        distance = (x + slant * y).abs().expand(len(latents), 24, 24)
        light = 0.5 * (latents[:, 1, None, None] / 3).sigmoid()
        noise = 0.01 * latents[:, 3, None, None].tanh()
        return (2 * (-8 * distance).exp() * light - 1 + noise.abs())[:, None].clamp(-1, 1)


@pytest.fixture
def strokes():
    generator = Generator.from_module(Strokes(), latent_dim=4, image_size=24, channels=1)
    return DirectionPack(torch.eye(4)[:3], generator=generator, names={"slant": 0, "light": 1, "none": 2})


def test_describe_says_what_changes_along_a_direction(strokes):
    report = describe(strokes, samples=50)
    assert report.figures == ["ink", "slant", "width", "height"]
    effects = {label: found for _, label, found in report.rows}
    assert [label for _, label, _ in report.rows] == ["0 slant", "1 light", "2 none"]
    assert effects["0 slant"]["slant"].change > 3 and effects["0 slant"]["slant"].share == 1.0
    assert effects["0 slant"]["slant"].rank == 1 == effects["1 light"]["ink"].rank
    assert effects["1 light"]["ink"].change > 3 and abs(effects["1 light"]["slant"].change) < 0.5
    assert all(effect.change == 0 for effect in effects["2 none"].values())
    report.add_to(strokes, command="ganaug describe strokes")
    assert strokes["light"].scores["ink"] == round(effects["1 light"]["ink"].change, 2)
    assert strokes.commands["ink"] == "ganaug describe strokes"


def test_cosines_name_the_two_directions_that_are_most_alike(strokes):
    row = torch.nn.functional.normalize(torch.tensor([3.0, 0, 4.0, 0]), dim=0)
    pack = DirectionPack(torch.stack([torch.eye(4)[0], torch.eye(4)[1], row]), generator=strokes.generator)
    found = cosines(pack)
    assert found.pair == (0, 2) and found.largest == pytest.approx(0.6) and found.mean == pytest.approx(0.2)
    with pytest.raises(PackError, match="has one direction, and cosines are of two"):
        cosines(DirectionPack(torch.eye(4)[:1], generator=strokes.generator))


def test_a_report_is_text_json_files_and_part_of_the_pack(pack, data_root, tmp_path):
    report = evaluate(pack, f"digits:{data_root}", interval=(-1.0, 1.0), show_progress=False, **QUICK)
    assert [row.label for row in report.rows] == ["2 stroke", "4 background"]
    figures = report.rows[1].figures
    assert {"label", "mask_iou", "outside", "inside"} <= figures.keys() and 0 <= figures["label"] <= 1
    again = json.loads(report.to_json())
    assert again["rows"][1]["figures"] == figures and again["dataset"] == "digits" and again["rate"] == 0.95
    folder = report.save(tmp_path / "a" / "report")
    assert json.loads((folder / "report.json").read_text()) == again
    assert (folder / "report.txt").read_text() == report.table() + "\n"
    assert f"{figures['outside']:.4f}" in report.table()
    before = dict(pack["background"].scores)
    report.add_to(pack, command="ganaug evaluate tiny")
    assert before != pack["background"].scores and pack["background"].scores["outside"] == round(figures["outside"], 4)


def test_measuring_leaves_the_pack_as_it_is_and_repeats(pack, data_root):
    before, scores = pack.generator.weights_sha256(), pack["background"].scores
    first, second = (
        evaluate(pack, f"digits:{data_root}", directions=["background"], show_progress=False, **QUICK).to_json()
        for _ in range(2)
    )
    assert first == second
    assert pack.generator.weights_sha256() == before and pack["background"].scores == scores
    assert pack["background"].safe_range == (-4.0, 4.0)


def test_real_images_are_shifted_and_read(inverting_pack, data_root):
    report = evaluate_inverted(inverting_pack, f"digits:{data_root}", **QUICK)
    assert set(report.figures) == {
        "label before",
        "reconstructed",
        "class read by the encoder",
        "label, class given",
        "label, class read",
        "mask_iou",
        "outside",
    }
    assert all(0 <= value <= 1 for value in report.figures.values())
    assert json.loads(report.to_json())["figures"] == report.figures
    assert report.table().startswith("tiny, background, blend=add, 20 real test images of digits\n")
    report.add_to(inverting_pack, command="ganaug evaluate tiny --inverted")
    assert inverting_pack.scores["real reconstructed"] == round(report.figures["reconstructed"], 4)
    assert inverting_pack.scores["real mask_iou_command"] == "ganaug evaluate tiny --inverted"


def test_what_can_not_be_measured_is_refused(pack, grey_pack, data_root):
    with pytest.raises(PackError, match=r"mnist has images of shape \(1, 32, 32\); .* pack 'tiny' draws \(3, 32"):
        evaluate(pack, f"mnist:{data_root}", **QUICK)
    with pytest.raises(TransformError, match="needs a pack with an encoder"):
        evaluate_inverted(pack, f"digits:{data_root}", **QUICK)
    for images in ("cifar:here", "digits", "digits:"):
        with pytest.raises(DataError, match="mnist, fashion-mnist, digits"):
            evaluate(pack, images, **QUICK)
    with pytest.raises(PackError, match="background"):
        evaluate_inverted(grey_pack, f"mnist:{data_root}", **QUICK)
