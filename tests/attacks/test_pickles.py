"""Pickles by a grammar of their instructions, known attacks among them: refused, or read; never run."""

import io
import os
import pickle
import random
import struct
import zipfile

import pytest
import torch

from tests.attacks.conftest import OFTEN, check

ASKED = [
    ("os", "system"), ("posix", "system"), ("builtins", "eval"), ("builtins", "exec"), ("builtins", "getattr"),
    ("builtins", "open"), ("subprocess", "Popen"), ("builtins", "__import__"), ("torch", "load"), ("torch.hub", "load"),
    ("builtins", "bytearray"), ("operator", "attrgetter"), ("functools", "partial"), ("torch", "Tensor"),
    ("torch.storage", "UntypedStorage"), ("collections", "OrderedDict"), ("torch", "Size"), ("torch", "FloatStorage"),
    ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter"), ("dnnlib.util", "EasyDict"),
    ("torch.storage", "_load_from_bytes"), ("torch_utils.persistence", "_reconstruct_persistent_obj"),
    ("numpy.core.multiarray", "_reconstruct"), ("numpy.core.multiarray", "scalar"), ("numpy", "ndarray"),
    ("numpy", "dtype"), ("_codecs", "encode"), ("builtins", "set"), ("argparse", "Namespace"), ("torch.jit", "load"),
]  # fmt: skip


WORDS = ["G_ema", "state", "class_name", "_parameters", "_modules", "", "\x1b[1m", "f4", "i1"]


def text(word):
    held = word.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(held)) + held


def atom(rng, canary):
    """Instructions that put one object on the stack."""
    module, name = rng.choice(ASKED)
    return rng.choice(
        [
            lambda: b"c" + f"{module}\n{name}\n".encode(),
            lambda: text(module) + text(name) + b"\x93",
            lambda: text(rng.choice(WORDS)),
            lambda: text(f"touch {canary}"),
            lambda: text(f"open({str(canary)!r}, 'w')"),
            lambda: b"K" + bytes([rng.randrange(256)]),
            lambda: b"\x8a\x09" + rng.randbytes(9),
            lambda: b"\x8e" + struct.pack("<Q", rng.choice([0, 3, 2**31, 2**62])) + b"abc",
            lambda: rng.choice([b"N", b"\x88", b"}", b"]", b")", b"\x8f", b"G" + rng.randbytes(8)]),
            lambda: b"I" + b"9" * rng.choice([1, 20, 5000]) + b"\n",
            lambda: b"\x8c\x03ab\xff",
            lambda: rng.choice([b"\x82\x01", b"P0\n", b"\x97", b"B" + struct.pack("<I", 2**31) + b"x"]),
        ]
    )()  # fmt: skip


def program(rng, canary):
    """A random pickle: objects, and what takes them off the stack again."""
    out, height = [b"\x80" + bytes([rng.choice([2, 3, 4, 5])])], 0
    for _ in range(rng.choice([3, 10, 40, 200])):
        kind = rng.randrange(16)
        if kind < 6 or height < 2:
            out.append(atom(rng, canary))
            height += 1
        elif kind < 9:
            out.append(rng.choice([b"\x85R", b"\x86", b"\x85", b"R", b"\x81", b"b", b"a", b"0"]))
            height -= 1
        elif kind == 9:
            out.append(rng.choice([b"2", b"q" + bytes([rng.randrange(4)]), b"h" + bytes([rng.randrange(4)]), b"\x94"]))
            height += 1
        elif kind == 10:
            out.append(
                b"("
                + b"".join(atom(rng, canary) for _ in range(4))
                + rng.choice([b"t", b"l", b"d", b"\x91", b"u", b"e"])
            )
            height += 1
        elif kind == 11:
            module, name = rng.choice(ASKED)
            out.append(b"(" + text(f"touch {canary}") + f"i{module}\n{name}\n".encode())
            height += 1
        elif kind == 12:
            out.append(b"r" + struct.pack("<I", rng.choice([0, 5, 2**20, 2**31, 2**32 - 1])))
        elif kind == 13:
            out.append(b"\x95" + struct.pack("<Q", rng.choice([0, 10, 2**30, 2**33, 2**62])))
        elif kind == 14:
            out.append(rng.choice([b"\x85", b"\x86", b"]", b"}"]) * rng.choice([1, 100, 50_000]))
        else:
            out.append(b"c" + "{}\n{}\n".format(*rng.choice(ASKED)).encode() + text(f"touch {canary}") + b"\x85R")
            height += 1
    return b"".join(out) + b"."


def wrapped(content, rng, valid):
    """A pickle where each reader looks for one."""
    kind = rng.choice(["bare", "bare", "zip", "zip", "old", "stored"])
    if kind == "zip":
        return zipped(content, valid), ".pt"
    if kind == "old":
        old = io.BytesIO()
        torch.save({"a": 1}, old, _use_new_zipfile_serialization=False)
        return old.getvalue()[:64] + content, ".pt"
    if kind == "stored":
        head = b"\x80\x04ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(content))
        return head + content + b"\x85R.", ".pkl"
    return content, rng.choice([".pkl", ".pt"])


def zipped(content, valid):
    """A file of torch.save with another pickle in it."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(valid)) as old, zipfile.ZipFile(out, "w") as new:
        for record in old.infolist():
            new.writestr(record, content if record.filename.endswith("data.pkl") else old.read(record))
    return out.getvalue()


def colliding(count):
    """Keys that all have one hash."""
    numbers = ((k * (2**61 - 1)).to_bytes(10, "little") for k in range(count))
    return b"".join(b"\x8a\x0a" + number + b"N" for number in numbers)


def shared_modules(depth=40):
    """Networks that hold the next one twice, 2 to the power of ``depth`` ways down."""
    empty = {"_parameters": {}, "_buffers": {}, "_modules": {}}
    network = {"class_name": "a", "state": dict(empty)}
    for _ in range(depth):
        network = {"class_name": "a", "state": {**empty, "_modules": {"a": network, "b": network}}}
    return pickle.dumps({"G_ema": network})


def shared_options(depth=40):
    """Options that no message can hold."""
    value = [1]
    for _ in range(depth):
        value = [value, value]
    state = {"_parameters": {}, "_buffers": {}, "_modules": {}, "_init_kwargs": {"activation": value}}
    return pickle.dumps({"G_ema": {"class_name": "a", "state": state}})


BOMBS = {
    "a number of an object": b"\x80\x04Nr\xff\xff\xff\x7f.",
    "a frame of 4 GB": b"\x80\x04\x95" + struct.pack("<Q", 2**32) + b"N.",
    "4 GB of bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**32) + b"N.",
    "shared modules": shared_modules(),
    "shared options": shared_options(),
    "tuples 3,000,000 deep as a key": b"\x80\x04}" + b")" + b"\x85" * 3_000_000 + b"Ns.",
    "tuples that hold the next one twice": b"\x80\x04})" + b"2\x86" * 90 + b"Ns.",
    "1.5 million sets": b"\x80\x04" + b"\x8f" * 1_500_000 + b".",
    "keys of one hash": b"\x80\x04}(" + colliding(100_000) + b"u.",
    "one text given 100,000 times": b"\x80\x04c_codecs\nencode\nq\x00X" + struct.pack("<I", 10**6) + b"x" * 10**6
    + b"X\x05\x00\x00\x00ascii\x86q\x01" + b"h\x00h\x01R" * 100_000 + b".",
    "a bytearray of 100 GB": b"\x80\x04cbuiltins\nbytearray\n\x8a\x08" + struct.pack("<q", 10**11) + b"\x85R.",
    "an integer of 300,000 digits": b"\x80\x04}\x8b" + struct.pack("<I", 125_000) + b"\x7f" * 125_000 + b"Ns.",
    "names of 50 MB": b"\x80\x04c" + b"a" * 50_000_000 + b"\nb\n.",
    "escapes in a name": b"\x80\x04c\x1b]0;owned\x07\nb\x9b2J\n.",
}  # fmt: skip


def bombs(tmp_path, valid):
    """Each bomb for each reader."""
    for name, content in BOMBS.items():
        for ending in (".pkl",) if len(content) > 10**6 else (".pkl", ".pt", ".zip.pt"):  # the larger ones take time
            path = tmp_path / f"{name.replace(' ', '-').replace(',', '')}{ending}"
            path.write_bytes(zipped(content, valid) if ending == ".zip.pt" else content)
            yield f"{name}{ending}", path


@pytest.fixture
def valid(tutorial):
    file = io.BytesIO()
    torch.save({f"main.{name}": tensor for name, tensor in tutorial.state_dict().items()}, file)
    return file.getvalue()


def walk(valid, tmp_path, count, seed):
    rng, canary, attacks, names = random.Random(seed), tmp_path / "was_run", [], []
    for number in range(count):
        content, ending = wrapped(program(rng, canary), rng, valid)
        path = tmp_path / f"{number}{ending}"
        path.write_bytes(content)
        attacks.append(("checkpoint", path))
        names.append(str(path))
    assert set(check(attacks, names, canary=canary)) == {"refused"}


@pytest.mark.parametrize(("count", "seed"), OFTEN)
def test_random_programs_are_refused_and_not_run(valid, tmp_path, count, seed):
    walk(valid, tmp_path, count, seed)


def test_bombs_are_refused(valid, tmp_path):
    found = dict(bombs(tmp_path, valid))
    assert set(check([("checkpoint", path) for path in found.values()], list(found))) == {"refused"}


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.pkl")
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "zero.pt").symlink_to("/dev/zero")
    (tmp_path / "zero.pkl").symlink_to("/dev/zero")
    for name in ("generator", "pack"):
        (tmp_path / name).mkdir()
        os.mkfifo(tmp_path / name / "config.json")
    attacks = [("checkpoint", path) for path in tmp_path.iterdir() if path.is_symlink() or path.suffix]
    attacks += [(name, tmp_path / name) for name in ("generator", "pack")]
    assert set(check(attacks, [str(path) for _, path in attacks])) == {"refused"}
