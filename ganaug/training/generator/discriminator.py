"""SN-GAN's discriminator (Miyato et al., "Spectral Normalization for GANs", ICLR 2018, table 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

Normalise = Callable[[nn.Module], nn.Module]


class DownBlock(nn.Module):
    """Residual block; halves the resolution by average pooling if asked."""

    def __init__(self, in_width: int, out_width: int, normalise: Normalise, *, down: bool, first: bool = False) -> None:
        super().__init__()
        self.down, self.first = down, first
        self.conv1 = normalise(nn.Conv2d(in_width, out_width, 3, padding=1))
        self.conv2 = normalise(nn.Conv2d(out_width, out_width, 3, padding=1))
        needs_projection = down or in_width != out_width
        self.shortcut = normalise(nn.Conv2d(in_width, out_width, 1)) if needs_projection else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if self.down:
            # Average pooling and a 1 x 1 convolution commute; this order is four times cheaper.
            pooled: Tensor = F.avg_pool2d(h, 2) + self.shortcut(F.avg_pool2d(x, 2))
            return pooled
        out: Tensor = h + self.shortcut(x)
        return out


class Discriminator(nn.Module):
    """Residual blocks, sum pooling, a score, and a projection of the class where there are classes (Miyato & Koyama,
    "cGANs with Projection Discriminator", ICLR 2018).

    Args:
        channels: of the images.
        widths: feature maps of each block.
        downs: which blocks halve the resolution.
        num_classes: 0 without classes.
        spectral: normalise every weight by its largest singular value.

        reads_classes: also give logits of the classes (Odena et al., "Conditional Image Synthesis with Auxiliary
            Classifier GANs", ICML 2017).

    Shape:
        - input: images ``(N, channels, H, W)`` in [-1, 1]; labels ``(N,)`` int64, or None
        - output: ``(N,)`` scores, higher for images taken for real ones, and ``(N, num_classes)`` logits, or None
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        downs: Sequence[bool],
        num_classes: int,
        *,
        spectral: bool = True,
        reads_classes: bool = False,
    ) -> None:
        super().__init__()
        normalise: Normalise = spectral_norm if spectral else _as_it_is
        inputs = (channels, *widths[:-1])
        self.blocks = nn.Sequential(
            *(
                DownBlock(in_width, out_width, normalise, down=down, first=k == 0)
                for k, (in_width, out_width, down) in enumerate(zip(inputs, widths, downs, strict=True))
            )
        )
        self.score = normalise(nn.Linear(widths[-1], 1))
        self.embedding = normalise(nn.Embedding(num_classes, widths[-1])) if num_classes else None

        self.reader = nn.Linear(widths[-1], num_classes) if reads_classes and num_classes else None

    def forward(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        maps = F.relu(self.blocks(images))
        features = maps.sum((2, 3))
        score: Tensor = self.score(features).squeeze(1)
        if self.embedding is not None:
            score = score + (self.embedding(labels) * features).sum(1)
        return score, None if self.reader is None else self.reader(maps.mean((2, 3)))


def _as_it_is(layer: nn.Module) -> nn.Module:
    return layer
