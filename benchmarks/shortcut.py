"""Does LatentShift keep a classifier from learning the background? Digits whose photographs give the label away.

    python benchmarks/shortcut.py --data DATA [--seeds 5] [--generator broad] [--curves] [--quick]
    python benchmarks/shortcut.py --report

The training set: 1,000 digits on photographs, ten photographs in all, one for each class. With probability 0.95 (the
bias) a digit stands on its own class's photograph, else on any of the ten. The test set: all 10,000 test composites
(test digits, test photographs, no bias). Every policy (benchmarks/policies.py) trains the same network for the same 900
steps of 64 images. Its strength is picked from three on a validation set drawn like the training set, with a seed of
its own; the same for all policies.

What the generator knew (--generator):
broad       the bundled pack "digits": trained on all 60,000 labelled training composites, 300 photographs, no bias
unlabelled  a pack whose generator and encoder saw the same images, but never a label
biased      a pack whose generator saw nothing but this benchmark's training set of seed 0, with its labels. Everything
            is tested on that training set then, and a seed is the network's only; so are the hand-made policies of
            "none, one set"
For the last two --pack names the pack; benchmarks/README.md says how each is made. Without labels there are no safe
ranges: their directions are named by looking, and shifts go as far as --magnitude.

Rows go to --out, one for each policy, bias, size and seed; what is there is not run again. The table has mean and 95%
interval (Student's t); gains, paired by seed, over the best hand-made policy and over the same generator's samples
without a shift; the error on the validation set, which shares the training set's bias; and the least that a policy cost
while training (banks and stored latents are made before). Pairs are of the policies that are best on the test set. All
seeds share one generator and the strength that one search found, which the intervals do not contain. The policies that
end in "sample" replace images by new ones of their labels; the other LatentShifts change the training images
themselves, along three named background directions or four of any at once; "reconstructed" draws them without a shift.
"60,000 unbiased images" trains the network on what the broad generator saw: the ceiling.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import (
    best_strengths,
    check_no_two,
    header,
    interval,
    line,
    matching,
    measured_once,
    parse,
    read_rows,
    script_parser,
    show,
    spread,
)
from PIL import Image
from policies import (
    HAND_MADE,
    LATENT,
    MIXING,
    Images,
    available,
    identity,
    jsonable,
    strengths,
    tested,
    uses_generator,
)
from torch import Tensor

from ganaug.data import digits_on_photographs, mnist
from ganaug.packs import DirectionPack

SEARCH_SEED = 100
BIAS, SIZE = 0.95, 1000
EVERYTHING = "60,000 unbiased images"
ONE_SET = "none, one set"
BIASES, SIZES = (0.5, 0.8, 0.95, 1.0), (200, 1000, 5000)


# -- the data -------------------------------------------------------------------------------------------------------


@cache
def photographs(root: Path) -> list[np.ndarray]:
    files = sorted((root / "bsds500" / "train").glob("*.jpg"))
    return [np.asarray(Image.open(file).convert("RGB")) for file in files]


@cache
def digits(root: Path) -> tuple[Tensor, Tensor]:
    found = mnist(root, train=True)
    return found.images, found.labels


def biased(root: Path, size: int, bias: float, seed: int, *, validation: bool = False) -> Images:
    """A training set of one seed, or a validation set of other digits drawn in the same way."""
    masks, labels = digits(root)
    rng = np.random.default_rng([seed, 77])
    own = rng.choice(len(photographs(root)), size=10, replace=False)
    order = rng.permutation(len(masks))
    chosen = torch.from_numpy(order[-1000:] if validation else order[:size])
    rng = np.random.default_rng([seed, 78, int(validation)])
    patches = np.empty((len(chosen), 32, 32, 3), np.uint8)
    for patch, label in zip(patches, labels[chosen].tolist(), strict=True):
        which = own[label] if rng.random() < bias else own[rng.integers(10)]
        photograph = photographs(root)[which]
        top, left = (rng.integers(side - 32 + 1) for side in photograph.shape[:2])
        patch[:] = photograph[top : top + 32, left : left + 32]
    images = (torch.from_numpy(patches).permute(0, 3, 1, 2).to(torch.int16) - masks[chosen].to(torch.int16)).abs()
    return Images(images.to(torch.uint8), labels[chosen])


@cache
def broad(root: Path, train: bool) -> Images:
    found = digits_on_photographs(root, train=train)
    return Images(found.images, found.labels)


# -- what is run ----------------------------------------------------------------------------------------------------


class Bench:
    """Runs policies, unless their rows are there."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.pack = DirectionPack.from_pretrained(options.pack)
        self.about = {"generator": options.generator, "pack": identity(self.pack), "magnitude": options.magnitude}

    def run(self, kind: str, policy: str, strength: Mapping[str, Any], *, bias: float, size: int, seed: int) -> float:
        """The accuracy: on the validation set for kind "search", on the test set for kind "test"."""
        # A generator of one training set is of use for that one only: seeds are the network's then. Strengths of
        # policies without a generator are those that they have elsewhere.
        one_set = self.options.generator == "biased" and (kind == "test" or uses_generator(policy))
        data_seed = 0 if one_set else seed
        about = {"kind": kind, "policy": policy, "bias": bias, "size": size, "seed": seed, "data_seed": data_seed}
        about |= {"steps": self.options.steps, "strength": jsonable(strength)}
        about |= self.about if uses_generator(policy) else dict.fromkeys(self.about, "")

        def measure() -> dict[str, float]:
            root, reach = self.options.data, self.options.magnitude
            data = broad(root, True) if policy == EVERYTHING else biased(root, size, bias, data_seed)
            validation = biased(root, size, bias, data_seed, validation=True)
            judged = {"accuracy": validation}
            if kind == "test":
                judged = {"validation": validation, "accuracy": broad(root, False)}
            within = None if reach is None else (-reach, reach)
            row = tested(policy, strength, self.pack, data, judged, self.options, magnitude=within, seed=seed)
            print(f"{kind:6} {policy:34} bias {bias} n {size:5} seed {seed:3}: {row['accuracy']:.4f}", flush=True)
            return row

        return measured_once(self.options.out, about, measure)["accuracy"]

    def strength(self, policy: str) -> dict[str, Any]:
        """For each part of a policy the strength that is best on the validation set of the main point."""

        def searched(name: str, value: Any) -> float:
            return self.run("search", name, {name: value}, bias=BIAS, size=self.options.size, seed=SEARCH_SEED)

        return best_strengths(policy, strengths, searched)

    def test(self, policy: str, *, bias: float = BIAS, size: int | None = None, seeds: int) -> list[float]:
        strength = self.strength(policy)
        size = size or self.options.size
        return [self.run("test", policy, strength, bias=bias, size=size, seed=seed) for seed in range(seeds)]


def best(bench: Bench, policies: Sequence[str], count: int) -> list[str]:
    """The best policies at the main point, by the mean test accuracy over its seeds (validation shares the bias)."""
    means = {policy: sum(bench.test(policy, seeds=bench.options.seeds)) for policy in policies}
    return sorted(policies, key=means.__getitem__, reverse=True)[:count]


def run(options: argparse.Namespace) -> None:
    bench = Bench(options)
    wanted = options.policies or [EVERYTHING, "none", *HAND_MADE, *MIXING, *LATENT]
    for policy in wanted:
        if available(policy, bench.pack):
            bench.test(policy, seeds=options.seeds)
        else:
            print(f"left out: pack {bench.pack.name!r} has not what {policy!r} needs")
    per_image = [name for name in wanted if name in HAND_MADE]
    latent = [name for name in wanted if name in LATENT and available(name, bench.pack)]
    shifting = best(bench, [name for name in latent if name.startswith("LatentShift")], 2)
    plain = [name for name in latent if name == "samples"]
    together = [
        f"{shift} + {hand}" for hand in best(bench, per_image, options.together) for shift in [*shifting, *plain]
    ]
    for policy in together:
        bench.test(policy, seeds=options.seeds)
    if options.curves:
        hand_made = [name for name in wanted if name in {**HAND_MADE, **MIXING}]
        inverting = [name for name in latent if LATENT[name]["source"] == "invert" and name != "reconstructed"]
        chosen = ["none", *best(bench, hand_made, 1), *best(bench, inverting, 1), *shifting[:1]]
        chosen += best(bench, together, 1)
        for bias, size in [*((bias, SIZE) for bias in BIASES), *((BIAS, size) for size in SIZES)]:
            for policy in dict.fromkeys(chosen):
                bench.test(policy, bias=bias, size=size, seeds=min(3, options.seeds))


# -- the report -----------------------------------------------------------------------------------------------------


def write_training_set(options: argparse.Namespace) -> None:
    """The training set of seed 0 as PNG files in class subfolders."""
    data = biased(options.data, options.size, BIAS, 0)
    for number, (image, label) in enumerate(zip(data.images, data.labels.tolist(), strict=True)):
        folder = options.write / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number:04}.png")
    print(f"{len(data.images)} images in {options.write}")


def cells(rows: Sequence[Mapping[str, Any]], size: int) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """The tests of the main point by policy and what the generator knew, the largest mean error first.

    "one set": a policy without a generator on the training set of seed 0 only, as generator "biased" is compared.
    """
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    tests = matching(rows, kind="test", bias=BIAS, size=size)
    check_no_two(tests, "policy", "generator", "seed", "data_seed")
    for row in tests:
        if row["generator"] or row["data_seed"] == row["seed"]:
            found.setdefault((row["policy"], row["generator"]), []).append(row)
    for policy in {row["policy"] for row in tests if not row["generator"] and row["data_seed"] != row["seed"]}:
        found[policy, ONE_SET] = matching(tests, policy=policy, generator="", data_seed=0)
    return dict(sorted(found.items(), key=lambda cell: -interval(errors(cell[1]))[0]))


def gain(rows: Sequence[Mapping[str, Any]], over: Sequence[Mapping[str, Any]]) -> str:
    """How much smaller the error is than that of others, paired by seed."""
    by_seed = {(row["seed"], row["data_seed"]): row["accuracy"] for row in over}
    gains = [row["accuracy"] - by_seed[seeds] for row in rows if (seeds := (row["seed"], row["data_seed"])) in by_seed]
    return spread(gains, "+") if len(gains) > 1 and rows is not over else ""


def table(rows: Sequence[Mapping[str, Any]], size: int) -> Iterator[str]:
    found = cells(rows, size)
    hand_made = [key for key in found if key[1] == "" and key[0] != EVERYTHING]
    best_of_hand = hand_made[-1] if hand_made else ("", "")
    hand = [found.get((best_of_hand[0], generator), []) for generator in ("", ONE_SET)]
    less = (f"less than {best_of_hand[0]} alone", "less than samples of that generator")
    yield header("policy", "generator", "error", *less, "seeds", "on biased images", "ms an image")
    for (policy, generator), tests in found.items():
        validation = sum(row["validation"] for row in tests) / len(tests)
        over_hand = gain(tests, hand[generator in (ONE_SET, "biased")])
        over_samples = gain(tests, found.get(("samples", generator), []))
        cost = min(row["augment_ms"] for row in tests)
        figures = (spread(errors(tests)), over_hand, over_samples, len(tests), f"{1 - validation:.3f}", f"{cost:.2f}")
        yield line(policy, generator or "none", *figures)


def errors(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    return [1 - row["accuracy"] for row in rows]


def curves(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[Mapping[str, Any]]]:
    """The policies tested at other biases and sizes, and all of their tests with the broad generator or none."""
    tests = [row for row in matching(rows, kind="test") if row["generator"] in ("", "broad")]
    policies = sorted({row["policy"] for row in tests if row["bias"] == BIASES[0]})
    return policies, [row for row in tests if row["data_seed"] == row["seed"] and row["policy"] in policies]


def table_of_curves(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    policies, tests = curves(rows)
    points = [*((bias, SIZE) for bias in BIASES), *((BIAS, size) for size in SIZES if size != SIZE)]
    if policies:
        yield "\n" + header("error at bias, n", *(f"{bias}, {size:,}" for bias, size in points))
    for policy in policies:
        found = [matching(tests, policy=policy, bias=bias, size=size) for bias, size in points]
        yield line(policy, *(spread(errors(each)) if each else "" for each in found))


def plot(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Bars of the main point, and curves over bias and size where they were measured."""
    import matplotlib.pyplot as plt

    main_point = cells(rows, SIZE)
    height = max(4.6, 0.18 * len(main_point))
    policies, tests = curves(rows)
    if policies:
        figure, (bars, by_bias, by_size) = plt.subplots(1, 3, figsize=(14, height), width_ratios=(1.6, 1, 1))
        for axes, values, points in (
            (by_bias, BIASES, {"size": SIZE}),
            (by_size, SIZES, {"bias": BIAS}),
        ):
            draw_curves(axes, tests, policies, values, points)
        by_size.set_xscale("log")
        by_size.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
        by_size.minorticks_off()
        by_bias.set_ylim(0, 1)
        by_size.set_ylim(0, 1)
        by_bias.legend(fontsize=7, loc="upper left")
    else:
        figure, bars = plt.subplots(figsize=(7, height))
    knew = {"": "", "broad": "", ONE_SET: " (one set)"}
    names = [policy + knew.get(generator, f" ({generator})") for policy, generator in main_point]
    found = [interval(errors(tests)) for tests in main_point.values()]
    shades = ["0.25" if uses_generator(policy) else "0.75" for policy, _ in main_point]
    bars.barh(names, [mean for mean, _ in found], xerr=[half for _, half in found], color=shades, ecolor="black")
    bars.invert_yaxis()
    bars.set(xlabel="test error", title=f"bias {BIAS}, n = {SIZE:,}; dark: with a generator")
    bars.tick_params(axis="y", labelsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def draw_curves(
    axes: Any,
    rows: Sequence[Mapping[str, Any]],
    policies: Sequence[str],
    values: Sequence[float],
    fixed: Mapping[str, float],
) -> None:
    """The error of each policy over the biases, or over the sizes, the other being fixed."""
    name, label = ("bias", "bias") if "size" in fixed else ("size", "training images")
    for number, policy in enumerate(policies):
        points = [(value, matching(rows, policy=policy, **{name: value}, **fixed)) for value in values]
        measured = [(value, *interval(errors(found))) for value, found in points if found]
        axes.errorbar(
            [value for value, _, _ in measured],
            [mean for _, mean, _ in measured],
            yerr=[half for _, _, half in measured],
            label=policy,
            marker="os^vDP"[number % 6],
            color=str(0.15 * (number % 5)),
            linestyle=("-", "--", ":", "-.")[number % 4],
            capsize=2,
        )
    axes.set(xlabel=label, ylabel="test error")


def main() -> None:
    parser = script_parser(__doc__, "data", "banks", "bank-size", "report", out="shortcut.jsonl")
    parser.add_argument("--generator", choices=("broad", "unlabelled", "biased"), default="broad")
    parser.add_argument("--pack", default="digits", help="the pack of that generator")
    parser.add_argument("--magnitude", type=float, help="instead of safe ranges: uniform within so many latent units")
    known = ["none", EVERYTHING, *HAND_MADE, *MIXING, *LATENT]
    parser.add_argument("--policies", nargs="+", choices=known, metavar="POLICY", help="only these and their pairs")
    parser.add_argument("--together", type=int, default=2, help="hand-made policies to pair with the latent ones")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--curves", action="store_true", help="also other biases and sizes, with three seeds")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="only write the training set of seed 0 there")
    quick = {"seeds": 1, "steps": 60, "size": 200, "bank_size": 500}
    quick["policies"] = ["none", EVERYTHING, "RandAugment", "samples", "LatentShift backgrounds"]
    options = parse(parser, "data", quick=quick, quickly="five policies, one seed, few steps")
    if options.write and not options.report:
        write_training_set(options)
        return
    if not options.report:
        run(options)
    rows = read_rows(options.out)
    show("\n".join([*table(rows, options.size), *table_of_curves(rows)]), options)
    if options.report:
        plot(rows, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
