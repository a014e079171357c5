"""config.json of generators and packs, changed in all the ways that a stranger may think of."""

import json
import random

import pytest

from ganaug.errors import GeneratorError
from ganaug.generators import Generator
from ganaug.packs.format import checksum
from tests.attacks.conftest import OFTEN, check

NUMBERS = [
    0, -1, 1, 2, 3, 7, 10**4, 10**7, 10**10, 2**31, 2**63, 2**80, 10**29, 10**400, 0.5, -0.0, 1e-60, 1e300, 1e308,
]  # fmt: skip
OTHERS = [
    None, True, False, "", "x", "z", "w", "relu", "\x1b[31mred\x07", "\u202egnp", "\ud800", "n" * 10**6, "NaN", [], {},
    [1], [[1, 2]] * 3, [0] * 1000, [4] * 10**5, {"a": 1}, {"k" * 10**5: []},
]  # fmt: skip
RAW = ["NaN", "-Infinity", "1e999", "9" * 5000, "[" * 3000 + "]" * 3000, '{"a":' * 500 + "1" + "}" * 500, "01", "tru"]


def places(config, way=()):
    """Every place in a JSON value."""
    yield way
    for key, value in (
        config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    ):
        yield from places(value, (*way, key))


def at(config, way):
    for key in way:
        config = config[key]
    return config


def mutated(text, rng):
    """The text of a config, changed in one to three places."""
    config = json.loads(text)
    told = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        *way, key = rng.choice([way for way in places(config) if way])
        holder, kind = at(config, way), rng.randrange(8)
        if kind < 3:
            holder[key] = rng.choice(NUMBERS)
        elif kind < 5:
            holder[key] = rng.choice(OTHERS)
        elif kind == 5:
            del holder[key]
        elif kind == 6 and isinstance(holder, dict):
            holder[rng.choice(["bottom_size", "width", "layers", "widths", "\x1b]0;x\x07", "sha256"])] = rng.choice(
                NUMBERS
            )
        else:
            old = holder[key]
            number = isinstance(old, (int, float)) and not isinstance(old, bool)
            holder[key] = old * rng.choice([2, 1024, -1]) if number or isinstance(old, list) else [old]
        told.append(
            ".".join(map(str, [*way, key])) + "=" + json.dumps(at(config, way).get(key, "gone"))[:40]
            if isinstance(holder, dict)
            else ".".join(map(str, [*way, key]))
        )
    changed = json.dumps(config)
    if rng.random() < 0.15:
        key = rng.choice(list(config) or ["a"])
        raw = rng.choice(RAW)
        changed = json.dumps({**config, key: "@@"}).replace('"@@"', raw)
        told.append(f"{key}={raw[:20]}")
    if rng.random() < 0.05:
        place = rng.randrange(len(changed))
        changed = changed[:place] + rng.choice('{}[]",:\x00\\') + changed[place + 1 :]
    return changed, ", ".join(told)


def resealed(text):
    """A pack's config with the checksum that fits it, as whoever changes a config on purpose would write it."""
    try:
        config = json.loads(text)
        return json.dumps({**config, "checksum": checksum(config)}) if isinstance(config, dict) else text
    except (ValueError, RecursionError):
        return text


def attack_configs(folders, count, tmp_path, *, seed):
    """Mutations of the config.json in folders, whose other files are linked."""
    rng, attacks, names = random.Random(seed), [], []
    for number in range(count):
        kind, folder = folders[number % len(folders)]
        text, name = mutated((folder / "config.json").read_text(), rng)
        target = tmp_path / f"{number}-{folder.name}"
        target.mkdir()
        for file in folder.iterdir():
            (target / file.name).symlink_to(file)
        (target / "config.json").unlink()
        (target / "config.json").write_text(resealed(text) if kind == "pack" and rng.random() < 0.8 else text)
        attacks.append((kind, target))
        names.append(f"{target.name} {name}")
    return attacks, names


def walk(generators, small_pack, tmp_path, count, seed):
    folders = []
    for name, generator in generators.items():
        generator.freeze().save_pretrained(tmp_path / "valid" / name)
        folders.append(("generator", tmp_path / "valid" / name))
    small_pack.save_pretrained(tmp_path / "valid" / "pack")
    folders += [("pack", tmp_path / "valid" / "pack")] * 2
    attacks, names = attack_configs(folders, count, tmp_path, seed=seed)
    told = check([*folders, *attacks], [*(str(folder) for _, folder in folders), *names])
    assert all(what.startswith("drew") for what in told[: len(folders)])
    assert sum(what == "refused" for what in told) > count / 2


@pytest.mark.parametrize(("count", "seed"), OFTEN)
def test_configs_are_refused_or_sound(generators, small_pack, tmp_path, count, seed):
    walk(generators, small_pack, tmp_path, count, seed)


COUNTS = {
    "mapping_layers": ("stylegan2", 10_000_000),
    "widths": ("sngan", [4] * 500_000),
    "hidden": ("mlp", [8] * 500_000),
    "num_layers": ("stylegan3", 10_000_000),
    "image_size": ("dcgan", 2**80),
    "latent_dim": ("dcgan", 10**15),
    "num_classes": ("sngan", 10**15),
    "filter_size": ("stylegan3", 10**12),
    "margin_size": ("stylegan3", 10**9),
    "w_dim": ("stylegan2", 10**9),
}


def test_what_counts_parts_is_bounded_by_the_weights_and_named(generators, tmp_path):
    for key, (name, value) in COUNTS.items():
        folder = tmp_path / name
        if not folder.exists():
            generators[name].freeze().save_pretrained(folder)
        config = (folder / "config.json").read_text()
        (folder / "config.json").write_text(json.dumps({**json.loads(config), key: value}))
        with pytest.raises(GeneratorError, match=rf"{name}[/\\](config\.json|generator\.safetensors).*{key}"):
            Generator.from_pretrained(folder)
        (folder / "config.json").write_text(config)
