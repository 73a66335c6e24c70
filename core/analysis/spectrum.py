"""The Fourier transform of images and perturbations: magnitudes, power over rings, averages over a data set."""
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from core.attacks import Attack
from core.data import DataSet
from core.workers import side_by_side

BATCH = 50  # images attacked at once
Z = 1.959964  # 95 % of a normal distribution


def magnitude(images: Tensor) -> Tensor:
    """|FFT| of [N, C, H, W], mean over channels, zero frequency in the middle: [N, H, W]."""
    return channel_magnitudes(images).mean(dim=1)


def channel_magnitudes(images: Tensor) -> Tensor:
    """|FFT| of each channel of [N, C, H, W], zero frequency in the middle (index side // 2): [N, C, H, W]."""
    return torch.fft.fftshift(torch.fft.fft2(images).abs(), dim=(-2, -1))


def decibels(values: Tensor, floor: float = -60.0) -> Tensor:
    """20 log10(values / their maximum over everything), not below `floor`. All `floor` where all is zero."""
    top = values.max()
    if top == 0:
        return torch.full_like(values, floor)
    return (20 * torch.log10((values / top).clamp_min(1e-12))).clamp_min(floor)


def power(images: Tensor) -> Tensor:
    """|FFT|^2 / (H W)^2 of [N, C, H, W], mean over channels, centred: [N, H, W].

    Normalised so that, by Parseval's theorem, its sum over all frequencies is the mean square of the pixels.
    """
    height, width = images.shape[-2:]
    return channel_magnitudes(images).square().mean(dim=1) / (height * width) ** 2


def cycles(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Frequencies down [H, 1] and across [1, W] in cycles per pixel, -0.5 to 0.5, zero at index side // 2."""
    down, across = (torch.fft.fftshift(torch.fft.fftfreq(side, dtype=torch.float64)) for side in (height, width))
    return down[:, None], across[None, :]


def radius(height: int, width: int) -> Tensor:
    """The distance of each centred frequency from zero, in cycles per pixel: [H, W]. Nyquist is 0.5, a corner 0.71."""
    down, across = cycles(height, width)
    return (down.square() + across.square()).sqrt()


def rings(height: int, width: int) -> Tensor:
    """The ring of each centred frequency, int64 [H, W]: its radius in cycles per shorter side of the image, rounded."""
    return (radius(height, width) * min(height, width)).round().long()


def ring_radii(height: int, width: int) -> Tensor:
    """The radius of each ring that `radial` gives, in cycles per pixel: [R], from 0 to Nyquist."""
    side = min(height, width)
    return torch.arange(side // 2 + 1) / side


def radial(values: Tensor) -> Tensor:
    """Means of centred values [..., H, W] over rings of equal integer radius, from 0 up to Nyquist:
    [..., min(H, W) // 2 + 1]. The corners beyond are left out."""
    height, width = values.shape[-2:]
    ring, count = rings(height, width).flatten().to(values.device), min(height, width) // 2 + 1
    sums = values.new_zeros(*values.shape[:-2], int(ring.max()) + 1).index_add(-1, ring, values.flatten(-2))
    return sums[..., :count] / torch.bincount(ring)[:count]


def high_share(powers: Tensor) -> Tensor:
    """The share of the power [..., H, W] beyond half of Nyquist (0.25 cycles per pixel), corners included: [...]"""
    high = radius(*powers.shape[-2:]).to(powers) > 0.25
    return (powers * high).sum(dim=(-2, -1)) / powers.sum(dim=(-2, -1))


@lru_cache
def half_plane(height: int, width: int) -> tuple[Tensor, Tensor]:
    """The frequencies of real images, once each: (v, u) and (-v, -u) are one.

    Gives the F frequencies in cycles per image as whole numbers [F, 2] (down, across), Nyquist among them, and for each
    place of the centred plane which of them it is: int64 [H, W].
    """
    rows, columns = np.indices((height, width))
    flat = np.minimum(rows * width + columns, -rows % height * width + -columns % width)
    first, places = np.unique(flat, return_inverse=True)
    v, u = first // width, first % width
    signed = np.stack([np.where(v > (height - 1) // 2, v - height, v), np.where(u > (width - 1) // 2, u - width, u)])
    centred = np.fft.fftshift(places.reshape(height, width))
    return torch.from_numpy(signed.T.copy()), torch.from_numpy(centred.copy())


def gratings(frequencies: Tensor, phases: Tensor, height: int, width: int) -> Tensor:
    """cos(2 pi (u x / W + v y / H) + phase) for frequencies [F, 2] (v, u) and phases [P] in radians: [F, P, H, W]."""
    v, u = frequencies.double().T[:, :, None, None, None]
    y, x = torch.arange(height).double()[:, None], torch.arange(width).double()
    return torch.cos(2 * torch.pi * (u * x / width + v * y / height) + phases.double()[:, None, None]).float()


@dataclass(frozen=True)
class Average:
    """The mean spectrum of n perturbations, and its power over rings with 95 % intervals over images.

    An interval is that of the mean by its standard error, taken on the logarithm (delta method): never below 0.
    """

    magnitude: Tensor  # [H, W]: |FFT|, mean over channels and images
    power: Tensor  # [H, W]: see `power`, mean over images
    radial: Tensor  # [R]: see `power` and `radial`
    low: Tensor  # [R]
    high: Tensor  # [R]
    high_share: float  # of the power beyond half of Nyquist, mean over images
    high_error: float  # half of that share's 95 % interval


@dataclass(frozen=True)
class Perturbations:
    """What an attack adds, over n images: as it is, and each perturbation scaled to an L2 norm of 1."""

    n: int
    seen: int  # images gone through
    unchanged: int  # read correctly, but left as they are: an attack without eps that found nothing
    l2: float  # mean norm
    as_made: Average
    scaled: Average


def perturbation_spectra(model: nn.Module, attack: Attack, dataset: DataSet, n: int, *,
                         seed: int = 0) -> Iterator[Perturbations]:
    """The average spectrum of an attack's perturbations, yielded anew after every batch, over the first n images that
    the network reads correctly and that the attack changes (fewer where the data set has fewer)."""
    device = next(model.parameters()).device
    step = min(BATCH, max(1, n))

    def attacked(start: int) -> tuple[Tensor, int]:
        x, y = (part.to(device) for part in dataset.batch(slice(start, start + step)))
        with torch.no_grad():
            right = model(x).argmax(dim=1) == y
        x, y = x[right], y[right]
        delta = attack(model, x, y, seed=seed + start).adversarial - x if len(y) else x
        changed = delta.flatten(1).any(dim=1)
        return delta[changed].cpu(), int((~changed).sum())

    as_made, scaled, unchanged, norms = _Sums(), _Sums(), 0, 0.0
    starts = range(0, len(dataset), step)
    for start, (delta, left) in zip(starts, side_by_side(attacked, starts, device)):
        delta = delta[:n - as_made.n]
        unchanged += left
        if len(delta):
            norm = delta.flatten(1).norm(dim=1)
            norms += float(norm.sum())
            as_made.add(delta)
            scaled.add(delta / norm[:, None, None, None])
        if as_made.n:
            yield Perturbations(as_made.n, min(start + step, len(dataset)), unchanged, norms / as_made.n,
                                as_made.average(), scaled.average())
        if as_made.n >= n:
            return


def average(deltas: Tensor) -> Average:
    """The mean spectrum of perturbations [N, C, H, W]."""
    sums = _Sums()
    sums.add(deltas)
    return sums.average()


class _Sums:
    """What the mean spectrum of perturbations needs of those seen so far, in double precision."""

    def __init__(self):
        self.n, self.magnitude, self.power = 0, 0.0, 0.0
        self.curves, self.shares = (0.0, 0.0), (0.0, 0.0)  # sums, and sums of squares

    def add(self, deltas: Tensor) -> None:
        powers = power(deltas.double())
        curves, shares = radial(powers), high_share(powers)
        self.n += len(deltas)
        self.magnitude = self.magnitude + magnitude(deltas).double().sum(dim=0)
        self.power = self.power + powers.sum(dim=0)
        self.curves = (self.curves[0] + curves.sum(dim=0), self.curves[1] + curves.square().sum(dim=0))
        self.shares = (self.shares[0] + shares.sum(dim=0), self.shares[1] + shares.square().sum(dim=0))

    def average(self) -> Average:
        (mean, error), (share, share_error) = self._mean_and_error(*self.curves), self._mean_and_error(*self.shares)
        width = torch.exp(Z * error / mean.clamp_min(1e-300))
        return Average((self.magnitude / self.n).float(), self.power / self.n, mean, mean / width, mean * width,
                       float(share), float(Z * share_error))

    def _mean_and_error(self, total: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and its standard error; nothing is known of the error of one value: 0."""
        mean = total / self.n
        variance = (squares - total * mean).clamp_min(0) / max(1, self.n - 1)
        return mean, (variance / self.n).sqrt()
