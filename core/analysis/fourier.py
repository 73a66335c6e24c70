"""Which frequencies a network cannot bear: Fourier sensitivity (Yin et al. 2019, https://arxiv.org/abs/1906.08988)."""
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.analysis.spectrum import gratings, half_plane
from core.statistics import wilson

BATCH = 500  # images that a forward pass takes
# L2 norm of the noise in each channel, pixels in [0, 1], by side of the image. 32: the paper's for CIFAR-10, a root
# mean square of 0.125 a pixel. 28, our choice, 0.29 a pixel: at the paper's size no network misreads a digit more
# often, at 9 even the adversarially trained ones, whose thresholds it passes, give way everywhere.
NORMS = {28: 8.0, 32: 4.0}


@dataclass(frozen=True)
class Sensitivity:
    """Error rates over n images with noise of one frequency each."""

    error: Tensor  # [H, W], zero frequency in the middle; NaN where not computed yet
    n: int
    clean: float  # error rate without noise
    done: float  # share of the frequencies computed
    norm: float

    def interval(self, row: int, column: int) -> tuple[float, float]:
        """The 95 % Wilson interval of one frequency's error rate."""
        return wilson(round(float(self.error[row, column]) * self.n), self.n)


def basis(height: int, width: int) -> Tensor:
    """The real Fourier basis images of the half plane, [F, H, W]: cos(2 pi (u x / W + v y / H)), each of L2 norm 1.

    The transform of each has one frequency and its mirror image, and nothing else.
    """
    frequencies, _ = half_plane(height, width)
    waves = gratings(frequencies, torch.zeros(1), height, width)[:, 0]
    return waves / waves.flatten(1).norm(dim=1)[:, None, None]


@torch.no_grad()
def sensitivity(model: nn.Module, x: Tensor, y: Tensor, norm: float, *, seed: int = 0) -> Iterator[Sensitivity]:
    """The error rate over images x [N, C, H, W], y [N] of clamp(x + r * norm * U) for each basis image U, r = +1 or -1
    at random for each image and channel; yielded anew as it becomes known, first on a coarse grid, then on finer ones.

    `norm` is that of each channel, before the clamp to [0, 1]. The same seed gives the same signs whatever the order.
    """
    device = next(model.parameters()).device
    count, channels, height, width = x.shape
    frequencies, places = half_plane(height, width)
    waves = norm * basis(height, width).to(device)
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (len(frequencies), count, channels, 1, 1), generator=generator) * 2.0 - 1
    x, y, signs = x.to(device), y.to(device), signs.to(device)
    clean = _errors(model, x, y) / count
    found = torch.full((len(frequencies),), torch.nan)
    order = _coarse_to_fine(frequencies)
    together = max(1, BATCH // count)
    every = max(together, len(order) // 24)  # yields about two dozen times
    for k, some in enumerate(order.split(together)):
        noisy = (x + signs[some] * waves[some, None, None]).clamp_(0, 1)
        found[some] = _errors(model, noisy.flatten(0, 1), y.repeat(len(some)), len(some)) / count
        done = min((k + 1) * together, len(order))
        if done == len(order) or done // every > (done - len(some)) // every:
            yield Sensitivity(found[places], count, float(clean), done / len(order), norm)


def filled(error: Tensor) -> Tensor:
    """A map [H, W] in which the nearest known value stands where none is known yet."""
    unknown = error.isnan()
    if not unknown.any() or unknown.all():
        return error
    known = (~unknown).nonzero()
    nearest = torch.cdist(unknown.nonzero().float(), known.float()).argmin(dim=1)
    result = error.clone()
    result[unknown] = error[known[nearest, 0], known[nearest, 1]]
    return result


def _errors(model: nn.Module, x: Tensor, y: Tensor, parts: int = 1) -> Tensor:
    """How many of x [N, C, H, W] are misread, in each of `parts` equal parts: [parts], on the CPU."""
    wrong = torch.cat([model(some).argmax(dim=1) for some in x.split(BATCH)]) != y
    return wrong.view(parts, -1).sum(dim=1).cpu().float()


def _coarse_to_fine(frequencies: Tensor) -> Tensor:
    """Places of frequencies [F, 2]: multiples of 4 in both directions first, then of 2, then the rest."""
    level = torch.stack([(frequencies % step == 0).all(dim=1) for step in (4, 2)]).sum(dim=0)
    return torch.argsort(level, descending=True, stable=True)
