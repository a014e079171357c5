"""What LatentShift costs: beside the bare generator, beside classic augmentation, in time and in memory.

    python benchmarks/transform_speed.py [PACK] [--device cuda] [--only batch bank image loader dtype memory]

All on random uint8 images of the pack's size; nothing is downloaded. Times are medians of runs that alternate between
the things compared, so that a machine whose speed drifts does not favour one; the ratios are of those medians.

batch   images per second of LatentShift(p=1, source="sample") on batches with labels, beside the generator alone
bank    an epoch of a DataLoader with two workers: LatentShift(bank=...) beside RandomHorizontalFlip + ColorJitter, each
        less the epoch without any transform
image   microseconds per image in one process: LatentShift(source="invert") beside RandAugment and AutoAugment, and
        with stored latents
loader  an epoch of an InvertedFolder: shifted one by one, by stored latents and by the encoder, and in batches after
        collation, by both
dtype   a batch of 128 inverted and shifted, in float32 and in bfloat16, and how far the pixels are apart
memory  what four workers hold beyond a plain worker, after each has shifted images: the share of each that is its own
        (Linux: private and proportional set size), forked and spawned
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from harness import alternating, script_parser
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import to_pil_image

from ganaug.generators import SNGAN, Encoder
from ganaug.inversion import InvertedFolder, Latents, invert_folder
from ganaug.packs import DirectionPack
from ganaug.transforms import LatentBank, LatentShift


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images in memory with a transform of (image, label)."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Callable[..., tuple[Tensor, int]] | None) -> None:
        self.images, self.labels, self.transform = images, labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        sample = self.images[index], self.labels[index]
        return sample if self.transform is None else self.transform(*sample)


@torch.no_grad()
def batch(pack: DirectionPack, direction: str, images: Tensor, labels: Tensor, device: str) -> None:
    if not pack.num_classes:
        print("batch   (an unconditional generator: no source=sample)")
        return
    generator, _ = pack.networks(device)
    for size in (32, 128, 512):
        how = {"pack": pack, "source": "sample", "check_domain": False}
        shift, sparing = (LatentShift(direction, p=p, **how) for p in (1.0, 0.5))
        x, y = images[:size].to(device), labels[:size].to(device)
        latents = torch.randn(size, pack.latent_dim, device=device)
        jobs = {
            "generator": lambda g=generator, z=latents, y=y: g(z, y),
            "shift": lambda s=shift, x=x, y=y: s(x, y),
        }
        seconds = alternating(jobs, runs=40)
        seconds |= alternating({"half": lambda s=sparing, x=x, y=y: s(x, y)}, runs=20)
        bare, shifted, half = (size / seconds[name] for name in ("generator", "shift", "half"))
        print(
            f"batch   {size:4} images: generator {bare:8,.0f} images/s, LatentShift(p=1) {shifted:8,.0f}, ratio "
            f"{shifted / bare:.3f}; LatentShift(p=0.5) {half:8,.0f}"
        )


def bank(pack: DirectionPack, direction: str, images: Tensor, labels: Tensor, folder: Path) -> None:
    if not pack.num_classes:
        print("bank    (an unconditional generator: no banks)")
        return
    path = folder / "bank.safetensors"
    LatentBank.build(pack, direction, 2000, path)
    policies = {
        "none": None,
        "flip + jitter": v2.Compose([v2.RandomHorizontalFlip(), v2.ColorJitter(0.4, 0.4, 0.4, 0.1)]),
        "bank, p=0.5": LatentShift(bank=path, p=0.5),
        "bank, p=1": LatentShift(bank=path, p=1.0),
    }
    loaders = {
        name: DataLoader(Pictures(images, labels, policy), batch_size=64, num_workers=2, persistent_workers=True)
        for name, policy in policies.items()
    }
    seconds = alternating({name: lambda one=loader: list(one) for name, loader in loaders.items()}, runs=9)
    each = {name: (value - seconds["none"]) / len(images) * 1e6 for name, value in seconds.items()}
    for name in policies:
        ratio = f", ratio to flip + jitter {each[name] / each['flip + jitter']:.2f}" if "bank" in name else ""
        whole = f"epoch of {len(images):,} in 2 workers {seconds[name]:.2f} s"
        print(f"bank    {name:14} {whole}, of the transform {each[name]:6.1f} us an image{ratio}")


def image(pack: DirectionPack, direction: str, images: Tensor) -> None:
    if not pack.has_encoder:
        print("image   (a pack without an encoder: no source=invert)")
        return
    torch.set_num_threads(1)  # as in a DataLoader worker
    few = images[:50]
    latents = torch.randn(len(few), pack.latent_dim)
    shift = LatentShift(direction, pack=pack, p=1.0, check_domain=False, source="invert")
    replaced = LatentShift(direction, pack=pack, p=1.0, check_domain=False, source="invert", blend="replace")
    rand_augment, auto_augment = v2.RandAugment(), v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)
    policies = {
        "LatentShift, invert": lambda: [shift(one) for one in few],
        "LatentShift, stored latents": lambda: [shift(one, 0, Latents(z)) for one, z in zip(few, latents, strict=True)],
        "LatentShift, stored, replace": lambda: [
            replaced(one, 0, Latents(z)) for one, z in zip(few, latents, strict=True)
        ],
        "RandAugment": lambda: [rand_augment(one) for one in few],
        "AutoAugment": lambda: [auto_augment(one) for one in few],
        "LatentShift, batch of 50": lambda: shift(few),
    }
    for name, value in alternating(policies, runs=15).items():
        print(f"image   {name:29} {value / len(few) * 1e6:8,.0f} us an image, one thread")


def loader(pack: DirectionPack, direction: str, images: Tensor, folder: Path) -> None:
    if not pack.has_encoder:
        print("loader  (a pack without an encoder: no stored latents)")
        return
    (folder / "photos" / "0").mkdir(parents=True)
    for number, one in enumerate(images[:512]):
        to_pil_image(one).save(folder / "photos" / "0" / f"{number}.png")
    options = {"classes": [], "check_domain": False, "show_progress": False, "device": "cpu"}
    invert_folder(folder / "photos", pack, **options)
    shift = LatentShift(direction, pack=pack, p=1.0, check_domain=False, source="invert")
    tensor = v2.PILToTensor()
    sets = {
        "one by one, stored": InvertedFolder(folder / "photos", pack, transforms=v2.Compose([tensor, shift])),
        "one by one, encoder": InvertedFolder(folder / "photos", pack, transform=v2.Compose([tensor, shift])),
        "batches": InvertedFolder(folder / "photos", pack, transform=tensor, with_latents=True),
    }
    loaders = {name: DataLoader(one, batch_size=64, num_workers=2) for name, one in sets.items()}
    jobs = {name: lambda one=loaders[name]: list(one) for name in ("one by one, stored", "one by one, encoder")}
    jobs["batches, stored"] = lambda: [shift(x, y, z) for x, _, y, z in loaders["batches"]]
    jobs["batches, encoder"] = lambda: [shift(x) for x, *_ in loaders["batches"]]
    jobs["batches, no shift"] = lambda: list(loaders["batches"])
    for name, value in alternating(jobs, runs=3).items():
        print(f"loader  {name:20} {len(sets['batches']) / value:8,.0f} images/s, two workers")


def dtype(pack: DirectionPack, direction: str, images: Tensor, device: str) -> None:
    if not pack.has_encoder:
        print("dtype   (a pack without an encoder: no source=invert)")
        return
    x, made = images[:128].to(device), {}
    how = {"pack": pack, "p": 1.0, "check_domain": False, "source": "invert"}
    shifts = {name: LatentShift(direction, dtype=name, **how) for name in ("float32", "bfloat16", "auto")}
    for name, shift in shifts.items():
        torch.manual_seed(0)
        made[name] = shift(x).float() / 255
    seconds = alternating({name: lambda one=shift: one(x) for name, shift in shifts.items()}, runs=10)
    apart = (made["bfloat16"] - made["float32"]).abs().mean()
    shown = ", ".join(f"{name} {value * 1e3:,.0f} ms" for name, value in seconds.items())
    print(f"dtype   128 images: {shown}; bfloat16 moves pixels by {apart:.4f} of full scale")


def own_memory() -> Tensor:
    """MiB of this process that are its own (private), and its proportional share of all that it maps."""
    fields = dict(line.split(":") for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    kib = {name: int(value.split()[0]) for name, value in fields.items()}
    return torch.tensor([kib["Private_Dirty"] + kib["Private_Clean"], kib["Pss"]]) / 1024


class MemoryProbe(Dataset[Tensor]):
    """Item k is the memory of the worker that was asked for it, after it has shifted a few images."""

    def __init__(self, images: Tensor, transform: Callable[[Tensor], Tensor] | None) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        for one in self.images[:20]:
            if self.transform is not None:
                self.transform(one)
        time.sleep(0.5)
        return own_memory()


class Holding:
    """Stands for the transform's weights alone: it holds the pack and never draws."""

    def __init__(self, shift: LatentShift) -> None:
        self.shift = shift

    def __call__(self, image: Tensor) -> Tensor:
        return image


class Copying(Holding):
    """What a worker would hold if each had weights of its own."""

    copied: list[Tensor] | None = None

    def __call__(self, image: Tensor) -> Tensor:
        pack = self.shift.pack
        if self.copied is None:
            self.copied = [p.clone() for network in (pack.generator, pack.encoder) for p in network.parameters()]
        return image


def memory(images: Tensor) -> None:
    # Weights heavy enough to be seen beside a Python process.
    generator = SNGAN(latent_dim=128, channels=3, widths=(1024, 512, 512, 256)).freeze()
    encoder = Encoder(latent_dim=128, image_size=32, channels=3, width=128, hidden=1024).freeze()
    pack = DirectionPack(torch.eye(128)[:8], generator=generator, encoder=encoder, name="heavy")
    weights = sum(p.numel() * 4 for network in (generator, encoder) for p in network.parameters()) / 2**20
    shift = LatentShift(0, pack=pack, p=1.0, check_domain=False, source="invert")
    print(f"memory  generator and encoder: {weights:.0f} MiB; four workers, MiB beyond a worker without them:")
    for context in ("fork", "spawn"):
        base = None
        for name, transform in (
            ("nothing", None),
            ("weights, held", Holding(shift)),
            ("weights, a copy each", Copying(shift)),
            ("shifting images", shift),
        ):
            loader = DataLoader(
                MemoryProbe(images, transform), batch_size=1, num_workers=4, multiprocessing_context=context
            )
            private, proportional = torch.cat(list(loader)).sum(0).tolist()
            base = base or (private, proportional)
            print(
                f"memory  {context:5} {name:21} private {private - base[0]:+7.0f}, proportional "
                f"{proportional - base[1]:+7.0f}, all four together"
            )


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("pack", nargs="?", default="digits")
    parser.add_argument("--direction", default="background")
    parser.add_argument("--device", default="cpu", help="of the part batch; the rest is about CPU workers")
    parser.add_argument("--only", nargs="+", default=["batch", "bank", "image", "loader", "dtype", "memory"])
    arguments = parser.parse_args()

    pack = DirectionPack.from_pretrained(arguments.pack)
    generator = pack.generator
    torch.manual_seed(0)
    shape = (2000, generator.channels, generator.image_size, generator.image_size)
    images = torch.randint(256, shape, dtype=torch.uint8)
    labels = torch.arange(len(images)) % max(pack.num_classes, 1)
    name = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else f"{torch.get_num_threads()} threads"
    print(f"{pack.name}, {generator.image_size} pixels, torch {torch.__version__}, {arguments.device} ({name})")
    if "batch" in arguments.only:
        batch(pack, arguments.direction, images, labels, arguments.device)
    if "bank" in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            bank(pack, arguments.direction, images, labels, Path(folder))
    if "loader" in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            loader(pack, arguments.direction, images, Path(folder))
    if "dtype" in arguments.only:
        dtype(pack, arguments.direction, images, arguments.device)
    if "memory" in arguments.only:
        memory(images)
    if "image" in arguments.only:
        image(pack, arguments.direction, images)


if __name__ == "__main__":
    main()
