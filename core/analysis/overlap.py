"""Does the noise fall where the network looks, and does the network look elsewhere once it is fooled?"""
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from core.analysis.saliency import METHODS, saliency
from core.attacks import Attack
from core.data import DataSet
from core.evaluation import minimal_epsilon
from core.workers import side_by_side

BATCH = 32  # images of a data set at once: few, so that a page sees results soon
TOP = 0.1  # share of the pixels that count as the strongest
PREDICTED, TRUE = "predicted", "true"  # which class a map explains: what is read in that image, or its label


def ranks(values: Tensor) -> Tensor:
    """Ranks from 1 within each row of [N, P]; equal values share the mean of their ranks."""
    ordered, values = values.sort(dim=1).values, values.contiguous()
    below = torch.searchsorted(ordered, values)
    return (below + torch.searchsorted(ordered, values, right=True) + 1) / 2


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Spearman's rank correlation of maps [N, H, W] with maps [N, H, W]: [N] from -1 to 1, 0 expected by chance; NaN
    where one of the two is the same everywhere (https://doi.org/10.2307/1412159)."""
    one, other = (ranks(maps.flatten(1)).cpu().double() for maps in (first, second))  # Apple's GPUs have no float64
    one, other = (part - part.mean(dim=1, keepdim=True) for part in (one, other))
    return ((one * other).sum(dim=1) / (one.square().sum(dim=1) * other.square().sum(dim=1)).sqrt()).float().to(first.device)


def strongest(values: Tensor, share: float = TOP) -> Tensor:
    """How far each pixel of maps [N, H, W] belongs to the k strongest, k = `share` of the pixels: 1 or 0, and what is
    left of the k places in equal parts for the pixels that tie for them."""
    flat = values.flatten(1)
    count = places(flat.shape[1], share)
    limit = flat.topk(count, dim=1).values[:, -1:]
    above, tied = flat > limit, flat == limit
    left = (count - above.sum(dim=1, keepdim=True)) / tied.sum(dim=1, keepdim=True)
    return (above + tied * left).view_as(values)


def places(pixels: int, share: float = TOP) -> int:
    """k, at least 1."""
    return max(1, round(share * pixels))


def top_intersection(first: Tensor, second: Tensor, share: float = TOP) -> Tensor:
    """Which share of the k strongest pixels of maps [N, H, W] is among the k strongest of other such maps: [N] from
    0 to 1. Chance gives k / (H W). Ties are broken at random, and this is the expectation: a perturbation of FGSM has
    hundreds of equal pixels."""
    count = places(first[0].numel(), share)
    return (strongest(first, share) * strongest(second, share)).flatten(1).sum(dim=1) / count


def change(x: Tensor, adversarial: Tensor) -> Tensor:
    """How much each pixel was changed, its largest channel: [N, H, W], rounded to 1e-5. Else the rounding errors of
    x + eps would rank pixels that an attack changed alike."""
    return saliency(adversarial - x).div(1e-5).round().mul(1e-5)


@dataclass(frozen=True)
class Overlap:
    """n images before and after an attack. Tensors [n] on the CPU; NaN where a map or the noise is flat."""

    flipped: Tensor  # bool: the prediction has changed
    noise_rank: Tensor  # rank correlation of |perturbation| and |saliency| of the clean image
    noise_top: Tensor  # share of the most salient pixels that are among the most perturbed
    kept_rank: Tensor  # rank correlation of |saliency| before and after
    kept_top: Tensor  # share of the most salient pixels that stay so


def overlap(model: nn.Module, method: str, x: Tensor, adversarial: Tensor, labels: Tensor, *,
            explain: str | int = PREDICTED, layer: str | None = None, share: float = TOP, seed: int = 0) -> Overlap:
    """Noise and maps of images x [N, C, H, W] and their adversarial ones. `method` is one of METHODS; `explain` says
    for which class: PREDICTED, each image's own, TRUE, `labels` [N], or a class for all."""
    with torch.no_grad():
        before, after = model(x).argmax(dim=1), model(adversarial).argmax(dim=1)
    maps = [METHODS[method](model, images, explained(explain, predicted, labels), layer=layer, seed=seed).magnitude
            for images, predicted in ((x, before), (adversarial, after))]
    noise = change(x, adversarial)
    pairs = (*_compared(noise, maps[0], share), *_compared(*maps, share))
    return Overlap(*(part.cpu() for part in (before != after, *pairs)))


def _compared(first: Tensor, second: Tensor, share: float) -> tuple[Tensor, Tensor]:
    rank = rank_correlation(first, second)
    return rank, torch.where(rank.isnan(), torch.nan, top_intersection(first, second, share))


def explained(explain: str | int, predicted: Tensor, labels: Tensor) -> Tensor:
    """The class that each map explains, [N]."""
    if isinstance(explain, int):
        return torch.full_like(labels, explain)
    return {PREDICTED: predicted, TRUE: labels}[explain]


def overlaps(model: nn.Module, attack: Attack, dataset: DataSet, method: str, *, explain: str | int = PREDICTED,
             layer: str | None = None, share: float = TOP, limit: int | None = None,
             seed: int = 0) -> Iterator[Overlap]:
    """`overlap` for the first `limit` images of a data set, batch by batch, each attacked at the attack's settings."""
    device = next(model.parameters()).device
    total = len(dataset) if limit is None else min(limit, len(dataset))

    def one(start: int) -> Overlap:
        x, y = (part.to(device) for part in dataset.batch(slice(start, min(start + BATCH, total))))
        adversarial = attack(model, x, y, seed=seed + start).adversarial
        return overlap(model, method, x, adversarial, y, explain=explain, layer=layer, share=share, seed=seed)

    return side_by_side(one, range(0, total, BATCH), device)


def joined(parts: Sequence[Overlap]) -> Overlap:
    """Several batches as one."""
    return Overlap(*(torch.cat([getattr(part, name) for part in parts]) for name in Overlap.__dataclass_fields__))


@dataclass(frozen=True)
class Mean:
    """The mean of n numbers and its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int


def mean(values: Tensor) -> Mean:
    """The mean of [n] without NaN, with its normal interval mean -+ 1.96 s / sqrt(n). NaN where there are too few."""
    values = values[~values.isnan()].double()
    middle = float(values.mean()) if len(values) else math.nan
    half = 1.959964 * float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Mean(middle, middle - half, middle + half, len(values))


@dataclass(frozen=True)
class Story:
    """An image that every attack of a list turns into the same wrong class, each at its own eps (or distance)."""

    index: int
    epsilons: tuple[float, ...]


def stories(model: nn.Module, attacks: Sequence[tuple[Attack, float]], dataset: DataSet, source: int, target: int, *,
            tolerance: float = 0.01, limit: int | None = None, seed: int = 0) -> list[Story]:
    """The images of class `source` among the first `limit` of that class that the network reads correctly, and that
    each of `attacks`, (attack, top), turns into `target` at its smallest fooling eps <= top, to within `tolerance`.
    For an attack without eps that is its distance. The one with the smallest sum of eps / top comes first."""
    device = next(model.parameters()).device
    kept = {int(index): () for index in np.flatnonzero(dataset.labels == source)[:limit]}
    for attack, top in attacks:
        indices = np.array(list(kept), int)
        for start in range(0, len(indices), BATCH):
            some = indices[start:start + BATCH]
            x, y = (part.to(device) for part in dataset.batch(some))
            found = _turned(model, attack, x, y, target, top, tolerance, seed).tolist()
            for index, eps in zip(some.tolist(), found):
                kept[index] += (eps,)
        kept = {index: epsilons for index, epsilons in kept.items() if math.isfinite(epsilons[-1])}
    tops = [top for _, top in attacks]
    return sorted((Story(index, epsilons) for index, epsilons in kept.items()),
                  key=lambda story: sum(eps / top for eps, top in zip(story.epsilons, tops)))


def _turned(model, attack, x, y, target, top, tolerance, seed) -> Tensor:
    """The smallest eps at which each image is misread, infinite where it is not, or not as `target`: [N]."""
    eps = minimal_epsilon(model, attack, x, y, top, tolerance=tolerance, seed=seed)
    rows = ((eps > 0) & (eps <= top)).nonzero()[:, 0]
    found = torch.full_like(eps, torch.inf)
    if not len(rows):
        return found
    if attack.bounded:  # the same rows and seed as the search: the same random starts
        images = attack.within(model, x[rows], y[rows], eps[rows], seed=seed, early=True)
    else:
        images = attack(model, x, y, seed=seed).adversarial[rows]
    with torch.no_grad():
        found[rows] = torch.where(model(images).argmax(dim=1) == target, eps[rows], torch.inf)
    return found
