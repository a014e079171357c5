"""Latent banks: drawn once, mapped by every worker."""

import copy
import multiprocessing
import os
import pickle
import re
import resource

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.utils.data import DataLoader, TensorDataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from ganaug.errors import BankError, TransformError
from ganaug.generators import SNGAN, Generator
from ganaug.locks import alone
from ganaug.packs import DirectionPack
from ganaug.transforms import LatentBank, LatentShift


@pytest.fixture
def bank(pack, tmp_path):
    return LatentBank.build(pack, ["background", "stroke"], 60, tmp_path / "bank.safetensors", show_progress=False)


def images_and_labels(count=200, size=32):
    return torch.full((count, 3, size, size), 7, dtype=torch.uint8), torch.arange(count) % 10


def test_a_bank_is_one_plain_safetensors_file_ordered_by_class(bank, pack):
    with safe_open(bank.path, framework="pt") as file:
        assert set(file.keys()) == {"images", "labels", "indices", "magnitudes"}
        assert file.metadata()["generator_sha256"] == pack.generator.weights_sha256()
        images = file.get_tensor("images")
    assert images.shape == (60, 3, 32, 32) and images.dtype == torch.uint8 and torch.equal(images, bank.images)
    assert torch.equal(bank.labels, torch.arange(10).repeat_interleave(6))
    assert set(bank.indices.tolist()) == {2, 4}
    ranges = torch.tensor([pack[int(index)].reach for index in bank.indices])
    assert (bank.magnitudes >= ranges[:, 0]).all() and (bank.magnitudes <= ranges[:, 1]).all()
    assert list(bank.path.parent.iterdir()) == [bank.path]


def test_latent_shift_serves_images_of_the_labels(bank):
    images, labels = images_and_labels()
    shift = LatentShift(bank=bank.path, p=0.5, return_params=True)
    torch.manual_seed(0)
    (served, same), params = shift(images, labels)
    replaced = (served != images).flatten(1).any(1)
    assert same is labels and params["source"] == "bank" and torch.equal(params["replace"], replaced)
    assert 0.35 < replaced.float().mean() < 0.65
    for row in replaced.nonzero().squeeze(1)[:20].tolist():
        of_class = bank.images[bank.labels == labels[row]]
        (entry,) = (of_class == served[row]).flatten(1).all(1).nonzero()[0].tolist()
        assert bank.indices[bank.labels == labels[row]][entry] == params["indices"][row]
    torch.manual_seed(0)
    assert torch.equal(shift(images, labels)[0][0], served)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
@pytest.mark.parametrize("size", [32, 48])
def test_served_in_the_type_and_size_of_the_image(bank, dtype, size):
    image = v2.functional.to_dtype(images_and_labels(1, size)[0][0], dtype, scale=True)
    served, label = LatentShift(bank=bank, p=1)(tv_tensors.Image(image), 3)
    assert isinstance(served, tv_tensors.Image) and served.shape == image.shape and served.dtype == dtype and label == 3
    if size == 32:
        shown = v2.functional.to_dtype(served, torch.uint8, scale=True).int()
        differences = (bank.images[bank.labels == 3].int() - shown).abs().flatten(1).amax(1)
        assert differences.min() <= (0 if dtype == torch.uint8 else 1)


def test_workers_serve_from_it(bank):
    images, labels = images_and_labels(32)

    class Served(TensorDataset):
        shift = LatentShift(bank=bank.path, p=1)

        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return self.shift(image, int(label))

    for served, y in DataLoader(Served(images, labels), batch_size=8, num_workers=2):
        assert served.dtype == torch.uint8 and (served != 7).flatten(1).any(1).all() and y.shape == (8,)


def test_a_pickled_bank_is_its_path(bank):
    assert len(pickle.dumps(bank)) < 1000
    assert torch.equal(pickle.loads(pickle.dumps(bank)).images, bank.images)


def test_interrupted_it_goes_on_and_ends_the_same(pack, tmp_path, monkeypatch):
    whole = LatentBank.build(pack, "any", 700, tmp_path / "whole.safetensors", show_progress=False)
    forward, calls = Generator.forward, []

    def interrupted(self, *arguments):
        calls.append(len(arguments[0]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return forward(self, *arguments)

    monkeypatch.setattr(Generator, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        LatentBank.build(pack, "any", 700, tmp_path / "bank.safetensors", show_progress=False)
    with pytest.raises(BankError, match=r"half built: call LatentBank\.build again"):
        LatentBank(tmp_path / "bank.safetensors")
    with pytest.raises(BankError, match="half-built bank of other arguments"):
        LatentBank.build(pack, "any", 700, tmp_path / "bank.safetensors", seed=1, show_progress=False)
    calls.clear()
    LatentBank.build(pack, "any", 700, tmp_path / "bank.safetensors", show_progress=False)
    assert calls == [700 - 512], "two chunks of 256 were there already"
    assert (tmp_path / "bank.safetensors").read_bytes() == whole.path.read_bytes()


def test_the_seed_decides_what_is_in_it(pack, tmp_path):
    banks = [
        LatentBank.build(pack, 4, 20, tmp_path / f"{k}.safetensors", seed=seed, show_progress=False)
        for k, seed in enumerate((0, 0, 1, 2**45, -1))
    ]
    assert torch.equal(banks[0].images, banks[1].images) and torch.equal(banks[0].magnitudes, banks[1].magnitudes)
    assert len(torch.cat([bank.magnitudes for bank in banks[1:]]).unique()) == 80


@pytest.mark.parametrize("told", [None, b"nonsense", b"\xff" * 8])
def test_a_damaged_note_of_progress_starts_again(pack, tmp_path, told, monkeypatch):
    whole = LatentBank.build(pack, 4, 300, tmp_path / "whole.safetensors", show_progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(Generator, "forward", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            LatentBank.build(pack, 4, 300, tmp_path / "bank.safetensors", show_progress=False)
    with (tmp_path / "bank.safetensors.part").open("r+b") as half:
        if told is None:  # killed before the last step, the renaming
            half.truncate(whole.path.stat().st_size)
        else:
            half.seek(-8, os.SEEK_END)
            half.write(told)
    LatentBank.build(pack, 4, 300, tmp_path / "bank.safetensors", show_progress=False)
    assert (tmp_path / "bank.safetensors").read_bytes() == whole.path.read_bytes()


def in_child(work):
    """The message of the error that some work ends with in a process of its own."""
    told = multiprocessing.get_context("fork").SimpleQueue()

    def child():
        torch.set_num_threads(1)  # a forked process has none of its parent's threads
        try:
            work()
        except BankError as error:
            told.put(str(error))
        else:
            told.put("")

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    return told.get() if process.exitcode == 0 else process.exitcode


@pytest.mark.parametrize("reserves", [True, False])
def test_a_full_disk_is_told_before_anything_is_drawn_and_nothing_is_left(pack, tmp_path, reserves):
    def build():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        if not reserves:
            del os.posix_fallocate
        Generator.forward = None
        LatentBank.build(pack, 4, 60, tmp_path / "below" / "bank.safetensors", show_progress=False)

    assert re.fullmatch(
        r"there is not room for .*bank\.safetensors\.part: it takes 18\d,\d+ bytes, and [\d,]+ are free "
        r"\(File too large\)\. Make room, .*",
        in_child(build),
    )
    assert not list(tmp_path.iterdir())


def test_two_processes_do_not_build_one_bank(pack, tmp_path):
    path = tmp_path / "bank.safetensors"

    def build():
        torch.set_num_threads(1)
        LatentBank.build(pack, 4, 60, path, show_progress=False)

    with alone(path):
        assert "another process is writing" in in_child(build) and not path.exists()
        LatentBank.build(pack, 4, 60, tmp_path / "another", show_progress=False)
    processes = [multiprocessing.get_context("fork").Process(target=build) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert 0 in [process.exitcode for process in processes]
    assert path.read_bytes() == (tmp_path / "another").read_bytes() and len(list(tmp_path.iterdir())) == 2


def test_what_cannot_be_built_is_named(pack, bank, tmp_path):
    with pytest.raises(BankError, match=r"exists\. Delete it"):
        LatentBank.build(pack, 0, 60, bank.path)
    with pytest.raises(BankError, match="one image for each of 10 classes, got 9"):
        LatentBank.build(pack, 0, 9, tmp_path / "small.safetensors")
    grey = DirectionPack(torch.eye(8)[:2], generator=SNGAN(latent_dim=8, widths=(8, 8)).freeze())
    with pytest.raises(BankError, match="unconditional generator, so a bank's images would have no labels"):
        LatentBank.build(grey, 0, 60, tmp_path / "grey.safetensors")
    assert {file.name for file in tmp_path.iterdir()} == {"bank.safetensors"}


@pytest.mark.parametrize("damage", ["truncated", "text", "other tensors", "no bank", "labels in disorder", "classes"])
def test_damaged_banks_are_named(bank, damage):
    content = bank.path.read_bytes()
    if damage == "truncated":
        bank.path.write_bytes(content[:-100])
    elif damage == "text":
        bank.path.write_text("images")
    elif damage == "other tensors":
        save_file({"images": torch.zeros(3)}, bank.path, metadata={"ganaug_bank": "1"})
    elif damage == "no bank":
        save_file({"images": torch.zeros(3)}, bank.path)
    else:
        tensors = {name: getattr(bank, name).clone() for name in ("images", "labels", "indices", "magnitudes")}
        if damage == "labels in disorder":
            tensors["labels"] = tensors["labels"].flip(0)
        classes = "9" * 20 if damage == "classes" else "10"
        save_file(tensors, bank.path, metadata={**bank.metadata, "num_classes": classes})
    with pytest.raises(BankError, match=r"not a whole safetensors file|not a latent bank|not those of a latent bank"):
        LatentShift(bank=bank.path)


def test_bad_use_of_a_bank_is_named(bank):
    images, labels = images_and_labels(4)
    shift = LatentShift(bank=bank, p=1)
    with pytest.raises(ValueError, match="no labels were found in the sample, and bank"):
        shift(images)
    with pytest.raises(ValueError, match="values from 9 to 12"):
        shift(images, torch.arange(4) + 9)
    with pytest.raises(ValueError, match=r"3 channel\(s\), got 2"):
        shift(images[:, :2], labels)
    with pytest.raises(ValueError, match="cannot be given with it"):
        LatentShift("background", bank=bank)
    with pytest.raises(ValueError, match=r"num_ops.*cannot be given with it"):
        LatentShift(bank=bank, num_ops=2)


def test_a_bank_knows_the_names_of_its_classes(pack, tmp_path):
    names = [f"class {k}" for k in range(10)]
    pack = DirectionPack(pack.directions, generator=copy.deepcopy(pack.generator).name_classes(names))
    bank = LatentBank.build(pack, 2, 20, tmp_path / "named.safetensors", show_progress=False)
    assert bank.class_names == tuple(names)
    shift = LatentShift(bank=bank.path, p=1, classes=["class 7", "class 2"], return_params=True)
    assert shift(images_and_labels(2)[0], torch.tensor([0, 1]))[1]["classes"].tolist() == [7, 2]
    assert shift(images_and_labels(2)[0], ["class 2", "class 7"])[1]["classes"].tolist() == [2, 7]
    with pytest.raises(TransformError, match="does not draw the classes 'cat'"):
        LatentShift(bank=bank.path, classes=["cat", "class 1"])


@pytest.mark.parametrize(
    "names", ["[", '["a"]', '{"a": 1}', "[" * 9999, str(["a"] * 10).replace("'", '"'), "[1,2,3,4,5,6,7,8,9,0]"]
)
def test_damaged_names_in_a_bank_are_refused(bank, names):
    with safe_open(bank.path, framework="pt") as file:
        tensors, metadata = {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata()  # noqa: SIM118
    save_file(tensors, bank.path, {**metadata, "class_names": names})
    with pytest.raises(BankError, match="class names"):
        LatentBank(bank.path)
