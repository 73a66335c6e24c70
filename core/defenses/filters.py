"""Filters before the network: what they smooth away, the perturbation may be part of."""
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from core.defenses.base import Defense
from core.settings import setting

SQUEEZING = "https://arxiv.org/abs/1704.01155"


@dataclass(eq=False)
class Threshold(Defense):
    """1 where a channel is above `level`, else 0 (report R1; feature squeezing to one bit, Xu et al. 2018)."""

    title: ClassVar[str] = "Threshold"
    paper: ClassVar[str] = SQUEEZING
    differentiable: ClassVar[bool] = False
    slider: ClassVar[str] = "level"

    level: float = setting(0.5, 0.02, 0.98, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        return (x > self.level).to(x.dtype)

    def twin(self, x: Tensor) -> Tensor:
        """A sigmoid that rises from 0.1 to 0.9 within about 0.4 around `level`."""
        return torch.sigmoid((x - self.level) / 0.1)


@dataclass(eq=False)
class BitDepth(Defense):
    """Each channel rounded to 2^bits levels (feature squeezing, Xu et al. 2018, https://arxiv.org/abs/1704.01155)."""

    title: ClassVar[str] = "Bit depth"
    paper: ClassVar[str] = SQUEEZING
    differentiable: ClassVar[bool] = False
    slider: ClassVar[str] = "bits"

    bits: int = setting(3, 1, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        levels = 2 ** self.bits - 1
        return (x * levels).round() / levels


@dataclass(eq=False)
class Median(Defense):
    """The median of each channel over a square `window` of pixels, borders repeated (Xu et al. 2018,
    https://arxiv.org/abs/1704.01155)."""

    title: ClassVar[str] = "Median"
    paper: ClassVar[str] = SQUEEZING
    differentiable: ClassVar[bool] = True
    slider: ClassVar[str] = "window"

    window: int = setting(3, 1, 7, 2)

    def forward(self, x: Tensor) -> Tensor:
        size = self.window // 2 * 2 + 1  # an even window has no middle
        padded = F.pad(x, [size // 2] * 4, mode="replicate")
        return padded.unfold(2, size, 1).unfold(3, size, 1).flatten(4).median(dim=4).values


@dataclass(eq=False)
class GaussianBlur(Defense):
    """Convolution with a Gaussian of deviation `sigma` pixels, cut at three sigma, borders repeated."""

    title: ClassVar[str] = "Gaussian blur"
    paper: ClassVar[str] = "https://arxiv.org/abs/1711.00117"
    differentiable: ClassVar[bool] = True
    slider: ClassVar[str] = "sigma"

    sigma: float = setting(0.7, 0.1, 3.0, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        reach = math.ceil(3 * self.sigma)
        at = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
        weights = torch.exp(-at.square() / (2 * self.sigma ** 2))
        weights = (weights / weights.sum()).repeat(x.shape[1], 1, 1, 1)
        for kernel, pad in ((weights.transpose(2, 3), [0, 0, reach, reach]), (weights, [reach, reach, 0, 0])):
            x = F.conv2d(F.pad(x, pad, mode="replicate"), kernel, groups=x.shape[1])
        return x.clamp(0, 1)


@dataclass(eq=False)
class TotalVariation(Defense):
    """argmin over u of |u - x|^2 / 2 + weight TV(u) for each channel, TV the sum of the gradients' lengths (Rudin,
    Osher & Fatemi 1992, https://doi.org/10.1016/0167-2789(92)90242-F), as a defense by Guo et al. 2018.

    By the fast dual projection of Beck & Teboulle 2009 (https://doi.org/10.1109/TIP.2009.2028250), `STEPS` steps.
    """

    STEPS: ClassVar[int] = 30
    title: ClassVar[str] = "Total variation"
    paper: ClassVar[str] = "https://arxiv.org/abs/1711.00117"
    differentiable: ClassVar[bool] = True
    slider: ClassVar[str] = "weight"

    weight: float = setting(0.1, 0.02, 1.0, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        p = q = torch.zeros(2, *x.shape, dtype=x.dtype, device=x.device)
        t = 1.0
        for _ in range(self.STEPS):
            ascent = q + _slopes(x + self.weight * _divergence(q)) / (8 * self.weight)
            # The length's own gradient at 0 is no number, hence the square root of what is at least 1.
            new = ascent / ascent.square().sum(dim=0).clamp_min(1).sqrt()
            faster = (1 + math.sqrt(1 + 4 * t * t)) / 2
            p, q, t = new, new + (t - 1) / faster * (new - p), faster
        return (x + self.weight * _divergence(p)).clamp(0, 1)


def _slopes(x: Tensor) -> Tensor:
    """Differences to the next pixel down and right, 0 at the border: [2, N, C, H, W]."""
    down = F.pad(x[:, :, 1:] - x[:, :, :-1], [0, 0, 0, 1])
    right = F.pad(x[:, :, :, 1:] - x[:, :, :, :-1], [0, 1])
    return torch.stack([down, right])


def _divergence(p: Tensor) -> Tensor:
    """Minus the adjoint of `_slopes`: [N, C, H, W]."""
    down, right = p[0][:, :, :-1], p[1][:, :, :, :-1]
    return (F.pad(down, [0, 0, 0, 1]) - F.pad(down, [0, 0, 1, 0])
            + F.pad(right, [0, 1]) - F.pad(right, [1, 0]))
