import hashlib
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch.nn import functional as F

from ganaug.cli import main
from ganaug.generators import SNGAN, Generator
from ganaug.inversion import InvertedFolder
from ganaug.packs import DirectionPack
from ganaug.training import DiscoverySettings, EncoderSettings
from ganaug.transforms import LatentBank


@pytest.fixture
def run():
    def invoke(*words, code=0):
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == code, result.output
        return result.output

    return invoke


@pytest.fixture
def generator_folder(tmp_path):
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=8, channels=1, widths=(8, 8, 8, 8)).freeze()
    generator.save_pretrained(tmp_path / "generator")
    return tmp_path / "generator"


@pytest.fixture
def pack_folder(tmp_path):
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=8, channels=3, num_classes=2, widths=(8, 8, 8, 8)).freeze()
    directions = F.normalize(torch.randn(3, 8), dim=1)
    pack = DirectionPack(directions, generator=generator, names={"colour": 1})
    return pack.save_pretrained(tmp_path / "pack")


TINY = ("num_directions=3", "batch_size=4", "steps=4", "reconstructor=lenet")


def test_help_names_every_command_and_the_way_on(run):
    text = run("--help")
    for command in (
        "demo", "train", "train-encoder", "show", "name", "packs", "augment", "invert", "bank", "evaluate", "convert",
        "push", "pull",
    ):  # fmt: skip
        assert f"\n  {command} " in text
        assert "Usage:" in run(command, "--help")
    assert "ganaug demo" in text


@pytest.mark.parametrize(
    ("command", "settings"), [("train", DiscoverySettings()), ("train-encoder", EncoderSettings())]
)
def test_training_help_lists_every_setting_with_its_default(run, command, settings):
    text = run(command, "--help")
    for key, value in settings.to_dict().items():
        shown = f"{value:.0e}".replace("e-0", "e-") if isinstance(value, float) and 0 < value < 1e-2 else str(value)
        assert f"{key}={shown}" in text, key


def test_train_show_name_end_to_end(run, generator_folder, tmp_path):
    out = tmp_path / "runs" / "mine"
    text = run("train", "--generator", generator_folder, "--out", out, *TINY)
    assert "RCA on 10,000 fresh pairs" in text
    assert {file.name for file in out.iterdir()} >= {
        "config.json",
        "directions.safetensors",
        "generator.safetensors",
        "README.md",
        "preview.png",
        "metrics.jsonl",
    }
    run("name", out, "2=stroke", "0=slant")
    run("name", out, "0=")
    assert DirectionPack.from_pretrained(out).names == {"stroke": 2}
    page = run("show", out, "--out", tmp_path / "page", "--seeds", 1)
    assert "index.html" in page and "stroke" in (tmp_path / "page" / "index.html").read_text()


def test_train_from_a_recipe_with_overrides(run, generator_folder, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        f'[pack]\ngenerator = "{generator_folder}"\nlicense = "mit"\n'
        '[discovery]\nnum_directions = 3\nbatch_size = 4\nsteps = 50\nreconstructor = "lenet"\n'
    )
    run("train", recipe, "--out", tmp_path / "out", "steps=2", "seed=5")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["method"]["steps"] == 2 and config["method"]["seed"] == 5 and config["licence"] == "mit"


def test_ctrl_c_leaves_a_checkpoint_and_resume_finishes(run, generator_folder, tmp_path):
    words = ["train", "--generator", str(generator_folder), "--out", str(tmp_path / "out"), *TINY, "steps=300"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ganaug", *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    metrics = tmp_path / "out" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_text()):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "go on with --resume" in errors and "Traceback" not in errors
    run(*words, "--resume")
    assert DirectionPack.from_pretrained(tmp_path / "out").num_directions == 3


def test_augment_keeps_classes_sizes_and_counts(run, pack_folder, tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / "in" / label).mkdir(parents=True)
        for k in range(2):
            Image.new("RGB", (20, 28), (200, 30 * k, 90)).save(tmp_path / "in" / label / f"{k}.png")
    words = (
        "augment",
        tmp_path / "in",
        tmp_path / "out",
        "--pack",
        pack_folder,
        "--direction",
        "colour",
        "--copies",
        3,
    )
    assert "12 images" in run(*words)
    files = sorted((tmp_path / "out").rglob("*.png"))
    assert len(files) == 12 and {file.parent.name for file in files} == {"cat", "dog"}
    assert {Image.open(file).size for file in files} == {(20, 28)}
    assert len({file.read_bytes() for file in files}) == 12, "every augmented image is another one"
    assert "is not empty" in run(*words, code=2)


def test_augment_along_several_directions_at_once(run, pack_folder, tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / "in" / label).mkdir(parents=True)
        Image.new("RGB", (32, 32), (200, 30, 90)).save(tmp_path / "in" / label / "0.png")
    pixels = set()
    for count in (1, 2):
        out = tmp_path / f"out{count}"
        words = ("--pack", pack_folder, "--direction", "any", "--magnitude", 2, "--num-ops", count)
        run("augment", tmp_path / "in", out, *words)
        pixels.add((out / "cat" / "0_0.png").read_bytes())
    assert len(pixels) == 2
    text = run(
        "augment", tmp_path / "in", tmp_path / "out", "--pack", pack_folder, "--direction", 0, "--num-ops", 2, code=1
    )
    assert "from 1 to the number of directions" in text


def test_nothing_of_the_users_is_overwritten(run, pack_folder, tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / "in" / label).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "in" / label / "0.png")
    kept = tmp_path / "out.part" / "mine.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    words = ("--pack", pack_folder, "--direction", 0)
    run("augment", tmp_path / "in", tmp_path / "out", *words)
    assert kept.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".", "out"))) == ["out", "out.part"]
    text = run("augment", tmp_path / "in", tmp_path / "in" / "more", *words, code=2)
    assert "lies inside" in text and not (tmp_path / "in" / "more").exists()
    text = run("pull", pack_folder, kept.parent, code=2)
    assert "is not empty" in text and [path.name for path in kept.parent.iterdir()] == ["mine.txt"]


def test_augment_names_a_wrong_number_of_classes(run, pack_folder, tmp_path):
    (tmp_path / "in" / "only").mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(tmp_path / "in" / "only" / "a.png")
    text = run("augment", tmp_path / "in", tmp_path / "out", "--pack", pack_folder, "--direction", 0, code=2)
    assert "has 1 class subfolders" in text and "draws 2 classes" in text


def test_an_encoder_opens_the_way_to_real_images(run, pack_folder, tmp_path):
    photos = tmp_path / "photos"
    for label in ("cat", "dog", "fox"):
        (photos / label).mkdir(parents=True)
        for k in range(2):
            Image.new("RGB", (40, 36), (100 + 40 * k, 90, 120)).save(photos / label / f"{k}.png")
    pictures = [str(file.relative_to(photos)) for file in sorted(photos.rglob("*.png"))]
    assert "has no encoder" in run("invert", photos, "--pack", pack_folder, code=1)

    recipe = tmp_path / "mine.toml"
    recipe.write_text('[pack]\ngenerator = "g"\n[encoder]\nsteps = 5\nbatch_size = 4\nwidth = 4\n')
    assert "parameters" in run("train-encoder", pack_folder, "--recipe", recipe, "--images", photos, "hidden=8")
    pack = DirectionPack.from_pretrained(pack_folder)
    assert pack.encoder.config["width"] == 4 and pack.encoder.config["hidden"] == 8
    assert pack.encoder_method["steps"] == 5 and "hidden=8" in pack.encoder_method["command"]

    assert "latents.safetensors" in run("invert", photos, "--pack", pack_folder)
    assert InvertedFolder(photos, pack).latents.shape == (6, 8)

    words = ("augment", photos, tmp_path / "out", "--pack", pack_folder, "--direction", "colour", "--magnitude")
    assert "6 images" in run(*words, "3,4"), "three subfolders are not two classes, but the images are inverted"
    for name in pictures:
        before, after = Image.open(photos / name), Image.open(tmp_path / "out" / name.replace(".png", "_0.png"))
        assert after.size == before.size and after.tobytes() != before.tobytes()
        difference = np.abs(np.asarray(after, int) - np.asarray(before, int)).mean()
        assert difference < 60, "it is the image itself, changed"
    assert "draws 2 classes" in run(*words[:2], tmp_path / "new", *words[3:], "3", "--source", "sample", code=2)
    assert "not both" in run("train-encoder", pack_folder, "--images", photos, "--data", photos, code=2)


def test_a_bank_from_the_command_line(run, pack_folder, tmp_path):
    out = tmp_path / "bank.safetensors"
    assert "40 images" in run("bank", pack_folder, out, "--direction", "colour", "--direction", 0, "--size", 40)
    assert set(LatentBank(out).indices.tolist()) == {0, 1}
    assert "exists" in run("bank", pack_folder, out, "--direction", 0, "--size", 40, code=1)


def test_augment_loses_nothing(run, pack_folder, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    for label in ("cat", "dog"):
        (photos / label).mkdir(parents=True)
        for ending in ("png", "jpg"):
            Image.new("RGB", (32, 32)).save(photos / label / f"a.{ending}")
    words = ("augment", photos, out, "--pack", pack_folder, "--direction", 0)
    (photos / "dog" / "b.png").write_text("no picture")
    assert "cannot identify image file" in run(*words, code=1) and not out.exists()
    (photos / "dog" / "b.png").unlink()
    run(*words)
    names = {str(file.relative_to(out)) for file in out.rglob("*.png")}
    assert names == {f"{label}/a.{ending}_0.png" for label in ("cat", "dog") for ending in ("png", "jpg")}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("augment", "IN", "OUT", "--direction", "colour", "--source", "invert"), "pack 'pack' has none"),
        (("augment", "IN", "OUT", "--direction", "colour", "--magnitude", "5,1"), "low <= high"),
        (("augment", "IN", "OUT", "--direction", "color"), "Did you mean colour"),
        (("augment", "IN", "OUT", "--direction", "0", "--copies", "0"), "x>=1"),
        (("augment", "IN", "OUT", "--direction", "0", "--device", "nonsense"), "'nonsense' can't be used here"),
        (("invert", "IN", "--batch-size", "0"), "x>=1"),
        (("invert", "IN", "--refine-steps", "-1"), "x>=0"),
    ],
)
def test_mistakes_on_the_command_line_are_one_message(pack_folder, tmp_path, words, message):
    (tmp_path / "in" / "cat").mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(tmp_path / "in" / "cat" / "a.png")
    places = {"IN": str(tmp_path / "in"), "OUT": str(tmp_path / "out")}
    result = CliRunner().invoke(main, [places.get(word, word) for word in words] + ["--pack", str(pack_folder)])
    assert result.exit_code in (1, 2) and message in " ".join(result.output.split())
    assert isinstance(result.exception, SystemExit), "no traceback"


def test_convert_writes_a_generator_that_loads(run, tmp_path):
    from ganaug.generators import DCGAN

    torch.manual_seed(0)
    network = DCGAN(latent_dim=6, width=4, image_size=16).freeze()
    torch.save({"netG_state_dict": network.state_dict(), "epoch": 3}, tmp_path / "weights.tar")
    text = run("convert", tmp_path / "weights.tar", "--out", tmp_path / "generator")
    assert "dcgan" in text and "16 pixels" in text and network.weights_sha256() in text
    latents = torch.randn(2, 6)
    assert torch.equal(Generator.from_pretrained(tmp_path / "generator")(latents), network(latents))


def test_convert_takes_what_a_checkpoint_does_not_say(run, tmp_path):
    tensors = {"0.weight": torch.randn(6, 4), "0.bias": torch.randn(6)}
    tensors |= {"2.weight": torch.randn(16, 6), "2.bias": torch.randn(16)}
    torch.save(tensors, tmp_path / "g.pt")
    text = run("convert", tmp_path / "g.pt", "--out", tmp_path / "a")
    assert "Taken here: --set activation=leaky_relu --set batch_norm_eps=1e-05" in text
    run("convert", tmp_path / "g.pt", "--arch", "mlp", "--set", "activation=relu", "--out", tmp_path / "b")
    latents = torch.randn(3, 4)
    hidden = (latents @ tensors["0.weight"].T + tensors["0.bias"]).relu()
    wanted = (hidden @ tensors["2.weight"].T + tensors["2.bias"]).tanh().view(3, 1, 4, 4)
    leaky, plain = (Generator.from_pretrained(tmp_path / name)(latents) for name in "ab")
    torch.testing.assert_close(plain, wanted)
    assert not torch.allclose(leaky, wanted)
    for words in (("--arch", "dcgan"), ("--set", "activation=swish"), ("--set", "slope=0.1")):
        run("convert", tmp_path / "g.pt", *words, "--out", tmp_path / "c", code=1)
    assert not (tmp_path / "c").exists(), "nothing is written when anything is refused"


def test_convert_makes_a_pack_of_a_published_deformator(run, generator_folder, tmp_path):
    file, out = tmp_path / "deformator_10000.pt", tmp_path / "directions"
    weight = torch.randn(8, 3)
    torch.save({"linear.weight": weight, "linear.bias": torch.ones(8)}, file)
    text = run("convert", file, "--generator", generator_folder, "--out", out)
    assert "3 directions of 8 dimensions" in text and "Note: deformator_10000.pt also shifts by a bias" in text
    pack = DirectionPack.from_pretrained(out)
    ends = torch.tensor([direction.range[1] for direction in pack])[:, None] * pack.directions
    torch.testing.assert_close(ends, 6 * weight.T)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert pack.method == {"name": "converted", "file": file.name, "sha256": digest}
    assert pack.generator.weights_sha256() == Generator.from_pretrained(generator_folder).weights_sha256()
    assert "holds a pack or a generator already" in run(
        "convert", file, "--generator", generator_folder, "--out", out, code=1
    )


def test_a_deformator_of_another_generator_leaves_nothing(run, generator_folder, tmp_path):
    torch.save({"linear.weight": torch.eye(9)}, tmp_path / "d.pt")
    text = run("convert", tmp_path / "d.pt", "--generator", generator_folder, "--out", tmp_path / "pack", code=1)
    assert "directions of 9 dimensions, but its generator's latents have 8" in " ".join(text.split())
    assert not (tmp_path / "pack").exists()
    words = ("--generator", generator_folder, "--arch", "sngan", "--out", tmp_path / "pack")
    assert "with --generator neither is used" in run("convert", tmp_path / "d.pt", *words, code=2)


def test_packs_lists_the_bundled_ones_with_their_names(run):
    text = run("packs")
    for name in ("digits", "mnist", "faces"):
        assert f"{name}: " in text
    assert "background" in text


def test_demo_runs_the_whole_job(run, tmp_path):
    text = run("demo", "--out", tmp_path / "demo", "--steps", 6, "--device", "cpu")
    assert "labels unchanged: True" in text
    pack = DirectionPack.from_pretrained(tmp_path / "demo" / "pack")
    assert pack.num_directions == 16
    for picture in ("discovered.png", "background.png"):
        with Image.open(tmp_path / "demo" / picture) as image:
            assert image.width > 300 and len(set(image.convert("L").resize((64, 64)).tobytes())) > 20


def test_evaluate_prints_the_figures_and_writes_them_into_the_pack(run, pack, data_root, tmp_path):
    folder = pack.save_pretrained(tmp_path / "tiny")
    words = ("--data", data_root, "--dataset", "digits", "--judge-steps", 2, "--samples", 20)
    text = run("evaluate", folder, *words, "--measure-ranges", "--rate", 0.01, "--direction", "background", "--write")
    assert "of the real test images right" in text and "directions have a safe range at rate 0.01" in text
    assert "label mask_iou outside inside" in " ".join(text.split()) and "4 background" in text
    written = DirectionPack.from_pretrained(folder)
    figures = written[4].scores
    assert set(figures) == {"label", "mask_iou", "outside", "inside"} and 0 < figures["outside"] < 1
    assert all(direction.safe_range is not None for direction in written)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    text = run("evaluate", folder, *words, "--measure-ranges", "--rate", 1, "--write", code=1)
    assert "of unshifted samples as their label, less than the rate of 1" in text, "two steps make no judge"
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert "is none" in run("evaluate", "digits", *words, "--write", code=2)


def test_evaluate_judges_any_pack_alike_without_data(run, pack_folder):
    text = run("evaluate", pack_folder, "--rca", "--rca-steps", 3, "--write")
    assert "|cosine| of two directions: mean" in text and "RCA of a fresh reconstructor, 3 steps" in text
    scores = DirectionPack.from_pretrained(pack_folder).scores
    assert (
        0 <= scores["rca_fresh"] <= 1
        and f"RCA of a fresh reconstructor, 3 steps of 32 pairs: {scores['rca_fresh']:.4f}" in text
    )


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("sefa", ()),
        ("ganspace", ("samples=200", "batch_size=50")),
        ("contrastive", ("steps=2", "batch_size=3")),
        ("random", ("seed=3",)),
        ("coordinate", ()),
    ],
)
def test_every_method_gives_a_pack(run, generator_folder, tmp_path, method, settings):
    out = tmp_path / method
    text = run(
        "train", "--generator", generator_folder, "--out", out, f"method={method}", "num_directions=5", *settings
    )
    assert "holds the pack" in text and "RCA" not in text
    pack = DirectionPack.from_pretrained(out)
    assert pack.directions.shape == (5, 8) and pack.method["name"] == method
    torch.testing.assert_close(pack.directions.norm(dim=1), torch.ones(5))


@pytest.mark.parametrize("method", ["random", "coordinate", "sefa"])
def test_a_recipe_with_another_method_keeps_what_both_have(run, generator_folder, tmp_path, method):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        f'[pack]\ngenerator = "{generator_folder}"\n[discovery]\nnum_directions = 3\nsteps = 50\nseed = 4\n'
    )
    run("train", recipe, "--out", tmp_path / "out", f"method={method}")
    written = json.loads((tmp_path / "out" / "config.json").read_text())["method"]
    assert written == {"name": method, "num_directions": 3, **({} if method == "sefa" else {"seed": 4})}


def test_no_method_overwrites_a_pack(run, generator_folder, tmp_path):
    words = ("train", "--generator", generator_folder, "--out", tmp_path / "out")
    run(*words, *TINY)
    before = (tmp_path / "out" / "directions.safetensors").read_bytes()
    for method in ("random", "reconstructor"):
        text = run(*words, f"method={method}", "num_directions=3", code=1)
        assert "holds a pack or a generator already" in text
    assert (tmp_path / "out" / "directions.safetensors").read_bytes() == before


def test_a_folder_that_can_not_be_is_refused_before_training(run, generator_folder, tmp_path):
    (tmp_path / "file").write_text("")
    text = run("train", "--generator", generator_folder, "--out", tmp_path / "file" / "x", "method=random", code=1)
    assert "can't be written to" in text


def test_a_dry_run_prints_the_plan_and_writes_nothing(run, generator_folder, tmp_path):
    text = run("train", "--generator", generator_folder, "--out", tmp_path / "out", *TINY, "--dry-run")
    for word in ("generator ", "3 x 8 (unit)", "reconstructor ", "ms a step", "MiB at peak"):
        assert word in text
    assert not (tmp_path / "out").exists()


def test_tensorboard_is_on_request(run, generator_folder, tmp_path):
    run("train", "--generator", generator_folder, "--out", tmp_path / "a", *TINY)
    run("train", "--generator", generator_folder, "--out", tmp_path / "b", *TINY, "--tensorboard")
    assert not (tmp_path / "a" / "tensorboard").exists() and any((tmp_path / "b" / "tensorboard").iterdir())


def test_evaluate_refuses_images_of_another_kind(run, pack_folder, data_root):
    text = run("evaluate", pack_folder, "--data", data_root, "--dataset", "mnist", code=1)
    assert "mnist has images of (1, 32, 32)" in text
    assert "no data set 'cats'" in run("evaluate", pack_folder, "--data", data_root, "--dataset", "cats", code=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--out", "x"], "give a RECIPE"),
        (["train", "none.toml", "--out", "x"], "there is no recipe none.toml"),
        (["train", "--generator", "nowhere", "--out", "x"], "no generator 'nowhere'"),
        (["train", "--generator", "digits", "--out", "x", "stesp=3"], "unknown setting stesp"),
        (
            ["train", "--generator", "digits", "--out", "x", "method=magic"],
            "method should be one of reconstructor, sefa",
        ),
        (["train", "--generator", "digits", "--out", "x", "method=sefa", "steps=3"], "unknown setting steps"),
        (["train", "--generator", "digits", "--out", "x", "method=sefa", "--resume"], "are for method=reconstructor"),
        (["train", "--generator", "digits", "--out", "x", "method=sefa", "num_directions=65"], "64"),
        (["show", "nowhere"], "no bundled pack and no folder 'nowhere'"),
        (["convert", "nowhere.pt", "--out", "x"], "there is no file nowhere.pt"),
        (["evaluate", "digits"], "needs --data FOLDER"),
        (["evaluate", "digits", "--rca", "--dvn"], "needs --data FOLDER"),
        (["augment", ".", "x", "--direction", "backgruond"], "Did you mean background"),
    ],
)
def test_mistakes_are_one_message_without_a_traceback(words, message):
    result = CliRunner().invoke(main, words)
    assert result.exit_code in (1, 2) and message in " ".join(result.output.split()), result.output
    assert isinstance(result.exception, SystemExit)
