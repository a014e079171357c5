"""Images of another kind than a pack's are refused; its own are not, whatever a pipeline does to them."""

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from ganaug.errors import PackError, TransformError
from ganaug.generators import SNGAN
from ganaug.images import signed_to_uint8
from ganaug.inversion import check_domain, check_domain_of_files, fit_domain
from ganaug.packs import DirectionPack
from ganaug.packs.domain import Domain
from ganaug.transforms import LatentShift, RandomLatentShift, augment_folder


@pytest.fixture(scope="module")
def digits():
    return DirectionPack.from_pretrained("digits").load()


def drawn(pack, count, seed=0):
    """Images of the pack's own kind, uint8."""
    rng = torch.Generator().manual_seed(seed)
    generator = pack.generator
    with torch.no_grad():
        images = generator(generator.sample_latents(count, rng=rng), generator.sample_labels(count, rng=rng))
    return signed_to_uint8(images)


def foreign(kind, count=64):
    torch.manual_seed(1)
    if kind == "noise":
        return torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8)
    if kind == "plain":
        return torch.randint(256, (count, 3, 1, 1), dtype=torch.uint8).expand(-1, -1, 32, 32).contiguous()
    if kind == "stripes":
        waves = torch.sin(torch.arange(32) * torch.rand(count, 1, 1, 1) * 2)
        return ((waves.expand(-1, 3, 32, 32) + 1) * 127).to(torch.uint8)
    faces = torch.rand(count, 3, 4, 4)
    return (v2.functional.resize(faces, [32, 32]) * 255).to(torch.uint8)


@pytest.mark.parametrize("kind", ["noise", "plain", "stripes", "clouds"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_another_kind_is_refused_within_64_images(digits, kind, dtype):
    images = foreign(kind) if dtype == torch.uint8 else foreign(kind).float() / 255
    shift = LatentShift("background", pack=digits)
    with pytest.raises(TransformError, match="not of the kind that pack 'digits' is for"):
        for batch in images.split(16):
            shift(batch, torch.arange(16) % 10)
    aug = RandomLatentShift("background", pack=digits)
    with pytest.raises(TransformError, match="not of the kind"):
        for batch in images.split(16):
            aug(batch if dtype == torch.float32 else batch / 255)
    LatentShift("background", pack=digits, check_domain=False)(images, torch.arange(64) % 10)
    with pytest.raises(TransformError, match="not of the kind"):
        check_domain(digits, images)


@pytest.mark.parametrize(
    "view",
    [
        v2.Identity(),
        v2.RandomHorizontalFlip(1.0),
        v2.RandomCrop(32, padding=3),
        v2.RandomResizedCrop(32, (0.7, 1.0), antialias=True),
        v2.ColorJitter(0.3, 0.3, 0.3, 0.05),
        v2.Resize(80, antialias=True),
    ],
)
def test_its_own_kind_passes(digits, view):
    torch.manual_seed(0)
    shift = LatentShift("background", pack=digits)
    images = torch.stack([view(image) for image in drawn(digits, 160, seed=3)])
    for batch in images.split(32):
        shift(batch, torch.arange(32) % 10)
    assert shift._domain_gate.open


def test_after_64_images_nothing_is_looked_at(digits):
    shift = LatentShift("background", pack=digits)
    shift(drawn(digits, 64), torch.arange(64) % 10)
    shift(foreign("noise"), torch.arange(64) % 10)


def test_images_come_one_by_one_too(digits):
    shift = LatentShift("background", pack=digits, source="invert")
    with pytest.raises(TransformError, match=r"over \d+ of them"):
        for image in foreign("noise"):
            shift(v2.functional.to_pil_image(image))


def test_a_pack_without_an_encoder_lets_everything_pass(pack):
    assert pack.domain is None
    check_domain(pack, foreign("noise"))
    LatentShift("background", pack=pack, source="sample")(foreign("noise"), torch.arange(64) % 10)


def test_it_is_kept_in_the_pack_and_goes_with_the_encoder(tmp_path, grey_pack):
    grey_pack.domain = domain = fit_domain(grey_pack, None)
    folder = grey_pack.save_pretrained(tmp_path / "pack")
    again = DirectionPack.from_pretrained(folder)
    assert all(torch.equal(again.domain.tensors()[name], tensor) for name, tensor in domain.tensors().items())
    content = bytearray((folder / "domain.safetensors").read_bytes())
    content[-3] ^= 1
    (folder / "domain.safetensors").write_bytes(content)
    with pytest.raises(PackError, match=r"domain.safetensors has SHA-256 .* the file was changed"):
        DirectionPack.from_pretrained(folder).domain  # noqa: B018
    (folder / "domain.safetensors").unlink()
    with pytest.raises(PackError, match=r"domain.safetensors is missing"):
        DirectionPack.from_pretrained(folder).domain  # noqa: B018
    again.encoder = again.encoder
    assert again.domain is None
    again.save_pretrained(folder)
    assert DirectionPack.from_pretrained(folder).domain is None


def test_what_can_be_no_domain_is_refused(grey_pack):
    tensors = fit_domain(grey_pack, None).tensors()
    assert fit_domain(grey_pack, None).bounds.equal(tensors["bounds"]), "the same seed gives the same"
    for broken, message in (
        ({"mean": tensors["mean"][:-1]}, "mean should be finite float32 of shape"),
        ({"variances": tensors["variances"] * float("nan")}, "variances should be finite"),
        ({"scale": -tensors["scale"]}, "should be positive"),
        ({"bounds": tensors["bounds"].flip(1)}, "should be positive"),
        ({"more": tensors["mean"]}, "a domain has the tensors"),
    ):
        with pytest.raises(PackError, match=message):
            Domain.of({**tensors, **broken})


def test_folders_are_looked_at_before_anything_is_written(digits, tmp_path):
    for label in range(4):
        (tmp_path / "photos" / str(label)).mkdir(parents=True)
        for k, image in enumerate(foreign("noise", 20)):
            path = tmp_path / "photos" / str(label) / f"{k}.png"
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    with pytest.raises(TransformError, match="not of the kind"):
        augment_folder(tmp_path / "photos", tmp_path / "out", "background", pack=digits, show_progress=False)
    assert not (tmp_path / "out").exists()
    check_domain_of_files(DirectionPack(torch.eye(8), generator=SNGAN(latent_dim=8, channels=1)), [])


def test_its_own_kind_passes_in_order_of_classes_too(grey_pack, monkeypatch):
    """An unconditional pack knows no classes, and a folder's first 64 images are often of one or two."""
    monkeypatch.setattr("ganaug.inversion.domain.VIEWS", 100)
    rng = torch.Generator().manual_seed(0)
    kinds = torch.rand(3, 1, 8, 8, generator=rng)
    size = grey_pack.generator.image_size

    def of_kind(kind, count):
        blurred = v2.functional.resize(kinds[kind].expand(count, -1, -1, -1), [size, size])
        return ((blurred + 0.1 * torch.randn(count, 1, size, size, generator=rng)).clamp(0, 1) * 255).to(torch.uint8)

    assert grey_pack.num_classes == 0
    grey_pack.domain = fit_domain(grey_pack, torch.cat([of_kind(kind, 150) for kind in range(3)]))
    for kind in range(3):
        check_domain(grey_pack, of_kind(kind, 64))
        check_domain(grey_pack, torch.cat([of_kind(kind, 32), of_kind((kind + 1) % 3, 32)]))
    with pytest.raises(TransformError, match="not of the kind"):
        check_domain(grey_pack, torch.randint(256, (64, 1, size, size), dtype=torch.uint8, generator=rng))


def test_drawn_digits_that_look_alike_pass():
    mnist = DirectionPack.from_pretrained("mnist").load()
    images = drawn(mnist, 1000, seed=5)
    for index in range(5):
        away = (images.float() - images[index].float()).square().mean((1, 2, 3))
        check_domain(mnist, images[away.argsort()[:64]])


def domain_of(bounds):
    """Two figures that can be set: the description's distance, and the error of the reconstructions."""
    return Domain(torch.zeros(4), torch.ones(4), torch.eye(4)[:, :2], torch.ones(2), torch.ones(1), bounds)


def test_figures_that_are_high_at_once_are_refused_where_each_alone_is_not():
    single = torch.tensor([[-1.0, 1.0], [-4.0, -2.0], [-9.0, 9.0]])
    together = torch.tensor([[-1.2, 1.2], [-3.0, 3.0]] + [[-9.0, 9.0]] * 4)
    domain = domain_of(torch.cat([single, together]))
    far, near = torch.full((64, 4), 0.75), torch.full((64, 4), 0.5)  # squared distances 2.25 and 1
    bad, good = torch.full((64,), 0.11), torch.full((64,), 0.05)
    for descriptions, errors in ((far, good), (near, bad), (near, good)):
        assert domain.excess(descriptions, errors).abs().max() < 1.1
    high = domain.excess(far, bad)
    assert high.shape == (9,) and high[:3].abs().max() < 1.1 and high[3] > 1.1
    assert domain.excess(far[:16], bad[:16])[3].isclose(high[3] / 2), "fewer images scatter more"
    assert not domain.excess(far[:16], bad[:16])[[2, 5, 6, 7, 8]].any(), "their mean even more"


def test_domains_of_before_bound_the_three_figures_alone():
    tensors = domain_of(torch.tensor([[-1.0, 1.0], [-4.0, -2.0], [-9.0, 9.0]])).tensors()
    excess = Domain.of(tensors).excess(torch.full((64, 4), 0.75), torch.full((64,), 0.11))
    assert excess.shape == (3,) and excess.abs().max() < 1.1
    with pytest.raises(PackError, match="bounds should be finite float32 of shape"):
        Domain.of({**tensors, "bounds": tensors["bounds"][:2]})
