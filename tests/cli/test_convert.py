import hashlib

import torch

from ganaug.generators import DCGAN, Generator
from ganaug.packs import DirectionPack


def test_convert_writes_a_generator_that_loads(run, tmp_path):
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
    assert "Taken here: activation=leaky_relu batch_norm_eps=1e-05" in text
    run("convert", tmp_path / "g.pt", "--arch", "mlp", "activation=relu", "--out", tmp_path / "b")
    latents = torch.randn(3, 4)
    hidden = (latents @ tensors["0.weight"].T + tensors["0.bias"]).relu()
    wanted = (hidden @ tensors["2.weight"].T + tensors["2.bias"]).tanh().view(3, 1, 4, 4)
    leaky, plain = (Generator.from_pretrained(tmp_path / name)(latents) for name in "ab")
    torch.testing.assert_close(plain, wanted)
    assert not torch.allclose(leaky, wanted)
    for words in (("--arch", "dcgan"), ("activation=swish",), ("slope=0.1",)):
        run("convert", tmp_path / "g.pt", *words, "--out", tmp_path / "c", code=1)
    assert not (tmp_path / "c").exists(), "nothing is written when anything is refused"


def test_convert_makes_a_pack_of_a_published_deformator(run, generator_folder, tmp_path):
    file, out = tmp_path / "deformator_10000.pt", tmp_path / "directions"
    weight = torch.randn(8, 3)
    torch.save({"linear.weight": weight, "linear.bias": torch.ones(8)}, file)
    text = run("convert", file, "--generator", generator_folder, "--out", out)
    assert "3 directions of 8 dimensions" in text and "Note: deformator_10000.pt also shifts by a bias" in text
    pack = DirectionPack.from_pretrained(out)
    ends = torch.stack([direction.range[1] * direction.vector for direction in pack])
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
    for words in (("--arch", "sngan"), ("latent_space=w",)):
        words += ("--generator", generator_folder, "--out", tmp_path / "pack")
        assert "with --generator neither is used" in " ".join(run("convert", tmp_path / "d.pt", *words, code=2).split())


def test_nothing_is_converted_over_a_generator(run, generator_folder, tmp_path):
    before = {file.name: file.read_bytes() for file in generator_folder.iterdir()}
    torch.save(DCGAN(latent_dim=6, width=4, image_size=16).state_dict(), tmp_path / "g.pt")
    assert "holds a pack or a generator already" in run("convert", tmp_path / "g.pt", "--out", generator_folder, code=1)
    assert {file.name: file.read_bytes() for file in generator_folder.iterdir()} == before
