import json

import pytest
import torch
from torch.nn import functional as F

from ganaug.checkpoints import directions_from_deformator
from ganaug.errors import GeneratorError, PackError


@pytest.fixture
def write(tmp_path):
    """Writes a deformator as GANLatentDiscovery does: RUN/models/deformator_10.pt, with RUN/args.json."""

    def write(content, kind=None):
        path = tmp_path / "run" / "models" / "deformator_10.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)
        if kind:
            (tmp_path / "run" / "args.json").write_text(json.dumps({"deformator": kind}))
        return path

    return write


@pytest.mark.parametrize("count", [3, 5, 8])
@pytest.mark.parametrize("kind", ["linear", None])
def test_a_linear_deformators_columns_are_directions_with_lengths(write, count, kind):
    weight = torch.randn(5, count)
    directions, lengths = directions_from_deformator(write({"linear.weight": weight}, kind))
    assert directions.shape == (count, 5) and directions.dtype == lengths.dtype == torch.float32
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(count))
    torch.testing.assert_close(lengths[:, None] * directions, weight.T)


def test_a_projective_deformators_shifts_are_as_long_as_the_magnitude(write):
    weight = torch.randn(5, 4)
    directions, lengths = directions_from_deformator(write({"linear.weight": weight}, "proj"))
    assert torch.equal(lengths, torch.ones(4))
    torch.testing.assert_close(directions, F.normalize(weight, dim=0).T)


def test_an_ortho_deformator_is_the_exponential_of_its_logarithm(write):
    log_mat_half = torch.randn(6, 6)
    directions, lengths = directions_from_deformator(write({"log_mat_half": log_mat_half}))
    torch.testing.assert_close(directions.T, torch.matrix_exp(log_mat_half - log_mat_half.T), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(directions @ directions.T, torch.eye(6), rtol=0, atol=1e-6)
    torch.testing.assert_close(lengths, torch.ones(6))


def test_a_training_checkpoint_holds_its_deformator(write):
    content = {"step": 7, "deformator": {"linear.weight": torch.eye(3)}, "shift_predictor": {"x": torch.ones(2)}}
    assert torch.equal(directions_from_deformator(write(content))[0], torch.eye(3))


def test_a_bias_is_left_out_with_its_length(write):
    path = write({"linear.weight": torch.eye(2), "linear.bias": torch.tensor([3.0, 4.0])})
    with pytest.warns(UserWarning, match="deformator_10.pt also shifts by a bias of length 5, .* left out"):
        directions, _ = directions_from_deformator(path)
    assert torch.equal(directions, torch.eye(2))


NAN = torch.tensor([[1.0, 0.0, float("nan")], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"fc1.weight": torch.eye(2), "fc1.bias": torch.ones(2)}, "type fc, a network: .* no directions"),
        ({}, "type id and random save nothing: .* method=coordinate"),
        ({"linear.weight": NAN}, r"columns 1, 2 \(2 of 3\) are zero, NaN or infinite"),
        ({"linear.weight": torch.ones(3)}, r"linear.weight should have shape \(latent_dim, K\), got \(3,\)"),
        ({"log_mat_half": torch.ones(3, 2)}, r"shape \(latent_dim, latent_dim\), got \(3, 2\)"),
        ({"main.0.weight": torch.ones(3, 2)}, "holds main.0.weight; a deformator has log_mat_half"),
        ([torch.ones(2)], "should hold the tensors of a deformator, found list"),
    ],
)
def test_what_gives_no_directions_is_refused_with_the_reason(write, content, message):
    with pytest.raises(PackError, match=message):
        directions_from_deformator(write(content))


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(GeneratorError, match="there is no file"):
        directions_from_deformator(tmp_path / "deformator_1.pt")


def test_a_matrix_that_is_larger_than_its_file_is_refused(tmp_path):
    torch.save({"log_mat_half": torch.zeros(1).expand(50_000, 50_000)}, tmp_path / "d.pt")
    with pytest.raises(GeneratorError, match=r"shape \(50000, 50000\) has more elements than are stored"):
        directions_from_deformator(tmp_path / "d.pt")
