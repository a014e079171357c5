"""Packs and banks whose files were damaged: bytes, lengths, swaps, what lies in a file's place."""

import os
import random
import shutil

import pytest

from ganaug.transforms import LatentBank
from tests.attacks.conftest import OFTEN, check

HEADERS = [b"", b"\xff" * 64, (2**62).to_bytes(8, "little"), b"\x08\0\0\0\0\0\0\0{}      ", b"{" * 4096]
METADATA = ("README.md", "preview.png")
"""Damage there changes no images."""


def damaged(content, rng):
    """Bytes with one to eight of them flipped, set or moved; cut, doubled, or with another beginning."""
    kind = rng.randrange(7)
    if kind == 0:
        return content[: rng.randrange(len(content))]
    if kind == 1:
        return content + rng.randbytes(rng.choice([1, 8, 4096]))
    if kind == 2:
        header = rng.choice(HEADERS)
        return header + content[len(header) :]
    if kind == 3:
        start, stop = sorted(rng.randrange(len(content)) for _ in range(2))
        return content[:start] + content[stop:]
    changed = bytearray(content)
    most = len(changed) if kind == 4 else min(400, len(changed))
    for _ in range(rng.choice([1, 1, 2, 8])):
        place = rng.randrange(most)
        changed[place] = rng.choice([changed[place] ^ (1 << rng.randrange(8)), 0, 255, rng.randrange(256)])
    return bytes(changed)


def attack_packs(folder, count, tmp_path, rng):
    files = sorted(file.name for file in folder.iterdir() if file.suffix in (".json", ".safetensors", ".png", ".md"))
    for number in range(count):
        target = tmp_path / f"pack-{number}"
        shutil.copytree(folder, target)
        name = rng.choice(files)
        how = rng.randrange(10)
        if how == 0:
            (target / name).unlink()
        elif how == 1:
            (target / name).unlink()
            os.mkfifo(target / name)
        elif how == 2:
            (target / name).unlink()
            (target / name).symlink_to(rng.choice(["/dev/zero", "/", "/proc/self/mem", "nowhere", name]))
        elif how == 3:
            shutil.copy(folder / rng.choice(files), target / name)
        else:
            (target / name).write_bytes(damaged((folder / name).read_bytes(), rng))
        yield ("pack", target), f"{target.name} {name} {how}", name


def walk(small_pack, tmp_path, count, seed):
    rng = random.Random(seed)
    folder = small_pack.save_pretrained(tmp_path / "valid")
    LatentBank.build(small_pack, "any", 12, tmp_path / "valid.bank", device="cpu", show_progress=False)
    attacks = list(attack_packs(folder, count * 3 // 4, tmp_path, rng))
    content = (tmp_path / "valid.bank").read_bytes()
    for number in range(count // 4):
        file = tmp_path / f"bank-{number}"
        file.write_bytes(damaged(content, rng))
        attacks.append((("bank", file), file.name, "bank"))
    valid = [("pack", folder), ("bank", tmp_path / "valid.bank")]
    told = check(
        [*valid, *(attack for attack, *_ in attacks)], ["valid pack", "valid bank", *(name for _, name, _ in attacks)]
    )
    right = told[0]
    assert right.startswith("drew") and told[1].startswith("drew")
    for (_, name, file), what in zip(attacks, told[2:], strict=True):
        if file not in ("bank",):
            assert what in ("refused", right), f"{name} draws something else in silence"
    assert sum(what == "refused" for what in told) > count / 3


@pytest.mark.parametrize(("count", "seed"), OFTEN)
def test_damaged_packs_and_banks_are_refused_or_the_same(small_pack, tmp_path, count, seed):
    walk(small_pack, tmp_path, count, seed)
