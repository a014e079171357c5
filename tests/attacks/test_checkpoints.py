"""Checkpoints, damaged and forged: their bytes, the records of their zip files, their tensors' shapes and types."""

import io
import pickle
import random
import zipfile
import zlib

import pytest
import torch

from tests.attacks.conftest import OFTEN, check
from tests.checkpoints.test_ganlatentdiscovery import published_sngan
from tests.checkpoints.test_stylegan2_folding import as_nvidia, rosinality
from tests.checkpoints.test_stylegan3_nvidia import nvidia


def states(tutorial):
    """State dicts of several layouts."""
    mlp = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 64))
    return {
        "dcgan": {f"main.{name}": tensor for name, tensor in tutorial.state_dict().items()},
        "sngan": published_sngan((8, 8, 4), 3)[0],
        "rosinality": rosinality(),
        "nvidia2": as_nvidia(rosinality()),
        "nvidia3": nvidia(),
        "mlp": mlp.state_dict(),
    }


OPTIONS = {
    "nvidia2": {},
    "nvidia3": {
        "channel_base": 128, "channel_max": 6, "num_critical": 2, "first_cutoff": 2, "first_stopband": 2**2.1,
        "last_stopband_rel": 2**0.3, "margin_size": 2, "output_scale": 0.25, "filter_size": 6, "lrelu_upsampling": 2,
        "conv_clamp": 256,
    },
}  # fmt: skip
"""Of layouts that come in NVIDIA's pickles."""

SHAPES = [(), (0,), (1,), (7,), (0, 4), (2, 3), (4, 4), (1, 1, 1, 1), (512, 1, 1, 1), (3, 0, 3, 3), (2, 3, 4, 5, 6)]
TYPES = [torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool, torch.complex64, torch.bfloat16]
VALUES = [float("nan"), float("inf"), 3e38, -3e38, 1e-38, 0.0]
ODD = [0, -1, 7, 10**6, 10**12, 2**80, None, "x", [1]]
NAMES = [
    "", "x", "main.0.weight", "\x1b[2J", "n" * 10**5, "module." * 1000, "main.99999999999999999999.weight",
    "synthesis.L14_99999999999_3.weight", "synthesis.b1073741824.const", "style.9999999999.bias", "convs.77777.x",
    "model.5.conv1.weight", "features.123456789.conv.weight", "\u0663.weight", "mapping.fc" + "9" * 400 + ".weight",
]  # fmt: skip


def change_tensors(state, rng):
    """A state dict with one to three of its tensors changed, and what was done."""
    state, told = dict(state), []
    for _ in range(rng.choice([1, 1, 2, 3])):
        plain = [name for name, each in state.items() if isinstance(each, torch.Tensor) and each.device.type == "cpu"]
        name, kind = rng.choice([name for name in plain if state[name].layout == torch.strided]), rng.randrange(10)
        tensor = state[name]
        if kind == 0:
            del state[name]
        elif kind == 1:
            state[name] = torch.ones(rng.choice(SHAPES))
        elif kind == 2:
            state[name] = tensor.to(rng.choice(TYPES))
        elif kind == 3:
            state[name] = torch.full_like(tensor, rng.choice(VALUES)) if tensor.is_floating_point() else tensor
        elif kind == 4:
            state[rng.choice(NAMES)] = state.pop(name)
        elif kind == 5:
            state[name] = torch.zeros(1).expand(rng.choice([(10**9,), (10**5, 10**5), (512, 512, 64, 64)]))
        elif kind == 6:
            state[name] = tensor[..., None].transpose(0, -1) if tensor.ndim else tensor[None]
        elif kind == 7:
            state[name] = (
                tensor.to_sparse() if tensor.ndim and rng.random() < 0.5 else torch.empty(tensor.shape, device="meta")
            )
        elif kind == 8:
            state[name] = rng.choice([None, 1, "x", [tensor], {"a": tensor}, (((),),)])
        else:
            shared = torch.randn(64, 64)
            state |= {f"{name.rpartition('.')[0]}{k}.weight": shared for k in range(500)}
        told.append(f"{name}:{kind}")
    return state, ", ".join(told)


def saved(state, **options):
    file = io.BytesIO()
    torch.save(state, file, **options)
    return file.getvalue()


def pickled(state, options):
    """As NVIDIA's files hold a network, its parts aside."""
    parts = {"_parameters": state, "_buffers": {}, "_modules": {}, "_init_kwargs": options}
    return pickle.dumps({"G_ema": {"class_name": "Generator", "state": parts}})


def change_bytes(content, rng):
    """Bytes flipped, cut, doubled, or filled."""
    content, kind = bytearray(content or b"\x00\x00"), rng.randrange(6)
    start = rng.randrange(len(content))
    if kind == 0:
        for _ in range(rng.choice([1, 5, 50])):
            content[rng.randrange(len(content))] = rng.randrange(256)
    elif kind == 1:
        del content[start:]
    elif kind == 2:
        del content[start : start + rng.randrange(1, 200)]
    elif kind == 3:
        content[start:start] = content[start : start + rng.randrange(1, 2000)]
    elif kind == 4:
        content[start : start + 8] = rng.choice([b"\xff" * 8, b"\x00" * 8, b"\x7f" + b"\xff" * 7])
    else:
        place = rng.randrange(max(0, len(content) - 2000), len(content))  # the end of a zip file is its directory
        content[place] ^= 1 << rng.randrange(8)
    return bytes(content), f"bytes:{kind}"


def change_records(content, rng):
    """A zip file whose records are others."""
    out, kind = io.BytesIO(), rng.randrange(8)
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", allowZip64=True) as new:
        records = old.infolist()
        chosen = rng.randrange(len(records))
        for number, record in enumerate(records):
            held, compression, name = old.read(record), zipfile.ZIP_STORED, record.filename
            if number == chosen or (kind == 7 and name.endswith("data.pkl")):
                if kind == 0:
                    continue
                if kind == 1:
                    held, compression = bytes(20 * 2**20), zipfile.ZIP_DEFLATED
                elif kind == 2:
                    held = held[: len(held) // 2]
                elif kind == 3:
                    held = held + held
                elif kind == 4:
                    new.writestr(name.upper(), held)
                elif kind == 5:
                    name = "../" * rng.randrange(4) + name + rng.choice(["", "\x1b[0m", "x" * 5000])
                elif kind == 6:
                    compression = zipfile.ZIP_DEFLATED
                else:
                    held, _ = change_bytes(held, rng)
            new.writestr(name, held, compression)
    return out.getvalue(), f"records:{kind}"


def forged(layout, state, rng):
    if layout in OPTIONS:
        changed, told = change_tensors(state, rng) if rng.random() < 0.5 else (state, "")
        options = dict(OPTIONS[layout])
        if options and rng.random() < 0.5:
            options[rng.choice(list(options))] = rng.choice([*VALUES, *ODD])
        content = pickled(changed, options)
        return change_bytes(content, rng) if changed is state and options == OPTIONS[layout] else (content, told)
    if (kind := rng.randrange(10)) < 4:
        changed, told = change_tensors(state, rng)
        return saved(rng.choice([changed, {"g_ema": changed}])), told
    if kind < 6:
        return change_bytes(saved(state), rng)
    if kind < 8:
        return change_records(saved(state), rng)
    content, told = change_bytes(saved(state, _use_new_zipfile_serialization=False), rng)
    return content, f"old format, {told}"


def walk(tutorial, tmp_path, count, seed):
    rng, attacks, names, valid, known = random.Random(seed), [], [], {}, states(tutorial)
    for layout, state in known.items():
        valid[layout] = tmp_path / f"{layout}.{'pkl' if layout in OPTIONS else 'pt'}"
        valid[layout].write_bytes(pickled(state, OPTIONS[layout]) if layout in OPTIONS else saved(state))
    for number in range(count):
        layout = rng.choice(list(valid))
        content, told = forged(layout, known[layout], rng)
        path = tmp_path / f"{number}{valid[layout].suffix}"
        path.write_bytes(content)
        attacks.append(("checkpoint", path))
        names.append(f"{number} {layout} {told}")
    came = check([("checkpoint", path) for path in valid.values()] + attacks, [*valid, *names])
    drew, came = dict(zip(valid, came, strict=False)), came[len(valid) :]
    assert all(what.startswith("drew") for what in drew.values()), drew
    # The records of a zip file have checksums: bytes that were changed in one are seen.
    silent = [
        f"{name}: {what}"
        for name, what in zip(names, came, strict=True)
        if (layout := name.split()[1]) not in OPTIONS and " bytes:" in name and "old format" not in name
        if what not in ("refused", drew[layout])
    ]
    assert not silent, silent
    assert sum(what == "refused" for what in came) > count / 2


@pytest.mark.parametrize(("count", "seed"), OFTEN)
def test_forged_checkpoints_are_refused_or_sound(tutorial, tmp_path, count, seed):
    walk(tutorial, tmp_path, count, seed)


def test_files_that_expand_are_refused_before_they_do(tutorial, tmp_path):
    state = states(tutorial)["rosinality"]
    shared = torch.randn(1024, 1024)
    attacks = {
        "one storage under 3,000 names": saved(state | {f"style.{k}.weight": shared for k in range(1, 3001)}),
        "zeros that are not stored": saved(state | {"style.1.weight": torch.zeros(1).expand(10**5, 10**5)}),
    }
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(state))) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for record in old.infolist():
            held = old.read(record)
            new.writestr(record.filename, held if "data/0" not in record.filename else bytes(2**27))
    attacks["a record that expands a thousandfold"] = out.getvalue()
    assert len(zlib.compress(bytes(2**20))) < 2000
    paths = []
    for name, content in attacks.items():
        paths.append(tmp_path / name.replace(" ", "-").replace(",", ""))
        paths[-1].write_bytes(content)
    assert check([("checkpoint", path) for path in paths], list(attacks)) == ["refused"] * len(attacks)
