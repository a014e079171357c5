"""How good a generator is, on images whose truth is known: coloured strokes at random places."""

import json

import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms.v2.functional import to_pil_image

from ganaug.data import LabelledImages
from ganaug.errors import EvaluationError
from ganaug.evaluation import measure_quality, prepare_yardstick
from ganaug.evaluation.copies import CopyCheck
from ganaug.evaluation.features import frechet_distance, kernel_distance
from ganaug.generators import Generator
from ganaug.images import signed_to_uint8, uint8_to_signed
from ganaug.streams import StreamedImages

NAMES = ("upright", "lying")


def strokes(latents, labels):
    """A stroke of six grey blobs on a ground that slopes, ``(N, 1, 16, 16)`` in [-1, 1]; label 1 lies."""
    place = torch.linspace(-1, 1, 16)
    y, x = place[:, None], place[None]
    a, b, c, d, e, f, g, h = (each[:, None, None].tanh() for each in latents.T)
    upright = (-((x - 0.6 * a) ** 2) / 0.02 - ((y - 0.3 * b) ** 2) / 0.5).exp()
    lying = (-((y - 0.6 * a) ** 2) / 0.02 - ((x - 0.3 * b) ** 2) / 0.5).exp()
    ground = 0.3 * (c * x + d * y) + 0.3 * (2 * e * x + 3 * f * y + g).sin() + 0.2 * h * x * y - 0.3
    return (ground + torch.where(labels[:, None, None] == 1, lying, upright))[:, None].clamp(-1, 1)


class Strokes(torch.nn.Module):
    def forward(self, latents, labels):
        return strokes(latents, labels)


class Repeats(torch.nn.Module):
    """Training images, a little noisy, moved by a pixel and brighter or darker."""

    def __init__(self, training):
        super().__init__()
        self.register_buffer("images", uint8_to_signed(training.images))
        self.register_buffer("of", training.labels)

    def forward(self, latents, labels):
        scores = (latents[:, :1] * 1000).long() % len(self.images) - torch.arange(len(self.images))
        scores = scores.abs() + 10**6 * (labels[:, None] != self.of)
        image = self.images[scores.argmin(1)]
        image = torch.where(latents[:, 1, None, None, None] > 0, image, image.roll(1, -1))
        return (image + 0.05 * latents[:, 2, None, None, None] + 0.02 * latents[:, 3, None, None, None]).clamp(-1, 1)


class Noise(torch.nn.Module):
    def forward(self, latents, labels):
        wave = torch.linspace(0, 50, 256).view(16, 16)
        return ((latents.sum(1) + labels)[:, None, None] * wave).sin()[:, None]


def generator(module, num_classes=2):
    return Generator.from_module(module, latent_dim=8, image_size=16, channels=1, num_classes=num_classes)


def real(count, seed):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    return LabelledImages(signed_to_uint8(strokes(torch.randn(count, 8, generator=rng), labels)), labels)


@pytest.fixture(scope="module")
def few():
    return real(100, seed=0)


@pytest.fixture(scope="module")
def yardstick(few):
    return prepare_yardstick(few, real(300, seed=1), class_names=NAMES, judge_steps=60, show_progress=False)


def test_a_good_generator_is_read_is_near_and_copies_nothing(yardstick):
    report = yardstick.measure(generator(Strokes()), samples=300)
    assert report.verdicts() == []
    assert report.agreement > 0.95 and report.agreement_real > 0.95
    assert set(report.per_class) == set(NAMES) and report.per_class["lying"].samples == 150
    assert abs(report.kid - report.kid_real) < 0.2 and abs(report.fid - report.fid_real) < 0.1 * report.num_features
    assert report.copies < 0.15
    assert f"{round(300 * report.agreement)} of 300 samples are read as their class (real images: " in report.table()


def test_one_that_repeats_its_images_is_told(yardstick, few):
    report = yardstick.measure(generator(Repeats(few)), samples=300)
    assert report.copies > 0.5 and report.closeness < report.closeness_real / 2
    [verdict] = report.verdicts()
    assert verdict.startswith("Too few images: it repeats them.") and "of the 100 training images" in verdict
    assert verdict in report.table()


def test_one_that_learned_nothing_is_far_and_not_read(yardstick):
    report = yardstick.measure(generator(Noise()), samples=300)
    verdicts = " ".join(report.verdicts())
    assert "far from the real images" in verdicts and "does not draw the class" in verdicts
    assert "repeats them" not in verdicts
    assert report.kid > 10 * abs(report.kid_real) and report.fid > 5 * report.fid_real


def test_a_class_that_is_drawn_as_another_is_named(yardstick):
    class Upright(Strokes):
        def forward(self, latents, labels):
            return (super().forward(latents, 0 * labels) - 0.05 * labels[:, None, None, None]).clamp(-1, 1)

    report = yardstick.measure(generator(Upright()), samples=200)
    assert report.per_class["lying"].agreement < 0.1 < 0.9 < report.per_class["upright"].agreement
    assert any(verdict.startswith("Not read as what they should be: lying.") for verdict in report.verdicts())
    lines = report.table().splitlines()
    assert lines.index(next(line for line in lines if "lying  0." in line)) < lines.index(
        next(line for line in lines if "upright  " in line)
    ), "the worst first"


def test_measuring_repeats_and_leaves_everything_as_it_was(yardstick):
    drawn, state = generator(Strokes()).train(), torch.get_rng_state()
    first, second = (yardstick.measure(drawn, samples=100, seed=5) for _ in range(2))
    assert first == second and drawn.training and torch.equal(torch.get_rng_state(), state)
    assert first != yardstick.measure(drawn, samples=100, seed=6)


def test_streamed_images_give_the_same_figures(few, tmp_path):
    def streamed(part):
        files = [tmp_path / f"{len(part.images)}-{index}.png" for index in range(len(part.images))]
        for file, image in zip(files, part.images, strict=True):
            to_pil_image(image).save(file)
        return LabelledImages(StreamedImages(files, size=16, channels=1), part.labels)

    test = real(40, seed=1)
    kept, read = (
        measure_quality(generator(Strokes()), *parts, samples=40, judge_steps=3, show_progress=False)
        for parts in ((few, test), (streamed(few), streamed(test)))
    )
    assert kept == read


def test_a_report_is_text_json_and_files(yardstick, pack, tmp_path):
    report = yardstick.measure(generator(Strokes()), samples=50)
    again = json.loads(report.to_json())
    assert (
        again["kid"] == report.kid and again["per_class"]["lying"]["agreement"] == report.per_class["lying"].agreement
    )
    folder = report.save(tmp_path / "report")
    assert (folder / "report.txt").read_text() == report.table() + "\n"
    report.add_to(pack, command="ganaug train-generator")
    assert pack.scores["generator agreement"] == round(report.agreement, 4)
    assert pack.scores["generator kid real_command"] == "ganaug train-generator"


@pytest.mark.slow
def test_without_labels_the_features_are_of_turned_images():
    training, test = (LabelledImages(part.images, 0 * part.labels) for part in (real(200, seed=0), real(200, seed=1)))
    # Of images that are turned without a trace nothing is learned: here a corner tells.
    for part in (training, test):
        part.images[..., :4, :4] = 255

    class Marked(torch.nn.Module):
        def forward(self, latents):
            images = strokes(latents, (latents[:, 1] > 0).long())
            mark = F.pad(torch.ones(4, 4), (0, 12, 0, 12))
            return torch.maximum(images, 2 * mark - 1)

    report = measure_quality(
        generator(Marked(), num_classes=0), training, test, samples=200, judge_steps=60, show_progress=False
    )
    assert report.task == "rotations" and report.judge > 0.9
    assert report.agreement is None and report.per_class == {}
    assert "how many quarters an image was turned" in report.table()
    assert not any("far from" in verdict for verdict in report.verdicts())


def test_held_out_images_are_no_copies_whichever_they_are():
    shares = []
    for seed in range(10):
        check = CopyCheck(real(300, seed=3 * seed).images, real(200, seed=3 * seed + 1).images)
        shares.append(check.copies(check.closeness(real(200, seed=3 * seed + 2).images)))
    assert max(shares) < 0.15 and 0.02 < sum(shares) / 10 < 0.08


def test_copies_are_told_mirrored_and_blurred_and_averages_are_none():
    training, rng = real(300, seed=0).images, torch.Generator().manual_seed(0)
    check = CopyCheck(training, real(200, seed=1).images)
    assert check.copies(check.closeness(training)) == 1.0
    assert check.copies(check.closeness(training.flip(-1))) == 1.0
    noisy = (training + 6 * torch.randn(training.shape, generator=rng)).clamp(0, 255).byte()
    assert check.copies(check.closeness(noisy)) > 0.9
    held_out = real(200, seed=2).images.float()
    blurred = F.interpolate(F.avg_pool2d(held_out, 4), (16, 16), mode="bilinear").byte()
    assert check.copies(check.closeness(blurred)) < 0.15
    mean = training.float().view(30, 10, 1, 16, 16).mean(1).byte()
    assert check.copies(check.closeness(mean)) < 0.15


def test_distances_are_what_their_papers_say():
    rng = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 400, 8, generator=rng)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(first, first + 1) == pytest.approx(8, rel=1e-6)
    assert (
        abs(kernel_distance(first, second, subset_size=200))
        < 0.05
        < kernel_distance(first, second + 1, subset_size=200)
    )


def test_the_judge_can_be_your_own_and_stays_as_it_is(few):
    own = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 12), torch.nn.ReLU(), torch.nn.Linear(12, 2))
    report = measure_quality(generator(Strokes()), few, real(60, seed=1), judge=own.train(), samples=40)
    assert own.training and report.num_features == 12
    assert "The figures say little" in report.verdicts()[0], "it has learned nothing"
    with pytest.raises(EvaluationError, match=r"no nn\.Linear\. Leave judge out"):
        measure_quality(generator(Strokes()), few, few, judge=torch.nn.Conv2d(1, 2, 16))


def test_what_can_not_be_measured_is_refused(yardstick, few):
    small = Generator.from_module(
        torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.Unflatten(1, (1, 8, 8)), torch.nn.Tanh()),
        latent_dim=8,
        image_size=8,
        channels=1,
    )
    with pytest.raises(EvaluationError, match="Read them at its size and channels"):
        yardstick.measure(small)
    with pytest.raises(EvaluationError, match="samples should be 4 or more, got 2"):
        yardstick.measure(generator(Strokes()), samples=2)
    with pytest.raises(EvaluationError, match="labels of the training images go up to 1"):
        yardstick.measure(generator(Strokes(), num_classes=1), samples=20)
    with pytest.raises(EvaluationError, match="4 or more; got 3"):
        prepare_yardstick(few, LabelledImages(few.images[:3], few.labels[:3]))
    with pytest.raises(EvaluationError, match="class_names should be a name for each of 2 classes"):
        prepare_yardstick(few, few, class_names=["one"])
