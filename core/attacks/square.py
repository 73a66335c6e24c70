"""Square attack (Andriushchenko et al. 2020, https://arxiv.org/abs/1912.00049) for L-inf and L2: random search
by squares that shrink."""
import math
from abc import abstractmethod
from bisect import bisect_left
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from core.attacks.base import Rows, Search, Searched, fooled, margin, uniform
from core.norms import NORMS, per_image
from core.settings import setting

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10000 iterations: after each, p is halved


@dataclass(frozen=True)
class _Square(Searched):
    paper: ClassVar[str] = "https://arxiv.org/abs/1912.00049"

    p_init: float = setting(0.8, 0.01, 1.0, 0.05)  # the share of the image that the first squares cover

    def search(self, model, x, y, eps, *, target, generator, on_step=None):
        rows, now = Rows(x, y, eps, target), x
        places = torch.arange(len(x), device=x.device)
        asked = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        least = torch.full_like(eps, torch.inf)  # the margin of `now`, row by row
        best, pick = (torch.ones_like(eps), torch.minimum) if target is None else (
            torch.zeros_like(eps), torch.maximum)
        trace = []
        for query in range(self.queries):
            # Drawn for the whole batch, whoever is left of it: an image's draws must not depend on the others.
            draws = uniform(len(x), self._draws(x, query), generator).to(x.device)[places]
            proposal = self._proposal(now, rows.x, rows.eps, draws, self._side(x, query)) if query else (
                self._start(x, eps, draws))
            with torch.no_grad():
                logits = model(proposal)
            score, hit = margin(logits, rows.y, rows.target), fooled(logits, rows.y, rows.target)
            helps = hit | (score < least)
            now, least = torch.where(per_image(helps, now), proposal, now), torch.where(helps, score, least)
            asking = ~rows.finished
            ours = places[asking]
            asked[ours] += 1
            best = best.index_put((ours,), pick(best[ours], _probability(logits, rows.y, rows.target)[asking]))
            trace.append(best)
            kept = rows.leave(hit, now)
            if on_step:
                on_step(query + 1)
            if kept is not None:
                now, least, places = now[kept], least[kept], places[kept]
            if rows.finished.all():  # also when no row is left
                break
        return Search(rows.put_back(now), asked, torch.stack(trace))

    def _side(self, x: Tensor, query: int) -> int:
        """Of the squares at a query (from 1 on; 0 is the start): sqrt(p * H * W)."""
        height, width = x.shape[2:]
        return min(self._rounded(math.sqrt(share(self.p_init, query - 1, self.queries) * height * width)),
                   height, width)

    @abstractmethod
    def _rounded(self, side: float) -> int:
        """A side that the attack can work with."""

    @abstractmethod
    def _draws(self, x: Tensor, query: int) -> tuple[int, ...]:
        """How many uniform numbers a query takes for each image."""

    @abstractmethod
    def _start(self, x: Tensor, eps: Tensor, draws: Tensor) -> Tensor:
        """The images [N, C, H, W] of the first query."""

    @abstractmethod
    def _proposal(self, now: Tensor, x: Tensor, eps: Tensor, draws: Tensor, side: int) -> Tensor:
        """`now` [N, C, H, W] changed by a random square of this side in each image."""


def share(p_init: float, iteration: int, queries: int) -> float:
    """The share p of the image that a square covers: p_init, halved after 10, 50, 200, 500, 1000, 2000, 4000, 6000
    and 8000 of 10000 iterations (section 5 of the paper), stretched to the number of queries there are."""
    return p_init / 2 ** bisect_left(HALVINGS, int(iteration / queries * 10000))


def bump(side: int) -> Tensor:
    """The paper's eta for L2, of unit length, upright and lying: [2, side, side].

    One half rises to a peak in its middle, the other one falls. In a half of a x b pixels, d away from the middle
    pixel (the larger of the two distances): sum over k = d..n of 1 / (k + 1)^2, n = floor(max(a, b) / 2).
    """
    upper = side // 2
    upright = _unit(torch.cat([_hill(upper, side), -_hill(side - upper, side)]))
    return torch.stack([upright, upright.T])


def _hill(height: int, width: int) -> Tensor:
    rows, columns = torch.arange(height) - height // 2, torch.arange(width) - width // 2
    away = torch.maximum(rows.abs()[:, None], columns.abs())
    terms = 1 / torch.arange(1, max(height, width) // 2 + 2) ** 2
    return _unit(terms.flip(0).cumsum(0).flip(0)[away])


def _unit(delta: Tensor) -> Tensor:
    """Length 1 over the last two dimensions, or 0 as it was."""
    return delta / delta.square().sum(dim=(-2, -1), keepdim=True).sqrt().clamp_min(1e-12)


def _signs(draws: Tensor, like: Tensor) -> Tensor:
    """Uniform numbers in [0, 1) -> -1 or 1."""
    return torch.where(draws < 0.5, -1.0, 1.0).to(like)


def _offsets(draws: Tensor, side: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Where each image's rows [N, H] and columns [N, W] lie in a square that two numbers [N, 2] place: 0 is its
    first row, `side` is behind it.

    Corners 0..size - side - 1 are equally likely, as in the authors' code; the paper has size - side among them. On
    digits, whose edges are blank, its last row costs the L2 attack three points of success at 300 queries.
    """
    height, width = like.shape[2:]
    top, left = (draws[:, k, None] * max(size - side, 1) for k, size in enumerate((height, width)))
    return (torch.arange(height, device=like.device) - top.long(),
            torch.arange(width, device=like.device) - left.long())


def _square(offsets: tuple[Tensor, Tensor], side: int) -> Tensor:
    """Which pixels lie in the square: bool [N, 1, H, W]."""
    rows, columns = ((0 <= each) & (each < side) for each in offsets)
    return (rows[:, :, None] & columns[:, None])[:, None]


def _probability(logits: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
    """Of the true class, or of the target: [N]."""
    return logits.softmax(dim=1).gather(1, (y if target is None else target)[:, None])[:, 0]


@dataclass(frozen=True)
class Square(_Square):
    """Asks whether squares of one colour, eps darker or brighter than the image, bring it nearer to fooled.

    x_0 = clamp(x + eps * s), s ~ U{-1, 1} for each column and channel;  x' = x_k, in a random square of side
    sqrt(p_k * H * W) replaced by clamp(x + eps * s), s ~ U{-1, 1} for each channel;  x_k+1 = x' if the margin
    f_y - max_j f_j (towards a target t: max_j f_j - f_t) of x' is smaller, else x_k. p_k falls from p_init.
    """

    title: ClassVar[str] = "Square (L-inf)"
    norm: ClassVar[str] = "linf"

    def _rounded(self, side):
        return max(round(side), 1)

    def _draws(self, x, query):
        channels, width = x.shape[1], x.shape[3]
        return (2 + channels,) if query else (channels, 1, width)

    def _start(self, x, eps, draws):
        return (x + per_image(eps, x) * _signs(draws, x)).clamp(0, 1)

    def _proposal(self, now, x, eps, draws, side):
        inside = _square(_offsets(draws[:, :2], side, x), side)
        signs = _signs(draws[:, 2:, None, None], x)
        proposal = _painted(now, x, eps, signs, inside)
        same = per_image((proposal == now).flatten(1).all(dim=1), x)
        if same.any():  # the square has this colour already: the authors' code does not ask, but draws anew
            proposal = _painted(now, x, eps, torch.where(same, -signs, signs), inside)
        return proposal


def _painted(now: Tensor, x: Tensor, eps: Tensor, signs: Tensor, inside: Tensor) -> Tensor:
    return torch.where(inside, (x + per_image(eps, x) * signs).clamp(0, 1), now)


@dataclass(frozen=True)
class SquareL2(_Square):
    """The same in the L2 ball, where a square takes its share of eps from another square.

    x_0 = clamp(x + eps * d / |d|_2), d tiles of +-eta, a peak beside a trough;  x' = clamp(x + v), v = x_k - x but 0
    in a square W2 and, in each channel i of a square W1, (u / |u|) * sqrt(|v_i|^2 in W1 and W2 +
    (eps^2 - |v|^2) / C), u = v_i / |v_i| in W1 +- eta;  kept as for L-inf.
    """

    title: ClassVar[str] = "Square (L2)"
    norm: ClassVar[str] = "l2"

    def _rounded(self, side):
        return max(round(side), 3) // 2 * 2 + 1  # odd, so that eta has a middle

    def _draws(self, x, query):
        channels = x.shape[1]
        return (5 + channels,) if query else (channels + 1, *_tiles(x)[1:])

    def _start(self, x, eps, draws):
        side, down, across = _tiles(x)
        etas = bump(side).to(x)[(draws[:, -1] < 0.5).long()]  # [N, down, across, side, side]
        tiles = etas[:, None] * _signs(draws[:, :-1, :, :, None, None], x)
        delta = tiles.transpose(3, 4).reshape(*x.shape[:2], down * side, across * side)
        (top, bottom), (left, right) = (_halves(size - many * side) for size, many in zip(
            x.shape[2:], (down, across), strict=True))
        delta = NORMS["l2"].steepest(F.pad(delta, (left, right, top, bottom)))  # of length 1
        return (x + per_image(eps, x) * delta).clamp(0, 1)

    def _proposal(self, now, x, eps, draws, side):
        delta, offsets = now - x, _offsets(draws[:, :2], side, x)
        receives = _square(offsets, side)
        both = receives | _square(_offsets(draws[:, 2:4], side, x), side)
        rows, columns = (each.clamp(0, side - 1) for each in offsets)
        lying = (draws[:, 4] < 0.5).long()[:, None, None]
        eta = bump(side).to(x)[lying, rows[:, :, None], columns[:, None]][:, None]  # [N, 1, H, W], cut out by receives
        fresh = _unit((_unit(delta * receives) + eta * _signs(draws[:, 5:, None, None], x)) * receives)
        unused = (eps.square() - delta.flatten(1).square().sum(dim=1)).clamp_min(0)
        budget = (delta * both).square().sum(dim=(2, 3), keepdim=True) + per_image(unused, x) / x.shape[1]
        moved = delta * ~both + fresh * budget.sqrt()
        return (x + NORMS["l2"].project(moved, eps)).clamp(0, 1)


def _tiles(x: Tensor) -> tuple[int, int, int]:
    """The side of the first perturbation's tiles, a fifth of the image's, and how many fit down and across."""
    height, width = x.shape[2:]
    side = max(min(height, width) // 5, 1)
    return side, height // side, width // side


def _halves(size: int) -> tuple[int, int]:
    return size // 2, size - size // 2
