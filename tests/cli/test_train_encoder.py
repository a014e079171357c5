import numpy as np
from PIL import Image

from ganaug.inversion import InvertedFolder
from ganaug.packs import DirectionPack
from ganaug.training import EncoderSettings


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
    assert pack.encoder_method["command"].endswith("--images IMAGES")

    assert "latents.safetensors" in run("invert", photos, "--pack", pack_folder, "--classes", "", "--no-check-domain")
    assert InvertedFolder(photos, pack).latents.shape == (6, 8)

    words = ("augment", photos, tmp_path / "out", "--pack", pack_folder, "--direction", "colour", "--no-check-domain")
    words += ("--magnitude",)
    assert "6 images" in run(*words, "3,4", "--classes", "")
    for name in pictures:
        before, after = Image.open(photos / name), Image.open(tmp_path / "out" / name.replace(".png", "_0.png"))
        assert after.size == before.size and after.tobytes() != before.tobytes()
        difference = np.abs(np.asarray(after, int) - np.asarray(before, int)).mean()
        assert difference < 60, "it is the image itself, changed"
    assert "its 2 classes are" in run(*words[:2], tmp_path / "new", *words[3:], "3", "--source", "sample", code=1)


def test_an_encoder_from_a_data_set(run, pack, data_root, tmp_path):
    folder = pack.save_pretrained(tmp_path / "tiny")
    words = ("steps=3", "batch_size=4", "width=4", "hidden=8")
    run("train-encoder", folder, "--images", f"digits:{data_root}", *words)
    written = DirectionPack.from_pretrained(folder)
    assert written.has_encoder and written.encoder_method["command"].endswith("--images digits:DATA")
    assert 0 < written.scores["reconstruction_error"] < 1


def test_images_that_are_none_leave_the_pack_alone(run, pack_folder, data_root, tmp_path):
    before = {file.name: file.read_bytes() for file in pack_folder.iterdir()}
    for images, message in (
        (tmp_path / "nowhere", "there is no folder"),
        (f"cats:{data_root}", "no data set 'cats'"),
        (f"mnist:{data_root}", "of shape (N, 3, 32, 32)"),
    ):
        text = run("train-encoder", pack_folder, "--images", images, "steps=2", "batch_size=4", code=1)
        assert message in " ".join(text.split())
    assert {file.name: file.read_bytes() for file in pack_folder.iterdir()} == before


def test_help_lists_every_setting_with_its_default(run):
    text = run("train-encoder", "--help")
    for key, value in EncoderSettings().to_dict().items():
        shown = f"{value:.0e}".replace("e-0", "e-") if isinstance(value, float) and 0 < value < 1e-2 else str(value)
        assert f"{key}={shown}" in text, key
