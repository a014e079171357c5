"""Latents keep their type wherever they are only moved."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from ganaug.errors import TransformError
from ganaug.inversion import Latents
from ganaug.transforms import LatentShift

MOVED = {
    "one": lambda z: z[2],
    "slice": lambda z: z[1:5:2],
    "mask": lambda z: z[torch.arange(6) % 2 == 0],
    "permutation": lambda z: z[torch.randperm(6)],
    "list of places": lambda z: z[[4, 0]],
    "chunk": lambda z: z.chunk(3)[1],
    "torch.chunk": lambda z: torch.chunk(z, 2)[0],
    "split": lambda z: z.split(4)[1],
    "torch.split of sizes": lambda z: torch.split(z, [1, 5])[1],
    "tensor_split": lambda z: torch.tensor_split(z, 4)[0],
    "unbind": lambda z: z.unbind()[3],
    "iteration": lambda z: next(iter(z)),
    "unpacking": lambda z: [*z][5],
    "index_select": lambda z: torch.index_select(z, 0, torch.tensor([3, 3])),
    "flip": lambda z: z.flip(0),
    "cpu": lambda z: z.cpu(),
    "to": lambda z: z.to("cpu", non_blocking=True),
    "to another type": lambda z: z.to(torch.float64),
    "half": lambda z: z.half(),
    "clone": lambda z: z.clone(),
    "detach": lambda z: z.clone().requires_grad_().detach(),
    "stack": lambda z: torch.stack([z[0], z[3]]),
    "cat": lambda z: torch.cat((z, z[:2])),
    "view": lambda z: z.view(2, 3, 8),
    "expand": lambda z: z[:1].expand(4, -1),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda z: pickle.loads(pickle.dumps(z)),
}


@pytest.mark.parametrize("how", MOVED)
def test_what_is_only_moved_stays_latents(how):
    z = Latents(torch.randn(6, 8))
    moved = MOVED[how](z)
    assert type(moved) is Latents and moved.is_floating_point()
    if how not in ("permutation", "pickle", "copy", "deepcopy"):
        plain = MOVED[how](z.as_subclass(torch.Tensor))
        assert torch.equal(moved.as_subclass(torch.Tensor), plain)


@pytest.mark.parametrize(
    "compute",
    [
        lambda z: z + 1,
        lambda z: 0.3 * z,
        lambda z: z.mean(0),
        lambda z: z == 0,
        lambda z: z.sum(),
        lambda z: z.long(),
        lambda z: torch.cat([z, torch.zeros(1, 8)]),
        lambda z: torch.zeros(6, 8).to(z),
    ],
)
def test_what_is_computed_is_a_plain_tensor(compute):
    assert type(compute(Latents(torch.randn(6, 8)))) is torch.Tensor


@pytest.mark.parametrize("data", [[[1, 2]], np.ones((1, 2)), torch.ones(1, 2, dtype=torch.float16), ((1.0, 2.0),)])
def test_they_are_made_of_anything_with_numbers(data):
    assert Latents(data).dtype == torch.float32 and Latents(data).shape == (1, 2)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_shuffled_loader_keeps_them(inverting_pack, workers):
    images, stored = torch.rand(6, 3, 32, 32), Latents(torch.arange(6.0)[:, None].expand(6, 8))
    loader = DataLoader(TensorDataset(images, torch.arange(6), stored), batch_size=3, shuffle=True, num_workers=workers)
    shift = LatentShift("background", pack=inverting_pack, p=1, return_params=True)
    for x, y, z in loader:
        assert type(z) is Latents
        params = shift(x, y, z)[1]
        assert params["source"] == "invert" and torch.equal(params["latents"][:, 0], y.float())


BATCH, ONE, LABELS = torch.rand(4, 3, 32, 32), torch.rand(3, 32, 32), torch.arange(4)
LOST = {
    "beside a batch": (BATCH, LABELS, torch.randn(4, 8)),
    "where labels stand": (BATCH, torch.randn(4, 8)),
    "beside one image": (ONE, 3, torch.randn(8)),
    "beside one image as a row": (ONE, 3, torch.randn(1, 8, dtype=torch.float64)),
    "in a dictionary": ({"image": BATCH, "label": LABELS, "stored": torch.randn(4, 8)},),
    "an array": (BATCH, LABELS, np.zeros((4, 8))),
    "lists under their name": ({"image": BATCH, "label": LABELS, "latents": [[0.0] * 8] * 4},),
}


@pytest.mark.parametrize("case", LOST)
@pytest.mark.parametrize("source", ["auto", "invert"])
def test_latents_that_lost_their_type_are_refused(inverting_pack, case, source):
    with pytest.raises(TransformError, match=r"Latents\(\.\.\.\)"):
        LatentShift("background", pack=inverting_pack, source=source)(*LOST[case])


def test_latents_beside_an_unconditional_pack(grey_pack):
    shift = LatentShift("slant", pack=grey_pack)
    with pytest.raises(TransformError, match=r"Latents\(\.\.\.\)"):
        shift(BATCH[:, :1], torch.randn(4, 8))
    soft = torch.randn(4, 8).softmax(1)
    assert shift(BATCH[:, :1], soft)[1] is soft, "soft labels of eight classes stand where labels stand"


def test_what_is_as_long_but_stands_elsewhere_or_is_asked_not_to_matter(inverting_pack):
    sampling = LatentShift("background", pack=inverting_pack, source="sample", p=1)
    assert len(sampling(BATCH, LABELS, torch.randn(4, 8))) == 3, "source=sample reads no latents"
    both = LatentShift("background", pack=inverting_pack, p=1)
    assert len(both(BATCH, LABELS, torch.randn(4, 5), torch.arange(8))) == 4
    with pytest.raises(TransformError, match=r"one Latents, or one for each image or batch \(1 here\); got 2.$"):
        both(BATCH, LABELS, Latents(torch.zeros(4, 8)), Latents(torch.zeros(4, 8)))
    with pytest.raises(TransformError, match=r"got 4. Those of a batch are one, .*torch.stack\(latents\)"):
        both(BATCH, LABELS, list(Latents(torch.zeros(4, 8))))
