import pytest
import torch
from small_generators import in_w, paint, tiny
from torch import nn
from torch.nn import functional as F

from ganaug.errors import GeneratorError
from ganaug.generators import Generator
from ganaug.training.methods.features import affine_layers, fix_signs, layer_output
from ganaug.training.methods.ganspace import IncrementalPCA, ganspace
from ganaug.training.methods.sefa import first_projection, sefa


def whole_pca(generator, layer, count, *, samples, batch_size, seed):
    """GANSpace in one go: all activations of the draws that ``ganspace`` makes, an SVD, and a regression of z.

    Returns the directions of the first ``count`` components, and how much of each the latent explains.
    """
    rng = torch.Generator().manual_seed(seed)
    draws = [
        (generator.sample_latents(batch_size, rng=rng), generator.sample_labels(batch_size, rng=rng))
        for _ in range(samples // batch_size)
    ]
    with torch.no_grad(), layer_output(generator, layer) as features:
        activations = torch.cat([features(*draw) for draw in draws])
    if activations[0].numel() > 8192:
        activations = F.adaptive_avg_pool2d(activations, 4)
    activations, latents = activations.flatten(1).double(), torch.cat([draw[0] for draw in draws]).double()
    centred, latents = activations - activations.mean(0), latents - latents.mean(0)
    coordinates = centred @ torch.linalg.svd(centred, full_matrices=False)[2][:count].T
    residual = coordinates - latents @ torch.linalg.lstsq(latents, coordinates).solution
    directions = fix_signs(torch.linalg.lstsq(coordinates, latents).solution)
    return directions, 1 - residual.square().sum(0) / coordinates.square().sum(0)


@pytest.mark.parametrize("method", [sefa, ganspace])
@pytest.mark.parametrize("count", [0, 9])
def test_impossible_numbers_of_directions_are_refused(method, count):
    with pytest.raises(GeneratorError, match=f"num_directions should be from 1 to 8, .* got {count}"):
        method(tiny(), count)


@pytest.mark.parametrize("method", [sefa, ganspace])
def test_in_a_range_of_layers_as_many_directions_fit_as_w_has_dimensions(method):
    assert method(in_w((2, 4)), 8).shape == (8, 16)
    with pytest.raises(GeneratorError, match="from 1 to 8, the coordinates that they may change; got 9"):
        method(in_w((2, 4)), 9)


def test_incremental_pca_is_pca_while_nothing_is_dropped():
    torch.manual_seed(0)
    data = (torch.randn(500, 20) @ torch.randn(20, 20) + 10 * torch.randn(20)).double()
    data[250:] += 5  # a mean that moves between batches
    pca = IncrementalPCA(30)
    for batch in data.split([7, 93, 1, 199, 200]):
        pca.update(batch)
    _, values, vectors = torch.linalg.svd(data - data.mean(0), full_matrices=False)
    torch.testing.assert_close(pca.mean, data.mean(0))
    torch.testing.assert_close(pca.scaled.norm(dim=1), values)
    torch.testing.assert_close((pca.components * vectors).sum(1).abs(), torch.ones(20, dtype=torch.float64))


@pytest.mark.parametrize(
    ("num_classes", "layer", "features"),
    [(0, "blocks.0.conv1", 1024), (3, "blocks.0.conv1", 1024), (0, "blocks.2.conv1", 16 * 32 * 32)],
)
def test_ganspace_in_batches_is_ganspace_in_one_go(num_classes, layer, features):
    generator = tiny(num_classes)
    with layer_output(generator, layer) as output:
        assert output(torch.zeros(1, 8), generator.sample_labels(1)).numel() == features
    draws = {"samples": 800, "batch_size": 100, "seed": 3}
    found = ganspace(generator, 4, layer=layer, **draws)
    expected, explained = whole_pca(generator, layer, 6, **draws)
    assert (explained < 0.1).any() == (num_classes > 0)
    assert ((found * expected[explained >= 0.1][:4]).sum(1) > 0.995).all()
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))


def test_ganspace_finds_the_axes_of_the_largest_effect():
    torch.manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(8, 8))[0]
    mix = nn.Linear(8, 64, bias=False)
    mix.weight.data = torch.linalg.qr(torch.randn(64, 8))[0] * torch.tensor([0.3, 2, 0.1, 0.2, 4, 0.1, 1, 0.1])
    turn = nn.Linear(8, 8, bias=False)
    turn.weight.data = rotation
    found = ganspace(paint(turn, mix), 3, samples=4000) @ rotation.T
    assert found.abs().argmax(1).tolist() == [4, 1, 6]
    assert (found.abs().amax(1) > 0.97).all()


def test_ganspace_in_w_finds_the_eigenvectors_of_its_covariance():
    """A mapping far from its leaky ReLU's kink is affine, and normalised z has unit covariance."""
    torch.manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(8, 8))[0]
    scales = torch.tensor([0.1, 0.02, 0.4, 0.03, 0.8, 0.05, 0.2, 0.01])
    for layers in (None, (3, 6)):
        generator = in_w(layers)
        generator.mapping[0].weight.data = rotation * scales
        generator.mapping[0].bias.data.fill_(5)
        directions = ganspace(generator, 4, samples=10_000)
        if layers:
            assert directions.shape == (4, 16) and directions[:, :8].count_nonzero() == 0
        found = directions[:, -8:] @ rotation
        assert found.abs().argmax(1).tolist() == [4, 2, 6, 0]
        assert (found.abs().amax(1) > 0.99).all()


def test_ganspace_in_w_takes_a_layer_too_however_little_w_varies():
    generator = in_w()
    generator.mapping[0].weight.data /= 20
    draws = {"samples": 800, "batch_size": 100, "seed": 3}
    found = ganspace(generator, 4, layer="blocks.1.layers.0.affine", **draws)
    expected, explained = whole_pca(generator, "blocks.1.layers.0.affine", 4, **draws)
    assert (explained > 0.99).all() and ((found * expected).sum(1) > 0.999).all()


def test_on_a_linear_layer_ganspace_finds_the_singular_vectors_of_the_weight():
    generator = tiny()
    generator.dense.weight.data *= torch.tensor([1, 8, 0.5, 4, 0.1, 2, 0.2, 16])
    generator.dense.bias.data += 100
    right = torch.linalg.svd(first_projection(generator), full_matrices=False)[2]
    found = ganspace(generator, 4, layer="dense", samples=10_000)
    assert ((found * right[:4]).sum(1).abs() > 0.99).all()


def test_differences_between_classes_are_no_direction():
    class ClassFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.shades, self.mix, self.bend = nn.Embedding(4, 64), nn.Linear(8, 64), nn.Tanh()
            self.shades.weight.data *= 3
            self.mix.weight.data *= torch.tensor([1, 1, 5, 1, 1, 1, 1, 1])

        def forward(self, latents, labels):
            return self.bend(self.mix(latents) + self.shades(labels)).unflatten(1, (1, 8, 8))

    torch.manual_seed(0)
    net = ClassFirst()
    generator = Generator.from_module(net, latent_dim=8, image_size=8, channels=1, num_classes=4)
    assert ganspace(generator, 1, samples=2000)[0].abs().argmax() == 2
    draws = {"samples": 2000, "batch_size": 500, "seed": 0}
    _, explained = whole_pca(generator, "module.bend", 4, **draws)
    assert explained[0] < 0.1 and explained[3] > 0.5, "the first components are classes"


def test_the_default_layer_is_the_first_that_is_not_affine_and_nothing_runs_behind_it():
    class Behind(nn.Module):
        calls = 0

        def forward(self, features):
            Behind.calls += 1
            return features

    torch.manual_seed(0)
    generator = paint(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(inplace=True), Behind(), nn.Linear(64, 64))
    affine = affine_layers(generator)
    assert affine == {f"module.{name}": name in "01" for name in "012345"} | {"module": False}
    Behind.calls = 0
    by_default = ganspace(generator, 3, samples=300)
    assert Behind.calls == 2, "once to check the generator, once to look for the layer"
    assert torch.equal(by_default, ganspace(generator, 3, samples=300, layer="module.2"))
    assert Behind.calls == 3
    assert not torch.equal(by_default, ganspace(generator, 3, samples=300, layer="module.1"))
    assert affine_layers(tiny(3))["blocks.0.norm1"], "with one label for all"


def test_layers_that_tell_too_little_and_too_few_samples_are_refused():
    generator = paint(nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 64))
    with pytest.raises(GeneratorError, match=r"layer 'module.1' vary in 3 dimensions only: lower num_directions"):
        ganspace(generator, 4, samples=200)
    with pytest.raises(GeneratorError, match=r"z explains next to nothing of .* 'blocks.0.norm1.gain'"):
        ganspace(tiny(5), 2, samples=1000, layer="blocks.0.norm1.gain")
    with pytest.raises(GeneratorError, match=r"more samples than directions.* got samples=4, num_directions=4"):
        ganspace(tiny(), 4, samples=4)
    with pytest.raises(GeneratorError, match="batch_size=0"):
        ganspace(tiny(), 4, batch_size=0)


def test_draws_depend_on_the_seed_alone_and_the_generator_stays_as_it_is():
    generator = tiny(3)
    before = generator.weights_sha256()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first = ganspace(generator, 3, samples=300, batch_size=70)
    assert torch.equal(sefa(generator, 3), sefa(generator, 3))
    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(first, ganspace(generator, 3, samples=300, batch_size=70))
    assert not torch.equal(first, ganspace(generator, 3, samples=300, batch_size=70, seed=1))
    assert generator.weights_sha256() == before and not generator.training
