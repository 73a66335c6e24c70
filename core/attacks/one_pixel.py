"""The one-pixel attack (Su, Vargas, Sakurai 2017, https://arxiv.org/abs/1710.08864) by differential evolution, and
the map of what every single pixel could do.

A candidate is `pixels` times (row, column, C colours), all in [0, 1]: row and column are parts of the height and the
width. N images have N x P candidates, stored as [N, P, pixels, 2 + C]; images are painted from them slice by slice.
"""
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from core.attacks import base
from core.attacks.base import Search, Smallest, fooled, log_odds, uniform
from core.norms import per_image
from core.settings import setting

F = 0.5  # DE's scale factor, as in the paper (section 3.3)


@dataclass(frozen=True)
class OnePixel(Smallest):
    """Changes `pixels` pixels to whatever lowers the true class's probability most; asks, needs no gradients.

    DE/rand/1 without crossover: candidate i of the population has the child c_r1 + F (c_r2 - c_r3), F = 0.5, where i,
    r1, r2, r3 differ, and makes way for it if p_y (with a target, p_t) is lower (higher) there. At first, positions
    are uniform and colours N(0.5, 0.5), clamped (the paper: N(128, 127) of 255). An image that is fooled stops.

    Three things that the paper leaves open: the first candidate of all is the image itself, so that what is misread
    already costs one query; a position that leaves the image is drawn anew (clamping would crowd the border); fitness
    is compared as log(p / (1 - p)), which orders as p does and still moves where p is 1 to float precision.
    """

    title: ClassVar[str] = "One pixel"
    norm: ClassVar[str] = "l0"
    paper: ClassVar[str] = "https://arxiv.org/abs/1710.08864"
    black_box: ClassVar[bool] = True
    gradients: ClassVar[int] = 0

    pixels: int = setting(1, 1, 5, 1)
    population: int = setting(200, 8, 400, 8)
    generations: int = setting(50, 1, 200, 5)

    def search(self, model: nn.Module, x: Tensor, y: Tensor, *, target: Tensor | None, generator: torch.Generator,
               on_step: Callable[[int], None] | None = None) -> Search:
        """At most population * (generations + 1) questions for each image of x [N, C, H, W].

        adversarial [N, C, H, W]: what fooled, else the best candidate. queries [N]: forward passes of each image.
        trace [generations + 1, N]: the lowest p_y (highest p_t) so far after the first population and after each
        generation, whichever candidate had it; still once the image is fooled. `on_step` counts its rows from 1.
        """
        race = _Race(model, x, y, target)
        population, scores = self._first(x, generator), x.new_full((len(x), self.population), torch.inf)
        scores[:, :1] = race.ask(population[:, :1], race.left)
        trace = []
        for generation in range(self.generations + 1):
            left = race.left
            if generation == 0 and len(left):
                scores[left, 1:] = race.ask(population[left, 1:], left)
            elif len(left):
                # Drawn for every image, stopped or not: how one fares does not depend on when the others stop.
                parents = _others(len(x), self.population, generator).to(x.device)[left]
                anew = uniform(len(x), (self.population, self.pixels, 2), generator).to(x)[left]
                now, one = population[left], torch.arange(len(left), device=x.device)[:, None]
                r1, r2, r3 = (now[one, each] for each in parents.unbind(-1))
                children = _inside(r1 + F * (r2 - r3), anew)
                score = race.ask(children, left)
                better = score < scores[left]
                population[left] = torch.where(better[..., None, None], children, now)
                scores[left] = torch.where(better, score, scores[left])
            trace.append(race.best)
            if on_step and (len(left) or generation == 0):
                on_step(generation + 1)
        if len(race.left):
            champions = population[race.left, scores[race.left].argmin(dim=1)]
            race.adversarial[race.left] = _painted(x[race.left], champions)
        trace = torch.stack(trace)
        return Search(race.adversarial, race.asked, (trace if target is None else -trace).sigmoid())

    def perturb(self, model, x, y, *, target, generator, on_step=None):
        return self.search(model, x, y, target=target, generator=generator, on_step=on_step).adversarial

    def _attacked(self, model, x, y, target, generator, on_step, early):
        found = self.search(model, x, y, target=target, generator=generator, on_step=on_step)
        with torch.no_grad():
            success = fooled(model(found.adversarial), y, target)
        return torch.where(per_image(success, x), found.adversarial, x), found.queries

    def _first(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The first population [N, P, pixels, 2 + C]; its first candidate paints pixels in the colours they have."""
        shape = (self.population, self.pixels)
        places = uniform(len(x), (*shape, 2), generator)
        colours = (0.5 + 0.5 * torch.randn(len(x), *shape, x.shape[1], generator=generator)).clamp(0, 1)
        candidates = torch.cat([places, colours], dim=-1).to(x)
        row, column = _places(candidates[:, 0], x)
        candidates[:, 0, :, 2:] = x[torch.arange(len(x), device=x.device)[:, None], :, row, column]
        return candidates


class _Race:
    """Where each image stands: who is `left`, what fooled the others, how often each was asked, its best score.

    Scores are log(p_y / (1 - p_y)), or minus that of the target: lower is better.
    """

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None):
        self.model, self.x, self.y, self.target = model, x, y, target
        self.left = torch.arange(len(x), device=x.device)
        self.adversarial, self.best = x.clone(), x.new_full((len(x),), torch.inf)
        self.asked = torch.zeros(len(x), dtype=torch.int64, device=x.device)

    def ask(self, candidates: Tensor, left: Tensor) -> Tensor:
        """Scores [L, P] of candidates [L, P, pixels, 2 + C] for the images at `left` [L]; who is fooled leaves.

        What fools need not have the best score: with other classes close together, p_y can be lower where y leads.
        """
        if not candidates.numel():
            return candidates.new_empty(candidates.shape[:2])
        x, many = self.x[left], candidates.shape[1]
        scores, fools = [], []
        for owner, logits in _answers(self.model, x, candidates):
            y, target = self.y[left][owner], None if self.target is None else self.target[left][owner]
            odds = log_odds(logits, y, target)
            scores.append(odds if target is None else -odds)
            fools.append(fooled(logits, y, target))
        scores, fools = torch.cat(scores).view(-1, many), torch.cat(fools).view(-1, many)
        best_fooling = torch.where(fools, scores, torch.inf).argmin(dim=1)
        done = fools.any(dim=1)
        self.adversarial[left[done]] = _painted(x[done], candidates[done, best_fooling[done]])
        self.asked[left] += many
        self.best = self.best.index_put((left,), self.best[left].minimum(scores.amin(dim=1)))
        self.left = left[~done]
        return scores


def _answers(model: nn.Module, x: Tensor, candidates: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """For all candidates [N, P, pixels, 2 + C] of x in turn, in slices of at most BATCH: whose image, and logits."""
    flat, many = candidates.flatten(0, 1), candidates.shape[1]
    for start in range(0, len(flat), base.BATCH):
        some = flat[start:start + base.BATCH]
        owner = torch.arange(start, start + len(some), device=x.device) // many
        with torch.no_grad():
            logits = model(_painted(x[owner], some))
        yield owner, logits


def _painted(x: Tensor, candidates: Tensor) -> Tensor:
    """A copy of x [M, C, H, W] with the pixels of candidates [M, pixels, 2 + C], the later above the earlier."""
    image, each = x.clone(), torch.arange(len(x), device=x.device)
    rows, columns = _places(candidates, x)
    for k in range(candidates.shape[1]):  # one after another: a single write with a place twice has no fixed order
        image[each, :, rows[:, k], columns[:, k]] = candidates[:, k, 2:]
    return image


def _places(candidates: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns [...] of candidates [..., 2 + C] as indices of x [N, C, H, W]."""
    return tuple((candidates[..., k] * size).long().clamp_max(size - 1) for k, size in enumerate(x.shape[2:]))


def _inside(candidates: Tensor, anew: Tensor) -> Tensor:
    """Candidates [..., 2 + C] with colours clamped to [0, 1] and each coordinate that left [0, 1) taken from `anew`."""
    places, colours = candidates[..., :2], candidates[..., 2:].clamp(0, 1)
    return torch.cat([torch.where((places >= 0) & (places < 1), places, anew), colours], dim=-1)


def _others(count: int, population: int, generator: torch.Generator) -> Tensor:
    """For each member of `count` populations three others, all different, uniformly: int [count, population, 3]."""
    taken = torch.arange(population).expand(count, population)[..., None]
    for _ in range(3):
        pick = (uniform(count, (population,), generator) * (population - taken.shape[-1])).long()
        for each in taken.sort(dim=-1).values.unbind(-1):  # the pick-th of those that are free
            pick = pick + (pick >= each)
        taken = torch.cat([taken, pick[..., None]], dim=-1)
    return taken[..., 1:]


@dataclass(frozen=True)
class OnePixelMap:
    """What a network says of an image with one pixel set to a colour, for each position of that pixel."""

    probability: Tensor  # [H, W], of the true class
    predicted: Tensor  # int [H, W]


def one_pixel_map(model: nn.Module, x: Tensor, y: int, colour: Sequence[float], *,
                  on_batch: Callable[[int, int], None] | None = None) -> OnePixelMap:
    """All H * W images that differ from x [1, C, H, W] in one pixel, which is `colour` (C numbers in [0, 1]) there.

    probability[r, c] = softmax(f(x with x[:, r, c] = colour))_y. `on_batch(done, total)` follows every slice of BATCH
    images. Raises ValueError for a colour outside [0, 1] or of another length than C, and for more images than one.
    """
    if x.ndim != 4 or len(x) != 1:
        raise ValueError(f"the image must be [1, C, H, W], not {tuple(x.shape)}")
    _, channels, height, width = x.shape
    if len(colour) != channels or not all(0 <= value <= 1 for value in colour):  # also False for NaN
        raise ValueError(f"the colour must be {channels} numbers in [0, 1], not {tuple(colour)}")
    places = torch.cartesian_prod((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width)
    candidates = torch.cat([places, torch.tensor([colour]).float().expand(len(places), channels)], dim=1).to(x)
    probability, predicted, done = [], [], 0
    for _, logits in _answers(model, x, candidates[None, :, None]):
        probability.append(logits.softmax(dim=1)[:, y])
        predicted.append(logits.argmax(dim=1))
        done += len(logits)
        if on_batch:
            on_batch(done, len(candidates))
    return OnePixelMap(torch.cat(probability).view(height, width), torch.cat(predicted).view(height, width))
