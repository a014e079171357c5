import pytest
import torch
from small_generators import Paint, in_w, paint, tiny
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from ganaug.errors import GeneratorError
from ganaug.generators import DCGAN, SNGAN, Generator
from ganaug.training.methods.ganspace import ganspace
from ganaug.training.methods.sefa import first_projection, sefa


def tutorial() -> DCGAN:
    torch.manual_seed(0)
    return DCGAN(latent_dim=6, width=4, image_size=16).freeze()


class Unsqueeze(nn.Module):
    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return latents[:, :, None, None]


def affines(generator, *layers):
    """The weights by which w scales the features of some layers, named by block and place in it."""
    return [
        (generator.blocks[block].to_rgb if place == "rgb" else generator.blocks[block].layers[place]).affine.weight
        for block, place in layers
    ]


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
