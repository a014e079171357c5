"""LatentShift where training runs: DataLoader workers, ranks, compiled, under autocast."""

import copy
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from ganaug.errors import PackError
from ganaug.generators import SNGAN
from ganaug.packs import DirectionPack
from ganaug.transforms import LatentShift

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


class Greys(Dataset):
    """Sixteen grey images, shifted one by one."""

    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return 16

    def __getitem__(self, index):
        (image, label), params = self.transform(torch.full((3, 32, 32), 0.5), index % 10)
        return image, label, params["magnitudes"]


def epochs(shift, *, seed=0, count=1, **options):
    torch.manual_seed(seed)
    loader = DataLoader(Greys(shift), batch_size=2, **options)
    return [[torch.cat(parts) for parts in zip(*loader, strict=True)] for _ in range(count)]


@pytest.fixture
def shift(inverting_pack):
    return LatentShift("background", pack=inverting_pack, p=1, source="invert", return_params=True)


@pytest.mark.parametrize("num_workers", [0, 2, 4])
def test_the_seed_decides_what_workers_draw(shift, num_workers):
    options = {"num_workers": num_workers, "multiprocessing_context": "fork" if num_workers else None}
    first, again, other = (epochs(shift, seed=seed, **options)[0] for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len(first[2].unique()) == len(other[2].unique()) == 16, "every image of every worker has its own draw"
    assert not torch.equal(first[2], other[2])
    assert torch.equal(first[1], torch.arange(16) % 10)


@pytest.mark.slow
def test_forked_spawned_and_persistent_workers_draw_the_same(shift):
    forked = epochs(shift, count=2, num_workers=2, multiprocessing_context="fork")
    persistent = epochs(shift, count=2, num_workers=2, multiprocessing_context="fork", persistent_workers=True)
    spawned = epochs(shift, num_workers=2, multiprocessing_context="spawn")
    for images, labels, magnitudes in (persistent[0], spawned[0]):
        assert torch.equal(magnitudes, forked[0][2]) and torch.equal(labels, forked[0][1])
        torch.testing.assert_close(images, forked[0][0])
    assert not torch.equal(persistent[0][2], persistent[1][2]), "another epoch is another draw"


def test_copies_share_the_weights(inverting_pack):
    shift = LatentShift("background", pack=inverting_pack, source="invert")
    copied = copy.deepcopy(v2.Compose([shift])).transforms[0]
    assert copied is not shift and copied.pack.generator is shift.pack.generator
    assert copied.pack.encoder is shift.pack.encoder
    copied.pack.rename(4, "sky")
    assert shift.pack.names == {"background": 4, "stroke": 2}


def test_a_worker_is_sent_handles_to_the_weights_not_the_weights():
    torch.manual_seed(0)
    generator = SNGAN(latent_dim=8, num_classes=10, widths=(128, 128, 128, 128)).freeze()
    weights = sum(tensor.numel() * 4 for tensor in generator.state_dict().values())
    shift = LatentShift(0, pack=DirectionPack(torch.eye(8)[:2], generator=generator))
    sent = bytes(ForkingPickler.dumps(shift))
    assert weights > 3_000_000 and len(sent) < 100_000
    received = ForkingPickler.loads(sent)
    mine, its = (one.pack.generator.dense.weight for one in (shift, received))
    assert its.is_shared() and torch.equal(mine, its)


def test_cuda_inside_a_forked_worker_is_refused_with_the_remedy(pack, monkeypatch):
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    with pytest.raises(PackError, match=r'CUDA inside a forked DataLoader worker.*multiprocessing_context="spawn"'):
        pack.networks("cuda:0")


@pytest.mark.parametrize("source", ["sample", "invert"])
def test_cuda_inside_a_forked_worker_is_refused_before_anything_is_drawn(inverting_pack, monkeypatch, source):
    class Elsewhere(torch.Tensor):
        device = torch.device("cuda:0")

    shift = LatentShift("background", pack=inverting_pack, source=source, p=1)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    images = torch.zeros(4, 3, 32, 32).as_subclass(Elsewhere)
    before = torch.get_rng_state()
    chosen = shift._sources[source]
    with pytest.raises(PackError, match="CUDA inside a forked DataLoader worker"):
        chosen.make_params(images, torch.arange(4), torch.ones(4, dtype=torch.bool))
    assert torch.equal(torch.get_rng_state(), before)


RANKS = """
import sys, torch, torch.distributed as dist
from ganaug import transforms
rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=3)
shift = transforms.LatentShift("background", p=1, return_params=True, check_domain=False)
torch.manual_seed(0)
_, params = shift(torch.rand(4, 3, 32, 32), torch.arange(4))
gathered = [torch.zeros(4) for _ in range(3)]
dist.all_gather(gathered, params["magnitudes"])
torch.manual_seed(0)
_, again = shift(torch.rand(4, 3, 32, 32), torch.arange(4))
assert torch.equal(again["magnitudes"], params["magnitudes"])
assert len(torch.cat(gathered).unique()) == 12, gathered
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_ranks_with_the_same_seed_draw_differently(tmp_path):
    command = [sys.executable, "-c", RANKS]
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stderr=subprocess.PIPE, text=True)
        for rank in range(3)
    ]
    for rank in ranks:
        _, errors = rank.communicate(timeout=120)
        assert rank.returncode == 0, errors


SPAWNED = """
import sys, torch, torch.distributed as dist, torch.multiprocessing as mp
from torch.utils.data import DataLoader, TensorDataset
from ganaug import transforms

class Shifted(TensorDataset):
    def __init__(self, shift):
        super().__init__(torch.rand(8, 3, 32, 32), torch.arange(8))
        self.shift = shift
    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return self.shift(image, int(label))[1]["magnitudes"]

def run(rank, store):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(0)
    shift = transforms.LatentShift("background", p=1, return_params=True, check_domain=False, source="sample")
    found = torch.cat(list(DataLoader(Shifted(shift), batch_size=4, num_workers=1, multiprocessing_context="spawn")))
    gathered = [torch.zeros_like(found) for _ in range(2)]
    dist.all_gather(gathered, found)
    assert len(torch.cat(gathered).unique()) == 16, gathered
    dist.destroy_process_group()

if __name__ == "__main__":
    mp.spawn(run, args=(sys.argv[1],), nprocs=2)
"""


@pytest.mark.slow
def test_workers_spawned_by_spawned_ranks_draw_differently(tmp_path):
    """``mp.spawn`` sets no RANK, so the transform brings the rank along."""
    (tmp_path / "ranks.py").write_text(SPAWNED)
    command = [sys.executable, str(tmp_path / "ranks.py"), str(tmp_path / "store")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr


def test_spawned_workers_know_their_rank_from_the_launcher(shift, monkeypatch):
    drawn = {}
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        drawn[rank] = epochs(shift, num_workers=1, multiprocessing_context="fork")[0][2]
    assert len(torch.cat(list(drawn.values())).unique()) == 48


@pytest.mark.parametrize("source", ["sample", "invert"])
@pytest.mark.slow
def test_compiled_under_autocast_and_in_inference_mode(inverting_pack, source):
    images, labels = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(6)
    shift = LatentShift("background", pack=inverting_pack, source=source)

    def run(transform):
        torch.manual_seed(0)
        return transform(images, labels)[0]

    expected = run(shift)
    with torch.inference_mode():
        torch.testing.assert_close(run(shift), expected)
    torch.testing.assert_close(run(torch.compile(shift, backend="eager")), expected)
    with torch.autocast("cpu", torch.bfloat16):
        half = run(shift)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, atol=0.02, rtol=0)


def test_inference_tensors_and_images_that_learn_are_taken(inverting_pack):
    shift = LatentShift("background", pack=inverting_pack, p=1)
    with torch.inference_mode():
        images = torch.rand(2, 3, 32, 32)
    assert shift(images).shape == images.shape
    learning = torch.full((2, 3, 32, 32), 0.5, requires_grad=True)
    shift(learning).sum().backward()
    assert learning.grad.mean() > 0.9, "the change is added, so the gradient goes through"
