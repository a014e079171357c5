import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from ganaug.errors import GeneratorError
from ganaug.generators import DCGAN, SNGAN, Generator, StyleGAN2
from ganaug.training.methods.features import affine_layers, fix_signs, layer_output
from ganaug.training.methods.ganspace import IncrementalPCA, ganspace
from ganaug.training.methods.sefa import first_projection, sefa


def tiny(num_classes: int = 0) -> SNGAN:
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=8, channels=1, num_classes=num_classes, widths=(16, 16, 16, 16))
    for module in generator.modules():
        if isinstance(module, nn.Embedding):
            module.weight.data += torch.randn_like(module.weight) / 2
    return generator.freeze()


def tutorial() -> DCGAN:
    torch.manual_seed(0)
    return DCGAN(latent_dim=6, width=4, image_size=16).freeze()


class Paint(nn.Module):
    """Grey 8-pixel images from 64 features."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.flatten(1).tanh().unflatten(1, (1, 8, 8))


def in_w(layers=None) -> StyleGAN2:
    torch.manual_seed(0)
    sizes = {"z_dim": 8, "w_dim": 8, "image_size": 16, "widths": (12, 8, 6), "mapping_layers": 1}
    return StyleGAN2(**sizes, latent_space="w", layers=layers).freeze()


def paint(*layers: nn.Module, latent_dim: int = 8, num_classes: int = 0) -> Generator:
    return Generator.from_module(
        nn.Sequential(*layers, Paint()), latent_dim=latent_dim, image_size=8, channels=1, num_classes=num_classes
    )


class Unsqueeze(nn.Module):
    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return latents[:, :, None, None]


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


@pytest.mark.parametrize("build", [tiny, tutorial, lambda: tiny(3)])
def test_sefa_is_the_svd_of_the_first_weight_with_unit_rows(build):
    generator = build()
    weight = generator.dense.weight if isinstance(generator, SNGAN) else generator.main[0].weight.flatten(1).T
    right = torch.linalg.svd(F.normalize(weight.double(), dim=1), full_matrices=False)[2]
    directions = sefa(generator, 5)
    assert directions.dtype == torch.float32 and directions.device.type == "cpu"
    torch.testing.assert_close((directions.double() * right[:5]).sum(1).abs(), torch.ones(5, dtype=torch.float64))
    assert (directions.gather(1, directions.abs().argmax(1, keepdim=True)) > 0).all()


def test_sefa_finds_the_axes_that_the_projection_amplifies():
    scales = torch.tensor([1.0, 4.0, 0.2, 8.0, 2.0, 0.1])
    torch.manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(6, 6))[0]
    generator = DCGAN(latent_dim=6, width=16, image_size=16)
    weight = generator.main[0].weight
    weight.data = torch.einsum("ij,jokl->iokl", rotation * scales, torch.randn_like(weight)).contiguous()
    found = sefa(generator, 6) @ rotation
    assert found.abs().argmax(1).tolist() == [3, 1, 4, 0, 2, 5]
    assert (found.abs().amax(1) > 0.97).all()


def test_first_projection_reads_weights_as_spectral_norm_leaves_them():
    generator = tiny()
    plain = generator.dense.weight.clone()
    generator.dense = spectral_norm(nn.Linear(8, 256), n_power_iterations=30)
    generator.dense.parametrizations.weight.original.data = 5 * plain
    generator.train()(torch.randn(2, 8))
    before = generator.freeze().weights_sha256()
    weight = first_projection(generator)
    torch.testing.assert_close(weight, plain / torch.linalg.matrix_norm(plain, 2), rtol=1e-3, atol=1e-4)
    assert generator.weights_sha256() == before, "reading takes no step of the power iteration"


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(8, 64),
        nn.ConvTranspose2d(8, 4, 4, bias=False),
        nn.Conv2d(8, 4, 4, padding=3),
        nn.ConvTranspose2d(8, 64, 1),
    ],
)
def test_first_projection_is_what_the_layer_computes(layer):
    generator = paint(*([] if isinstance(layer, nn.Linear) else [Unsqueeze()]), layer)
    weight = first_projection(generator)
    assert weight.shape == (64, 8)
    latents = torch.randn(3, 8)
    shaped = latents if isinstance(layer, nn.Linear) else latents[:, :, None, None]
    outputs = (layer(shaped) - layer(torch.zeros_like(shaped))).flatten(1)
    if isinstance(layer, nn.Conv2d):  # the kernel meets the one pixel in reverse order
        weight = weight.unflatten(0, (4, 16)).flip(1).flatten(0, 1)
    torch.testing.assert_close(latents @ weight.T, outputs, rtol=1e-4, atol=1e-5)


def test_first_projection_goes_by_the_order_of_execution_and_passes_over_the_labels():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.never, self.later, self.first = nn.Linear(8, 8), nn.Linear(8, 64), nn.Linear(8, 8)
            self.classes, self.of_class = nn.Embedding(3, 8), nn.Linear(8, 64)

        def forward(self, latents, labels):
            offset = self.of_class(self.classes(labels))
            return (self.later(self.first(latents)) + offset).tanh().unflatten(1, (1, 8, 8))

    net = Net()
    generator = Generator.from_module(net, latent_dim=8, image_size=8, channels=1, num_classes=3)
    assert torch.equal(first_projection(generator), net.first.weight)
    assert not any(module._forward_pre_hooks for module in generator.modules())


def test_a_generator_without_a_projection_is_refused():
    class Sines(nn.Module):
        def forward(self, latents):
            return (latents.repeat(1, 8) * torch.arange(1.0, 65)).sin().unflatten(1, (1, 8, 8))

    generator = Generator.from_module(Sines(), latent_dim=8, image_size=8, channels=1)
    with pytest.raises(GeneratorError, match=r"of 8 inputs first; this one has none. Use ganspace"):
        sefa(generator, 2)
    assert ganspace(generator, 2, samples=200).shape == (2, 8)


def test_a_hidden_layer_as_wide_as_the_latent_is_not_taken_for_the_projection():
    class Halves(nn.Module):
        def forward(self, latents):
            return latents[:, :4]

    with pytest.raises(GeneratorError, match=r"this one has one of 4 inputs"):
        sefa(paint(Halves(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 64)), 2)


def affines(generator, *layers):
    """The weights by which w scales the features of some layers, named by block and place in it."""
    return [
        (generator.blocks[block].to_rgb if place == "rgb" else generator.blocks[block].layers[place]).affine.weight
        for block, place in layers
    ]


def test_sefa_in_w_factorises_the_projections_of_all_layers_together():
    generator = in_w()
    every = [(0, 0), (0, "rgb"), (1, 0), (1, 1), (1, "rgb"), (2, 0), (2, 1), (2, "rgb")]
    weight = torch.cat(affines(generator, *every))
    assert torch.equal(first_projection(generator), weight)
    right = torch.linalg.svd(F.normalize(weight.double(), dim=1), full_matrices=False)[2]
    torch.testing.assert_close((sefa(generator, 8) * right).sum(1).abs(), torch.ones(8, dtype=torch.float64))


@pytest.mark.parametrize(
    ("layers", "inside"),
    [
        ((0, 1), [(0, 0)]),
        ((2, 4), [(1, 1), (1, "rgb"), (2, 0)]),
        ((4, 6), [(2, 1), (2, "rgb")]),
    ],
)
def test_sefa_in_a_range_of_layers_factorises_theirs_alone(layers, inside):
    weight = F.normalize(torch.cat(affines(in_w(), *inside)).double(), dim=1)
    directions = sefa(in_w(layers), 3)
    assert directions.shape == (3, 16) and directions[:, :8].count_nonzero() == 0
    right = torch.linalg.svd(weight, full_matrices=False)[2][:3]
    torch.testing.assert_close((directions[:, 8:] * right).sum(1).abs(), torch.ones(3, dtype=torch.float64))


def test_projections_of_parts_of_the_latent_keep_their_columns():
    class Halves(nn.Module):
        def __init__(self):
            super().__init__()
            self.late, self.early = nn.Linear(3, 64), nn.ConvTranspose2d(5, 1, 8)

        def forward(self, latents):
            early, late = latents.split([5, 3], dim=1)
            return self.late(late).unflatten(1, (1, 8, 8)) + self.early(early[:, :, None, None])

    torch.manual_seed(0)
    net = Halves()
    generator = Generator.from_module(nn.Sequential(net, Paint()), latent_dim=8, image_size=8, channels=1)
    weight, latents = first_projection(generator), torch.randn(3, 8)
    assert weight.shape == (128, 8)
    outputs = (net(latents) - net(torch.zeros(1, 8))).flatten(1)
    torch.testing.assert_close(latents @ (weight[:64] + weight[64:]).T, outputs)


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


def test_layers_that_cannot_be_read_are_named():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.never, self.pair, self.constant = nn.Tanh(), Pair(), Constant()

        def forward(self, latents):
            a, b = self.pair(latents)
            return Paint()((a + b).repeat(1, 8) + self.constant(latents))

    class Pair(nn.Module):
        def forward(self, latents):
            return latents, latents.sin()

    class Constant(nn.Module):
        def forward(self, latents):
            return torch.ones(1, 64)

    generator = Generator.from_module(Net(), latent_dim=8, image_size=8, channels=1)
    for layer, message in {
        "blocks": r"no module 'blocks'. It has module, module.never, module.pair",
        "module.never": "has a module 'module.never' but does not call it",
        "module.pair": "'module.pair' returned a tuple for 200 latents, expected a tensor of 200 rows",
        "module.constant": r"'module.constant' returned shape \(1, 64\) for 200 latents",
    }.items():
        with pytest.raises(GeneratorError, match=message):
            ganspace(generator, 2, layer=layer, samples=200)
    assert ganspace(generator, 2, samples=200).shape == (2, 8)
    assert not any(module._forward_hooks for module in generator.modules())


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
